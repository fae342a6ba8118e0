"""What addresses say of e-mail in the stand-in HubSpot: subscription types, all mail, and bounces."""

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.hubspot_account import CONTACTS, Account, Json, ids, where

V3, V4 = "/communication-preferences/v3", "/communication-preferences/v4"
ANN = "ann@example.com"


@pytest.fixture
async def acme() -> AsyncIterator[Account]:
    account = Account()
    yield account
    await account.http.aclose()


async def third(acme: Account, call: str, status: int = 200, **more: Json) -> Json:
    body = {"emailAddress": ANN, "subscriptionId": "1", "legalBasis": "NON_GDPR", "legalBasisExplanation": "asked"}
    return await acme.data("POST", f"{V3}/{call}", {**body, **more}, status)


async def fourth(acme: Account, state: str, status: int = 200, **more: Json) -> Json:
    body = {"subscriptionId": 1, "statusState": state, "channel": "EMAIL", **more}
    return await acme.data("POST", f"{V4}/statuses/{ANN}", body, status)


async def flags(acme: Account, id_: str) -> tuple[str | None, str | None, str | None]:
    names = ("hs_email_optout", "hs_email_optout_1", "hs_email_optout_2")
    told = await acme.properties(id_, *names)
    all_, one, two = (told[name] for name in names)
    return all_, one, two


async def test_an_opt_out_of_one_type_shows_with_the_contact(acme: Account) -> None:
    id_ = await acme.contact(ANN)
    assert (None, None, None) == await flags(acme, id_)
    acme.later(1)

    told = await third(acme, "unsubscribe", emailAddress="ANN@example.com")

    assert {
        "id": "1", "name": "Marketing Information", "description": "Marketing offers and updates.",
        "status": "NOT_SUBSCRIBED", "sourceOfStatus": "SUBSCRIPTION_STATUS", "brandId": None,
        "legalBasis": "NON_GDPR", "legalBasisExplanation": "asked", "preferenceGroupName": None,
    } == told  # fmt: skip
    assert ("false", "true", None) == await flags(acme, id_)
    body = await acme.data("GET", f"{CONTACTS}/{id_}?propertiesWithHistory=hs_email_optout_1")
    assert "2026-10-01T09:15:01.301Z" == body["updatedAt"]
    assert [("true", "54321")] == [
        (one["value"], one["sourceId"]) for one in body["propertiesWithHistory"]["hs_email_optout_1"]
    ]
    assert [id_] == ids(await acme.search(where("hs_email_optout_1", "EQ", "true")))
    statuses = (await acme.data("GET", f"{V3}/status/email/{ANN}"))["subscriptionStatuses"]
    assert [("1", "NOT_SUBSCRIBED"), ("2", "NOT_SUBSCRIBED")] == [(one["id"], one["status"]) for one in statuses]


async def test_an_address_has_a_status_before_a_contact_has_the_address(acme: Account) -> None:
    await third(acme, "unsubscribe")
    await acme.edit("opt_out", "address", "bob@example.com")

    id_ = await acme.contact(ANN)

    assert ("false", "true", None) == await flags(acme, id_)
    await acme.data("PATCH", f"{CONTACTS}/{id_}", {"properties": {"email": "bob@example.com"}})
    assert ("true", None, None) == await flags(acme, id_)
    await acme.data("PATCH", f"{CONTACTS}/{id_}", {"properties": {"email": "cid@example.com"}})
    assert (None, None, None) == await flags(acme, id_)
    again = await acme.contact(ANN)
    assert ("false", "true", None) == await flags(acme, again)


async def test_the_third_version_never_subscribes_who_opted_out(acme: Account) -> None:
    await third(acme, "subscribe")
    await third(acme, "unsubscribe")
    acme.crm.faults.resubscribe_allowed = True

    assert "VALIDATION_ERROR" == (await third(acme, "subscribe", 400))["category"]
    await third(acme, "subscribe", subscriptionId=2)
    assert "NOT_SUBSCRIBED" == (await third(acme, "unsubscribe"))["status"]


async def test_the_fourth_version_subscribes_again_only_if_that_is_allowed(acme: Account) -> None:
    id_ = await acme.contact(ANN)
    [out] = (await fourth(acme, "UNSUBSCRIBED", legalBasis="NON_GDPR", legalBasisExplanation="asked"))["results"]
    [same] = (await fourth(acme, "UNSUBSCRIBED"))["results"]

    for state in ("SUBSCRIBED", "NOT_SPECIFIED"):
        assert "VALIDATION_ERROR" == (await fourth(acme, state, 400))["category"]
    acme.crm.faults.resubscribe_allowed = True
    [back] = (await fourth(acme, "SUBSCRIBED"))["results"]

    assert ("UNSUBSCRIBED", 1, ANN, "REQUESTED_CHANGE_OCCURRED", "NON_GDPR") == tuple(
        out[name] for name in ("status", "subscriptionId", "subscriberIdString", "setStatusSuccessReason", "legalBasis")
    )
    assert ["NO_STATUS_CHANGE", "RESUBSCRIBE_OCCURRED"] == [one["setStatusSuccessReason"] for one in (same, back)]
    assert ("false", "false", None) == await flags(acme, id_)
    await fourth(acme, "NOT_SPECIFIED")
    statuses = (await acme.data("GET", f"{V4}/statuses/{ANN}?channel=EMAIL"))["results"]
    assert ["NOT_SPECIFIED", "NOT_SPECIFIED"] == [one["status"] for one in statuses]


async def test_an_opt_out_of_all_mail_is_one_of_each_type(acme: Account) -> None:
    id_ = await acme.contact(ANN)
    path = f"{V4}/statuses/{ANN}/unsubscribe-all?channel=EMAIL"
    assert [] == (await acme.data("GET", path))["results"]

    told = await acme.data("POST", path)
    again = await acme.data("POST", path)

    assert [("UNSUBSCRIBED", "UNSUBSCRIBE_FROM_ALL_OCCURRED")] * 2 == [
        (one["status"], one["setStatusSuccessReason"]) for one in told["results"]
    ]
    assert "NO_STATUS_CHANGE" == again["results"][0]["setStatusSuccessReason"]
    assert ["PORTAL_WIDE"] == [one["wideStatusType"] for one in (await acme.data("GET", path))["results"]]
    assert ("true", None, None) == await flags(acme, id_)
    statuses = (await acme.data("GET", f"{V3}/status/email/{ANN}"))["subscriptionStatuses"]
    assert ["PORTAL_WIDE_STATUS"] * 2 == [one["sourceOfStatus"] for one in statuses]
    await third(acme, "subscribe", 400)
    acme.crm.faults.resubscribe_allowed = True
    await fourth(acme, "SUBSCRIBED")
    assert ("false", "false", None) == await flags(acme, id_)


async def test_people_there_say_either_at_any_time(acme: Account) -> None:
    id_ = await acme.contact(ANN)

    await acme.edit("opt_out", "contact", id_)
    assert ("true", None, None) == await flags(acme, id_)
    await acme.edit("opt_in", "contact", id_)
    assert ("false", None, None) == await flags(acme, id_)
    await acme.edit("opt_out", "contact", id_, subscription=2)
    assert ("false", None, "true") == await flags(acme, id_)
    await acme.edit("opt_in", "contact", id_)
    assert ("false", None, "false") == await flags(acme, id_)
    made = await acme.edit("create", "subscription_type", name="Newsletter")
    await acme.edit("opt_out", "contact", id_, subscription=made["id"])
    assert "true" == (await acme.properties(id_, "hs_email_optout_3"))["hs_email_optout_3"]


async def test_an_opt_out_can_be_quiet(acme: Account) -> None:
    acme.crm.faults.quiet_opt_out = True
    id_ = await acme.contact(ANN)
    acme.later(60)

    await acme.edit("opt_out", "contact", id_)

    told = await acme.properties(id_, "hs_email_optout")
    assert ("true", "2026-10-01T09:15:00.301Z") == (told["hs_email_optout"], told["lastmodifieddate"])


async def test_both_versions_tell_of_the_subscription_types(acme: Account) -> None:
    old = (await acme.data("GET", f"{V3}/definitions"))["subscriptionDefinitions"]
    new = (await acme.data("GET", f"{V4}/definitions"))["results"]

    assert [("1", "Marketing Information"), ("2", "One to One")] == [(one["id"], one["name"]) for one in old]
    assert [{**one, "businessUnitId": 0} for one in old] == new
    assert new == (await acme.data("GET", "/communication-preferences/2026-03/definitions"))["results"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{V3}/unsubscribe", {"emailAddress": ANN}), (f"{V3}/subscribe", {"emailAddress": "x", "subscriptionId": "1"}),
        (f"{V3}/unsubscribe", {"emailAddress": ANN, "subscriptionId": "9"}),
        (f"{V3}/unsubscribe", {"emailAddress": ANN, "subscriptionId": "1", "legalBasis": "BECAUSE"}),
        (f"{V3}/unsubscribe", {"emailAddress": ANN, "subscriptionId": "1", "legalBasisExplanation": 5}),
        (f"{V4}/statuses/{ANN}", {"subscriptionId": 1, "statusState": "UNSUBSCRIBED"}),
        (f"{V4}/statuses/{ANN}", {"subscriptionId": 1, "status": "UNSUBSCRIBED", "channel": "EMAIL"}),
        (f"{V4}/statuses/{ANN}", {"subscriptionId": 1, "statusState": "GONE", "channel": "EMAIL"}),
        (f"{V4}/statuses/nobody", {"subscriptionId": 1, "statusState": "UNSUBSCRIBED", "channel": "EMAIL"}),
        (f"{V4}/statuses/{ANN}/unsubscribe-all", None),
    ],
)  # fmt: skip
async def test_what_cannot_be_said_is_refused(acme: Account, path: str, body: Json) -> None:
    assert "VALIDATION_ERROR" == (await acme.fault("POST", path, body))["category"]


async def test_hubspot_finds_out_who_bounced_and_nobody_else_may_say_so(acme: Account) -> None:
    id_ = await acme.contact(ANN)

    await acme.edit("bounce", "contact", id_, hs_email_bounce="2")

    told = await acme.properties(id_, "hs_email_hard_bounce_reason_enum", "hs_email_bad_address", "hs_email_bounce")
    assert ("UNKNOWN_USER", "true", "2") == tuple(
        told[name] for name in ("hs_email_hard_bounce_reason_enum", "hs_email_bad_address", "hs_email_bounce")
    )
    await acme.edit("unbounce", "contact", id_)
    assert (await acme.properties(id_, "hs_email_bad_address"))["hs_email_bad_address"] is None
