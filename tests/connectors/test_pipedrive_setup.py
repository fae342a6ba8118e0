"""Pipedrive's fields, what a check finds, and its webhooks: against the stand-in, over HTTP."""

import asyncio

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import connectors
from app.connectors.faults import Busy, Unreachable
from app.connectors.pipedrive import PROVIDER, webhooks
from app.connectors.provider import Grant
from app.connectors.shapes import Account, Call, CrmField, DefaultPair, Hint, Key, Kind, Level, Notice, WantedField
from tests.connectors.pipedrive_world import PERSON, Company, Json, loses_nothing, until

FIELDS = "GET /api/v2/personFields"
MAKE = "POST /api/v2/personFields"
SCORE = WantedField(PERSON, "score_fit", "Lead Score: Fit", Kind.NUMBER, "The score.", places=0)
OUT = WantedField(PERSON, "email_opt_out", "Email opt-out", Kind.CHOICE, "No mail.", ("Yes", "No"))


# --- fields -----------------------------------------------------------------------------------------------------------
async def test_fields_are_described_in_the_words_of_all_connectors(acme: Company) -> None:
    made = {
        type_: await acme.field(type_, type_, *(("Yes", "No") if type_ in ("enum", "set") else ()))
        for type_ in ("varchar", "text", "double", "monetary", "date", "enum", "set", "phone", "time", "address", "org")
    }

    described = {one.name: one for one in await acme.connect().describe(PERSON)}

    assert ["name", "first_name", "last_name", "email", "phone", "label_ids", "marketing_status", "add_time"] == [
        one.name for one in described.values() if not one.is_custom
    ]
    assert CrmField("name", "Name", Kind.TEXT, True, max_length=255) == described["name"]
    assert CrmField("email", "Email", Kind.TEXT, False) == described["email"]
    assert CrmField("label_ids", "Labels", Kind.CHOICES, True, options=("Label 1", "Label 2")) == described["label_ids"]
    statuses = ("no_consent", "subscribed", "unsubscribed", "archived")
    status = described["marketing_status"]
    assert (Kind.CHOICE, True, statuses) == (status.kind, status.is_writable, status.options)
    kinds = {
        "varchar": (Kind.TEXT, True), "text": (Kind.TEXT, True), "double": (Kind.NUMBER, True),
        "monetary": (Kind.NUMBER, False), "date": (Kind.DAY, True), "enum": (Kind.CHOICE, True),
        "set": (Kind.CHOICES, True), "phone": (Kind.TEXT, True), "time": (Kind.OTHER, False),
        "address": (Kind.OTHER, False), "org": (Kind.OTHER, False),
    }  # fmt: skip
    assert kinds == {type_: (described[code].kind, described[code].is_writable) for type_, code in made.items()}
    assert ("enum", ("Yes", "No"), 255, 65_000) == (
        described[made["enum"]].label, described[made["enum"]].options, described[made["varchar"]].max_length,
        described[made["text"]].max_length,
    )  # fmt: skip


async def test_what_was_described_is_remembered_for_some_minutes(acme: Company) -> None:
    connector = acme.connect()
    before = await connector.describe(PERSON)
    await acme.field("Score", "double")

    assert before == await connector.describe(PERSON)
    assert 1 == acme.calls(FIELDS)
    acme.later(301)
    assert len(before) + 1 == len(await connector.describe(PERSON))


async def test_more_fields_than_a_page_holds_are_all_described(acme: Company) -> None:
    codes = [await acme.field(f"Field {at}", "double") for at in range(520)]

    assert set(codes) <= {one.name for one in await acme.connect().describe(PERSON)}
    assert 2 == acme.calls(FIELDS)


async def test_without_campaigns_there_is_no_marketing_status(acme: Company) -> None:
    acme.faults.without_campaigns = True
    await acme.person("ann@example.com")

    assert "marketing_status" not in {one.name for one in await acme.connect().describe(PERSON)}


@pytest.mark.parametrize(
    ("without", "choice", "native"),
    [(False, None, True), (False, "native", True), (False, "custom", False), (True, None, False),
     (True, "native", False)],
)  # fmt: skip
async def test_an_opt_out_is_the_marketing_status_or_a_field_of_its_own(
    acme: Company, without: bool, choice: str | None, native: bool
) -> None:
    acme.faults.without_campaigns = without
    connector = acme.connect(choices={} if choice is None else {"opt_out": choice})

    found = {one.here: one for one in connector.defaults(PERSON, await connector.describe(PERSON))}

    out = found.pop("opted_out")
    if native:
        assert (
            DefaultPair(
                PERSON, "opted_out", "marketing_status", "both", ("unsubscribed",), ("subscribed", "no_consent")
            )
            == out
        )
    else:
        assert isinstance(out.there, WantedField)
        assert (Kind.CHOICE, ("Yes", "No"), "both") == (out.there.kind, out.there.options, out.way)
    assert {
        "email": ("email", "in"), "name": ("name", "in"), "tags": ("label_ids", "in"),
        "bounced": ("email_bounced", "both"), "bounced_at": ("email_bounced_on", "out"),
        "bounced_reason": ("email_bounced_reason", "out"),
    } == {
        here: (one.there.name if isinstance(one.there, WantedField) else one.there, one.way)
        for here, one in found.items()
    }  # fmt: skip


# --- making fields ----------------------------------------------------------------------------------------------------
async def test_fields_are_made_once_and_then_found(acme: Company) -> None:
    wanted = [SCORE, OUT, *(WantedField(PERSON, kind, kind, kind, "", ("a",)) for kind in (Kind.CHOICES, Kind.TEXT)),
              WantedField(PERSON, "long", "Long", Kind.TEXT, "", max_length=1_000),
              WantedField(PERSON, "day", "Day", Kind.DAY, ""), WantedField(PERSON, "at", "At", Kind.INSTANT, ""),
              WantedField(PERSON, "is", "Is", Kind.BOOLEAN, "")]  # fmt: skip
    connector = acme.connect()

    first = await connector.ensure(wanted)
    second = await acme.connect().ensure(wanted)

    assert wanted == [one.wanted for one in first]
    assert [False] * 8 == [one.was_there for one in first]
    assert [True] * 8 == [one.was_there for one in second]
    assert [one.field for one in first] == [one.field for one in second]
    assert [Kind.NUMBER, Kind.CHOICE, Kind.CHOICES, Kind.TEXT, Kind.TEXT, Kind.DAY, Kind.DAY, Kind.CHOICE] == [
        one.field.kind for one in first if one.field is not None
    ]
    assert [("Yes", "No")] * 2 == [first[at].field.options for at in (1, 7)]  # type: ignore[union-attr]  # all are there
    assert 8 == acme.calls(MAKE)
    assert [] == await connector.ensure([])


async def test_of_several_fields_of_one_name_the_oldest_of_its_type_is_meant(acme: Company) -> None:
    await acme.field(SCORE.label, "varchar")
    await acme.field(SCORE.label, "monetary")
    oldest = await acme.field(SCORE.label, "double")
    await acme.field(SCORE.label, "double")

    [made] = await acme.connect().ensure([SCORE])

    assert (True, oldest) == (made.was_there, made.field and made.field.name)
    assert 0 == acme.calls(MAKE)


async def test_an_option_that_is_missing_is_added(acme: Company) -> None:
    there = await acme.field(OUT.label, "enum", "Yes", "Perhaps")

    [made] = await acme.connect().ensure([OUT])

    assert made.field == CrmField(there, OUT.label, Kind.CHOICE, True, True, ("Yes", "Perhaps", "No"))


async def test_at_the_plans_limit_of_fields_there_is_a_recipe(acme: Company) -> None:
    await acme.field(SCORE.label, "double")
    acme.faults.custom_field_cap = 1

    score, out = await acme.connect().ensure([SCORE, OUT])

    assert (True, None) == (score.was_there, score.recipe)
    assert (None, False) == (out.field, out.was_there)
    for word in (OUT.label, "Single option", "Yes, No", "plan"):
        assert word in (out.recipe or "")


async def test_without_the_scope_there_is_a_recipe_and_what_is_there_is_found(acme: Company) -> None:
    await acme.field(SCORE.label, "double")
    await acme.field(OUT.label, "enum", "Yes")
    acme.faults.withheld_scopes = ["contact-fields:full", "admin"]

    score, out = await acme.connect("oauth").ensure([SCORE, OUT])

    assert (True, None) == (score.was_there, score.recipe)
    assert "contact-fields:full" in (out.recipe or "")


async def test_a_kind_that_pipedrive_has_not_is_told(acme: Company) -> None:
    [made] = await acme.connect().ensure([WantedField(PERSON, "other", "Other", Kind.OTHER, "")])

    assert (None, "Pipedrive has no type of field for other") == (made.field, made.recipe)


async def test_a_field_whose_answer_was_lost_is_not_made_twice(acme: Company) -> None:
    acme.front.loses = lambda call, _: call == MAKE
    with pytest.raises(Unreachable):
        await acme.connect().ensure([SCORE])
    acme.front.loses = loses_nothing

    [made] = await acme.connect().ensure([SCORE])

    assert made.was_there
    assert 1 == acme.crm.state()["records"]["custom_fields"]


# --- checking ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("flow", ["api_token", "oauth"])
async def test_a_company_that_lacks_nothing(acme: Company, flow: str) -> None:
    assert (Account("Acme Sales", "9", "Integration"), []) == await acme.connect(flow).check()


async def test_who_cannot_sign_in_is_told_how(acme: Company) -> None:
    checked = await acme.connect(keys={"api_token": "0" * 40}).check()

    assert checked.account is None
    assert [(Level.ERROR, "unauthorized")] == [(one.level, one.code) for one in checked.findings]
    assert all(one.mend for one in checked.findings)


@pytest.mark.parametrize(
    ("withheld", "level", "named"),
    [
        (["contacts:full", "contacts:read", "search:read"], Level.ERROR, "contacts:full"),
        (["activities:full", "activities:read"], Level.WARNING, "activities:read"),
        (["contacts:full", "search:read"], Level.WARNING, "search:read"),
        (["admin"], Level.WARNING, "admin"),
        (["base"], Level.ERROR, "base"),
    ],
)
async def test_each_missing_scope_is_found(acme: Company, withheld: list[str], level: Level, named: str) -> None:
    acme.faults.withheld_scopes = withheld

    findings = (await acme.connect("oauth").check()).findings

    assert (level, "missing_scope") in [(one.level, one.code) for one in findings if named in one.mend]


async def test_a_scope_that_was_never_granted_is_found_though_nothing_can_be_tried(acme: Company) -> None:
    connector = acme.connect("oauth")
    await connector.describe(PERSON)
    grant = acme.shelf.kept[-1]
    acme.shelf.kept.append(Grant(grant.access_token, base_url=acme.url, more={"scope": "base,contacts:read"}))

    findings = (await acme.connect("oauth").check()).findings

    assert ["contacts:full", "contact-fields:full"] == [
        name for one in findings for name in ("contacts:full", "contact-fields:full") if name in one.mend
    ]


async def test_a_company_without_campaigns_is_told_where_opting_out_goes(acme: Company) -> None:
    acme.faults.without_campaigns = True

    assert [(Level.NOTE, "no_campaigns", "")] == [
        (one.level, one.code, one.mend) for one in (await acme.connect().check()).findings
    ]


async def test_a_day_whose_tokens_are_nearly_spent_is_found(acme: Company) -> None:
    acme.faults.daily_tokens = 70

    assert ["daily_budget_low"] == [one.code for one in (await acme.connect().check()).findings]


async def test_a_check_in_a_silence_says_when_it_ends(acme: Company) -> None:
    acme.faults.daily_exhausted = True

    with pytest.raises(Busy):
        await acme.connect().check()


# --- webhooks ---------------------------------------------------------------------------------------------------------
async def told(acme: Company, count: int) -> list[Notice]:
    """What came, once so many have."""
    await until(lambda: len(acme.front.hooked) >= count, asyncio.sleep)
    return [acme.connect().read_notice(Call("", {}, body)) for body in acme.front.hooked[:count]]


async def test_what_pipedrive_tells_is_a_hint(acme: Company) -> None:
    assert None is await acme.connect().subscribe(f"{acme.url}/hook", "user", "password")
    ann = await acme.person("ann@example.com")
    await acme.change(ann, name="Anne Lee")
    await acme.edit("create", "activity", type="call", done=True, participants=[{"person_id": int(ann)}])
    await acme.edit("delete", PERSON, ann)

    notices = await told(acme, 4)

    hint = Notice([Hint(Key(PERSON, ann))])
    assert 3 == notices.count(hint)
    assert 1 == notices.count(Notice([], is_activity=True))


async def test_a_merge_tells_who_became_whom_whichever_side_of_it_comes(acme: Company) -> None:
    await acme.connect().subscribe(f"{acme.url}/hook", "user", "password")
    acme.faults.lose_webhooks = True
    ann, anne = await acme.person("ann@example.com"), await acme.person("anne@example.com")
    acme.faults.lose_webhooks = False
    await acme.edit("merge", PERSON, ann, merge_with_id=int(anne))

    notices = await told(acme, 2)

    became = Hint(Key(PERSON, ann), Key(PERSON, anne))
    assert [[became], [Hint(Key(PERSON, anne)), became]] == sorted((list(one.hints) for one in notices), key=len)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"\xff", b'{"meta": 5}', b'{"meta": {"entity": 5}}', b'{"meta": {"entity": "person"}}',
     b'{"meta": {"entity": "person", "entity_id": "../1"}}', b'{"meta": {"entity": "person", "entity_id": true}}'],
)  # fmt: skip
async def test_what_is_no_notice_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        webhooks.read(body)


@given(
    st.dictionaries(
        st.sampled_from(["entity", "entity_id", "merged_to_id", "merged_from_id", "action"]),
        st.sampled_from(["person", "activity", "deal", "7", 7, -7, None, [], {}, True, 1.5, "٧"]),
    )
)
def test_whatever_is_told_is_read_or_refused(meta: dict[str, Json]) -> None:
    try:
        notice = webhooks.read(orjson.dumps({"meta": meta}))
    except ValueError:
        return
    assert all(one.key.id == "7" for one in notice.hints)


async def test_webhooks_are_made_once(acme: Company) -> None:
    url = f"{acme.url}/hook"
    for _ in range(2):
        assert None is await acme.connect().subscribe(url, "user", "password")

    hooks = acme.crm.company.hooks
    made = [(one.url, one.action, one.entity, one.user, one.password) for one in hooks.values()]
    assert [(url, "*", "person", "user", "password"), (url, "*", "activity", "user", "password")] == made
    # Another user has another password.
    await acme.connect().subscribe(url, "other", "secret")
    assert [("other", "secret")] * 2 == [(one.user, one.password) for one in hooks.values()]
    # Pipedrive removes those that fail for long.
    del hooks[next(iter(hooks))]
    await acme.connect().subscribe(url, "other", "secret")
    assert {"person", "activity"} == {one.entity for one in hooks.values()}


async def test_where_no_webhook_can_be_made_there_is_a_recipe_without_a_secret(acme: Company) -> None:
    acme.faults.withheld_scopes = ["admin"]
    recipes = [await acme.connect("oauth").subscribe(f"{acme.url}/hook", "user", "sesame")]
    acme.faults.withheld_scopes = []
    recipes.append(await acme.connect().subscribe("ftp://nowhere", "user", "sesame"))
    for at in range(40):
        body = {"subscription_url": f"{acme.url}/{at}", "event_action": "*", "event_object": "deal", "name": "x"}
        token = {"x-api-token": acme.crm.credentials("")["api_token"]}
        await acme.http.send("POST", f"{acme.url}/v1/webhooks", headers=token, json=body)
    recipes.append(await acme.connect().subscribe(f"{acme.url}/hook", "user", "sesame"))

    assert [True, True, True] == ["Create new webhook" in (one or "") for one in recipes]
    assert "sesame" not in str(recipes)
    assert "40" in (recipes[2] or "")


# --- the provider -----------------------------------------------------------------------------------------------------
def test_the_provider_is_known() -> None:
    assert connectors.providers()["pipedrive"] is PROVIDER
    assert ("Pipedrive", "tokens", ["api_token", "oauth"]) == (
        PROVIDER.title, PROVIDER.unit, [one.name for one in PROVIDER.flows],
    )  # fmt: skip
