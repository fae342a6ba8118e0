from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app import clock
from tests.api.client import Api, Json

NOBODY = UUID("018f0000-0000-7000-8000-000000000000")
ADA = "ada@example.com"


def bounced(bounce: str, days_ago: float, email: str | None = ADA, **said: Json) -> Json:
    contact = {"user_id": "ada"} | ({} if email is None else {"email": email})
    at = (clock.now() - timedelta(days=days_ago)).isoformat()
    return {"type": "email.bounced", "occurred_at": at, "contact": contact, "properties": {"bounce": bounce, **said}}


def mail(type_: str, days_ago: float, email: str = ADA) -> Json:
    at = (clock.now() - timedelta(days=days_ago)).isoformat()
    return {"type": f"email.{type_}", "occurred_at": at, "contact": {"email": email}}


async def evidence(api: Api, **query: Any) -> list[Json]:
    items: list[Json] = (await api.get(f"/v1/contacts/{await api.id_of('ada', 'user_id')}/bounces", **query))["items"]
    return items


async def asides(api: Api) -> dict[str, str | None]:
    """Why each bounce does not count, by its code."""
    found = await evidence(api)
    assert all(one["counts"] is (one["aside"] is None) for one in found)
    return {one["code"]: one["aside"] for one in found}


async def flags(api: Api) -> list[Json]:
    """Changes, the earliest first, without their times."""
    found = (await api.get(f"/v1/contacts/{await api.id_of('ada', 'user_id')}/flags"))["items"]
    assert found == sorted(found, key=lambda one: one["changed_at"], reverse=True)
    return [(one["flag"], one["value"], one["reason"], one["by"]) for one in reversed(found)]


# --- evidence ---------------------------------------------------------------------------------------------------------


async def test_a_bounce_keeps_its_evidence(api: Api) -> None:
    said: Json = {
        "status": "5.1.1",
        "code": 550,
        "reason": "invalid recipient",
        "diagnostic": "550 5.1.1 user unknown",
        "message_id": "<1@mail.example>",
        "campaign": "spring",
    }
    await api.send({**bounced("hard", 1, **said, custom={"a": 1}), "source": "sendgrid"})

    [one] = await evidence(api)

    assert {"bounce": "hard", **said} == {name: one[name] for name in ("bounce", *said)}
    assert ("sendgrid", ADA, True, None) == (one["source"], one["address"], one["counts"], one["aside"])
    assert "custom" not in one


async def test_each_bounce_says_why_it_does_not_count(api: Api) -> None:
    await api.send(
        bounced("soft", 100, code="too old"),
        bounced("soft", 3, code="first", message_id="m"),
        bounced("soft", 2, code="again", message_id="m"),
        bounced("hard", 2, code="not tried", suppressed=True),
        bounced("hard", 2, "old@example.com", code="another"),
    )
    expected = {"too old": "too_old", "first": None, "again": "same_message"}
    expected |= {"not tried": "suppressed", "another": "another_address"}
    assert expected == await asides(api)

    await api.send(mail("delivered", 1), bounced("soft", 0.5, code="since"))
    expected |= dict.fromkeys(("first", "again", "too old"), "delivered_since") | {"since": None}
    assert expected == await asides(api)

    await api.send(bounced("hard", 0.4, code="hard"), bounced("soft", 0.3, code="after"))
    expected |= {"hard": None, "after": "after_hard_bounce"}
    assert expected == await asides(api)

    contact = await api.id_of("ada", "user_id")
    await api.patch(f"/v1/contacts/{contact}", {"bounced": False})
    counted = [code for code, why in expected.items() if why not in ("suppressed", "another_address")]
    assert expected | dict.fromkeys(counted, "forgiven") == await asides(api)

    await api.send(bounced("hard", 0.1, None, code="unnamed"))
    await api.patch(f"/v1/contacts/{contact}", {"email": "old@example.com"})
    expected = {**dict.fromkeys(expected, "another_address"), "not tried": "suppressed"}
    assert {**expected, "another": "forgiven", "unnamed": "before_this_address"} == await asides(api)


async def test_what_made_an_address_bounced_counts_though_the_next_soft_bounce_is_long_after(api: Api) -> None:
    await api.send(*(bounced("soft", 100 + day, code=day) for day in range(5)))

    await api.send(bounced("soft", 1, code="late"))

    assert dict.fromkeys([0, 1, 2, 3, 4, "late"]) == await asides(api)
    ada = await api.contact(ADA)
    assert (True, 1) == (ada["bounced"], ada["soft_bounces"])


async def test_the_pages_of_bounces_give_each_once_the_latest_first(api: Api) -> None:
    await api.send(*(bounced("soft", day, code=day) for day in range(7)))
    path = f"/v1/contacts/{await api.id_of(ADA)}/bounces"
    found, cursor = [], None
    while True:
        page = await api.get(path, limit=3, **({"cursor": cursor} if cursor else {}))
        found += [one["code"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert list(range(7)) == found


@pytest.mark.parametrize("what", ["bounces", "flags"])
async def test_a_stranger_has_neither_bounces_nor_flags(api: Api, what: str) -> None:
    await api.get(f"/v1/contacts/{NOBODY}/{what}", 404)
    await api.send(mail("opened", 1))
    contact = await api.id_of(ADA)

    assert {"items": [], "next_cursor": None} == await api.get(f"/v1/contacts/{contact}/{what}")
    for cursor in (
        "x",
        "WzFd",
        "W10",
        "WyJhIiwxXQ",
        "WzEuNV0",
        "Wy0xXQ",
        "WyI5OTk5LTEyLTMxVDIzOjU5OjU5LTIzOjU5IiwiYSJd",
    ):
        reply = await api.http.get(f"/v1/contacts/{contact}/{what}", params={"cursor": cursor})
        assert reply.status_code in (200, 422), reply.text


# --- history ----------------------------------------------------------------------------------------------------------


async def test_the_history_of_the_flags_says_what_when_why_and_who(api: Api) -> None:
    await api.send(mail("unsubscribed", 3), bounced("hard", 2))
    contact = await api.id_of(ADA)
    for change in (
        {"opted_out": False},
        {"bounced": False},
        {"name": "A"},
        {"bounced": True},
        {"email": "a@b.example"},
    ):
        await api.patch(f"/v1/contacts/{contact}", change)
    clock.shift(timedelta(days=20))
    await api.send(*(bounced("soft", day, "a@b.example") for day in range(1, 6)))
    await api.send(mail("opened", 0.5, "a@b.example"), mail("complained", 0.5, "a@b.example"))

    assert [
        ("opted_out", True, "unsubscribed", "api"),
        ("bounced", True, "hard_bounce", "api"),
        ("opted_out", False, "manual", "tests"),
        ("bounced", False, "manual", "tests"),
        ("bounced", True, "manual", "tests"),
        ("bounced", False, "new_address", None),
        ("bounced", True, "soft_bounces", "api"),
        ("opted_out", True, "complained", "api"),
        ("bounced", False, "delivered", None),
    ] == await flags(api)


async def test_the_pages_of_flags_give_each_change_once(api: Api) -> None:
    await api.send(mail("opened", 1))
    path = f"/v1/contacts/{await api.id_of(ADA)}"
    for turn in range(5):
        await api.patch(path, {"opted_out": turn % 2 == 0})
    first = await api.get(f"{path}/flags", limit=2)
    await api.patch(path, {"opted_out": False})
    found = [one["value"] for one in first["items"]]
    while first["next_cursor"]:
        first = await api.get(f"{path}/flags", limit=2, cursor=first["next_cursor"])
        found += [one["value"] for one in first["items"]]

    assert [True, False, True, False, True] == found


async def test_who_complained_is_not_opted_in_by_anybody_else(api: Api) -> None:
    await api.send(mail("complained", 1))
    path = f"/v1/contacts/{await api.id_of(ADA)}"

    problem = await api.patch(path, {"opted_out": False, "name": "Ada"}, 409)

    assert ("conflict", "/opted_out") == (problem["code"], problem["pointer"])
    ada = await api.get(path)
    assert (True, None) == (ada["opted_out"], ada["name"])
    await api.post("/v1/contacts", {"email": ADA, "opted_out": False}, 409)
    await api.send(mail("resubscribed", 0.5))
    assert not (await api.get(path))["opted_out"]
