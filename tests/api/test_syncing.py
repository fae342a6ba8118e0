import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from app import clock, worker
from app.api.services import Services
from app.connectors import providers
from app.connectors.faults import Unreachable
from app.connectors.http import Http
from app.engine import preview
from app.sandbox.people import people
from app.sandbox.pipedrive import Pipedrive
from app.sync import forecast, pull, push
from app.sync.forecast import by_connector
from app.sync.runs import Kind, Runs
from tests.api.client import Api, Json, event_rule, pointers, said
from tests.engine.worlds import event
from tests.sandbox.loopback import served
from tests.sync.drivers import WiredToy, connected, until
from tests.sync.toy import Toy
from tests.sync.worlds import World

NOWHERE = "018f0000-0000-7000-8000-000000000000"


@pytest.fixture
def wired() -> WiredToy:
    return WiredToy(Toy(), budget=200)


@pytest.fixture
def kit(api: Api, wired: WiredToy) -> Iterator[Services]:
    """Knows one CRM, the toy."""
    before: Services = api.app.state.services
    api.app.state.services = replace(before, providers={"toy": wired})
    yield api.app.state.services
    api.app.state.services = before


@pytest.fixture
def world(api: Api) -> World:
    return World(api.database)


@pytest.fixture
async def toys(world: World, wired: WiredToy) -> UUID:
    """A connection to a CRM of seven people, of whom nobody is known yet."""
    for number in range(7):
        wired.toy.add(f"p{number}@example.com", full_name=f"P {number}")
    return await connected(world, wired.toy)


@pytest.fixture
def path(toys: UUID, kit: Services) -> str:
    return f"/v1/connections/{toys}"


async def step(kit: Services, toys: UUID) -> None:
    """One turn of the sync."""
    async with kit.opened(toys) as opened:
        runs = Runs(opened)
        async with runs.run(Kind.PULL) as run:
            await pull.pull(opened, run.counts, asyncio.Event())
        async with runs.run(Kind.PUSH) as run:
            await push.drain(opened, run.counts, asyncio.Event())


async def paged(api: Api, path: str, **query: Json) -> list[Json]:
    """All items, page by page."""
    found: list[Json] = []
    cursor: dict[str, Any] = {}  # Any: JSON
    while True:
        page = await api.get(path, **query, **cursor)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_runs_are_listed_the_newest_first(
    api: Api, world: World, kit: Services, toys: UUID, path: str, wired: WiredToy
) -> None:
    await step(kit, toys)
    world.go_to(clock.now() + timedelta(minutes=5))
    wired.toy.edit("1", full_name="Ada")
    await step(kit, toys)
    wired.faults = [Unreachable("no answer: ConnectError")]
    world.go_to(clock.now() + timedelta(minutes=5))
    with pytest.raises(Unreachable):
        await step(kit, toys)

    found = await paged(api, f"{path}/runs", limit=1)
    assert found == (await api.get(f"{path}/runs"))["items"]
    assert [None, 1, 7] == [one["counts"].get("changed", one["counts"].get("created")) for one in found]
    assert "no answer: ConnectError" == found[0]["error"]
    assert all(one["began_at"] <= one["ended_at"] for one in found)


async def test_the_backlog_says_what_waits_and_how_long_the_budget_takes_for_it(
    api: Api, world: World, kit: Services, toys: UUID, path: str
) -> None:
    await step(kit, toys)
    empty = await api.get(f"{path}/backlog")
    await world.send(event("email.unsubscribed", "p0@example.com", world.now))
    await world.change(await world.contact("p1@example.com"), stage="lead")
    await world.execute("INSERT INTO sync_spend VALUES ($1, $2, 160)", toys, _hour() - timedelta(hours=2))
    waits = await api.get(f"{path}/backlog")

    assert {"waiting": 0, "flags": 0, "delayed": 0, "oldest": None, "hints": 0, "parked": 0, "cost": 0} == {
        name: empty[name] for name in ("waiting", "flags", "delayed", "oldest", "hints", "parked", "cost")
    }
    assert (2, 1, 1) == (waits["waiting"], waits["flags"], waits["cost"])
    assert waits["oldest"] is not None
    spent = empty["budget"]["spent_today"]
    assert {"unit": "calls", "per_day": 200, "reserve": 40, "spent_today": spent + 160, "remaining": None} == waits[
        "budget"
    ]
    assert (0, 86_400) == (empty["drains_in_s"], waits["drains_in_s"])


async def test_what_the_crm_does_not_take_is_parked_and_tried_again_when_asked_for(
    api: Api, world: World, kit: Services, toys: UUID, path: str, wired: WiredToy
) -> None:
    await step(kit, toys)
    wired.toy.refuses = {"1": ("stage",), "2": ("stage",)}
    for who in ("p0@example.com", "p1@example.com"):
        await world.change(await world.contact(who), stage="lead")
    for _ in range(8):
        await step(kit, toys)
        world.go_to(clock.now() + timedelta(hours=7))

    found = await paged(api, f"{path}/parked", limit=1)
    assert ["1", "2"] == [one["record"] for one in found]
    [field] = found[0]["fields"]
    assert ("stage", "RULE", "an admin's rule") == (field["field"], field["code"], field["reason"])
    assert str(await world.contact("p0@example.com")) == found[0]["contact_id"]
    assert 2 == (await api.get(f"{path}/backlog"))["parked"]

    wired.toy.refuses = {}
    assert {"records": 1} == await api.post(f"{path}/parked/retry", {"object": "person", "record": "1"})
    await step(kit, toys)
    assert ["2"] == [one["record"] for one in await paged(api, f"{path}/parked")]
    assert {"records": 1} == await api.post(f"{path}/parked/retry")
    await step(kit, toys)
    assert [] == await paged(api, f"{path}/parked")
    assert ["lead", "lead"] == [wired.toy.people[id_].values["stage"] for id_ in ("1", "2")]
    assert [""] == pointers(await api.post(f"{path}/parked/retry", {"object": "person"}, 422))


async def test_a_look_for_changes_and_a_comparison_are_due_when_asked_for(api: Api, toys: UUID, path: str) -> None:
    later = clock.now() + timedelta(days=1)
    await api.execute("UPDATE connection SET pull_at = $1, reconcile_at = $1", later)
    await api.post(f"{path}/pull", status=202)
    assert clock.now() >= await api.fetchval("SELECT pull_at FROM connection")
    assert later == await api.fetchval("SELECT reconcile_at FROM connection")
    await api.post(f"{path}/reconcile", status=202)
    assert clock.now() >= await api.fetchval("SELECT reconcile_at FROM connection")


async def test_a_rehearsal_says_what_would_be_written_and_writes_nothing(
    api: Api, world: World, kit: Services, toys: UUID, path: str, wired: WiredToy
) -> None:
    await step(kit, toys)
    await world.send(event("email.unsubscribed", "p0@example.com", world.now))
    wired.called.clear()

    found = await api.post(f"{path}/rehearse", {"limit": 10})
    assert [
        {
            "object": "person",
            "record": "1",
            "contact_id": str(await world.contact("p0@example.com")),
            "fields": [{"field": "out", "there": False, "here": True}],
        }
    ] == found["writes"]
    assert (0, 1, 1, "calls", 0) == tuple(found[name] for name in ("unknown", "waiting", "cost", "unit", "takes_s"))
    assert [] == wired.called
    assert found == await api.post(f"{path}/rehearse")


async def test_both_sides_are_compared_page_by_page(
    api: Api, world: World, kit: Services, toys: UUID, path: str, wired: WiredToy
) -> None:
    await step(kit, toys)
    await world.send(event("email.unsubscribed", "p0@example.com", world.now))
    wired.toy.edit("7", full_name="Ada")

    whole = await paged(api, f"{path}/diff", limit=3)
    assert [str(number) for number in range(1, 8)] == [one["record"] for one in whole]
    found = await paged(api, f"{path}/diff", limit=3, only="different")
    assert ["1", "7"] == [one["record"] for one in found]
    [field] = found[0]["fields"]
    assert {
        "here": "opted_out",
        "there": "out",
        "value_here": True,
        "value_there": False,
        "agreed": False,
        "right": "here",
        "why": "waits",
        "detail": "waits in the outbox",
    } == field
    totals = (await api.get(f"{path}/diff"))["totals"]
    assert {"records": 7, "different_records": 2, "different_fields": 2} == {
        name: totals[name] for name in ("records", "different_records", "different_fields")
    }
    assert {"waits": 1, "not_pulled": 1} == totals["by_why"]


async def test_contacts_with_several_records_are_listed(
    api: Api, world: World, kit: Services, toys: UUID, path: str, wired: WiredToy
) -> None:
    wired.toy.add("p3@example.com")
    await step(kit, toys)

    [one] = await paged(api, f"{path}/duplicates", limit=1)
    assert str(await world.contact("p3@example.com")) == one["contact_id"]
    assert [{"object": "person", "record": "4"}, {"object": "person", "record": "8"}] == one["records"]


async def test_a_preview_says_what_each_crm_would_be_told(
    api: Api, world: World, kit: Services, toys: UUID, wired: WiredToy
) -> None:
    await api.model("engagement", event_rule("page.viewed", 5))
    for number in range(4):
        await world.send(event("page.viewed", f"p{number}@example.com", world.now))
    await world.send(event("page.viewed", "nobody@example.com", world.now))
    await step(kit, toys)
    [rule] = (await api.get("/v1/models/engagement/rules"))["items"]
    await api.patch(f"/v1/rules/{rule['id']}", {"points": 5.4})
    assert [0] == [one["contacts"] for one in await _foreseen(api)]
    await api.patch(f"/v1/rules/{rule['id']}", {"points": 6})
    assert [{"connection": str(toys), "name": "toys", "contacts": 4, "records": 4}] == [
        {name: one[name] for name in ("connection", "name", "contacts", "records")} for one in await _foreseen(api)
    ]
    [priced] = await _foreseen(api, partial(forecast.of_preview, plan=by_connector(kit.opened)))
    assert {"unit": "calls", "cost": 2, "takes_s": 0} == {name: priced[name] for name in ("unit", "cost", "takes_s")}
    schemas = (await api.get("/openapi.json"))["components"]["schemas"]
    assert schemas["CrmWritesOut"]["properties"].keys() == priced.keys()


async def test_a_preview_counts_whose_band_alone_would_change(
    api: Api, world: World, kit: Services, toys: UUID
) -> None:
    await api.model("engagement", event_rule("page.viewed", 5))
    await world.send(event("page.viewed", "p0@example.com", world.now))
    await step(kit, toys)
    await api.patch("/v1/models/engagement", {"bands": [{"name": "hot", "color": "#d64545", "min": 5}]})

    assert [1] == [one["contacts"] for one in await _foreseen(api)]


async def test_a_worker_keeps_a_crm_in_step(api: Api, kit: Services) -> None:
    settings = kit.settings.model_copy(update={"private_crms": True})
    stand_in, stop = Pipedrive(), asyncio.Event()
    stand_in.fill(people(5, 0))
    async with Http(private=True) as http:
        api.app.state.services = replace(kit, settings=settings, http=http, providers=providers())
        with served(stand_in.app) as url:
            token = {"api_token": stand_in.credentials(url)["api_token"]}
            body = {"kind": "pipedrive", "name": "sales", "base_url": url, "credentials": token}
            path = f"/v1/connections/{(await api.post('/v1/connections', body, 201))['id']}"
            assert (await api.post(f"{path}/test"))["ok"]
            working = asyncio.create_task(worker.run(api.database, stop, settings, kit.vault))
            await until(lambda: _has_run(api, path))
            stop.set()
            await asyncio.wait_for(working, 10)

    assert 5 == await api.fetchval("SELECT count(*) FROM contact")


@pytest.mark.parametrize(
    "call", ["runs", "backlog", "parked", "diff", "duplicates", "-pull", "-reconcile", "-rehearse", "-parked/retry"]
)
async def test_of_a_connection_that_is_not_there_nothing_is_said(api: Api, kit: Services, call: str) -> None:
    at = f"/v1/connections/{NOWHERE}/{call.removeprefix('-')}"
    await (api.post(at, status=404) if call.startswith("-") else api.get(at, 404))


@pytest.mark.parametrize("call", ["runs", "parked", "diff", "duplicates"])
async def test_a_cursor_of_another_list_is_refused(api: Api, path: str, call: str) -> None:
    assert ["/cursor"] == pointers(await api.get(f"{path}/{call}", 422, cursor="WzEsMiwzXQ"))


async def _has_run(api: Api, path: str) -> bool:
    return any(one["counts"].get("created") == 5 for one in (await api.get(f"{path}/runs"))["items"])


async def _foreseen(api: Api, foresee: preview.Foresee = forecast.of_preview) -> list[Json]:
    reply = await api.http.post("/v1/models/engagement/preview", headers={"Prefer": "respond-async"})
    job = said(reply, 202)["job_id"]
    await preview.run(api.database, UUID(job), foresee)
    done = await api.get(f"/v1/jobs/{job}")
    assert "done" == done["status"]
    found: list[Json] = done["result"]["crm_writes"]
    return found


def _hour() -> datetime:
    return clock.now().replace(minute=0, second=0, microsecond=0)
