"""Everything as NDJSON, and the list of events between two instants."""

from typing import Any

import orjson
import pytest

from tests.api.client import Api, Json, event_rule
from tests.api.world import happened


async def exported(api: Api, what: str, **query: str) -> list[Json]:
    reply = await api.http.get(f"/v1/exports/{what}", params=query)
    assert (200, "application/x-ndjson") == (reply.status_code, reply.headers["content-type"])
    assert f'attachment; filename="{what}.ndjson"' == reply.headers["content-disposition"]
    return [orjson.loads(line) for line in reply.content.splitlines()]


async def test_contacts_come_with_flags_and_identities(api: Api) -> None:
    await api.send(
        {"type": "email.unsubscribed", "contact": {"email": "ada@example.com", "user_id": "u-1"}},
        {"type": "page.viewed", "contact": {"anonymous_id": "a-1"}},
    )

    ada, nobody = await exported(api, "contacts")

    assert ("ada@example.com", True, "unsubscribed") == (ada["email"], ada["opted_out"], ada["opted_out_reason"])
    assert [{"kind": "email", "value": "ada@example.com"}, {"kind": "user_id", "value": "u-1"}] == ada["identities"]
    assert (None, False) == (nobody["email"], nobody["opted_out"])
    assert str(await api.id_of("a-1", "anonymous_id")) == nobody["id"]


async def test_scores_name_their_model_and_may_be_of_one(api: Api) -> None:
    await api.model("m", event_rule("email.opened", 2.5))
    await api.model("n", event_rule("email.opened", 3))
    await api.send(happened("email.opened"))

    first, second = await exported(api, "scores")

    assert [("m", 2.5), ("n", 3)] == [(one["model"], one["value"]) for one in (first, second)]
    assert ("ada@example.com", 1) == (first["email"], first["version"])
    assert [second] == await exported(api, "scores", model="n")
    assert [] == await exported(api, "scores", model="nobody")


async def test_events_are_all_there_once_and_in_order_however_many(api: Api) -> None:
    events = [happened("a.b", days_ago=n % 7) for n in range(2_500)]
    await api.send(*events)

    found = await exported(api, "events")

    assert [*sorted(one["occurred_at"] for one in found)] == [one["occurred_at"] for one in found]
    assert sorted(one["id"] for one in events) == sorted(one["client_id"] for one in found)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["1", "2", "3"]),
        ({"since": "2026-05-02T00:00:00Z"}, ["2", "3"]),
        ({"until": "2026-05-02T00:00:00Z"}, ["1"]),
        ({"since": "2026-05-02T02:00:00+02:00", "until": "2026-05-03T00:00:00Z"}, ["2"]),
        ({"type": "a.b"}, ["1", "3"]),
        ({"source": "web", "since": "2026-05-02T00:00:00Z"}, ["3"]),
        ({"type": "a.b", "source": "api"}, ["1"]),
    ],
)
async def test_events_may_be_of_some_time_type_and_source(api: Api, query: dict[str, Any], expected: list[str]) -> None:
    for name, type_, source in (("1", "a.b", "api"), ("2", "c.d", "api"), ("3", "a.b", "web")):
        at = f"2026-05-0{name}T00:00:00Z"
        who = {"email": "ada@example.com"}
        await api.send({"id": name, "type": type_, "source": source, "occurred_at": at, "contact": who})

    assert expected == [one["client_id"] for one in await exported(api, "events", **query)]
    listed = (await api.get("/v1/events", **query))["items"]
    assert expected == [one["client_id"] for one in reversed(listed)]


async def test_nothing_is_an_empty_file(api: Api) -> None:
    for what in ("contacts", "events", "scores"):
        assert [] == await exported(api, what)


async def test_a_time_that_is_none_is_pointed_at(api: Api) -> None:
    problem = await api.get("/v1/exports/events", 422, since="yesterday")
    assert "/since" == problem["pointer"]
