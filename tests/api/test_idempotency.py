"""The Idempotency-Key: a call that comes twice is done once, and answered twice with the same."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app import clock
from app.errors import Conflict
from app.store import idempotency
from app.store.keys import Scope
from tests.api.client import Api, Json, said
from tests.api.world import ADA, happened

MODEL = {"key": "m", "name": "M"}


async def send(api: Api, key: str, path: str = "/v1/models", body: Json = MODEL, **more: Any) -> httpx.Response:
    return await api.http.post(path, json=body, headers={"Idempotency-Key": key, **more})


async def test_the_second_call_is_answered_as_the_first_and_not_done(api: Api) -> None:
    first, second = await send(api, '"k-1"'), await send(api, "k-1")

    assert (201, 201) == (first.status_code, second.status_code)
    assert first.content == second.content
    assert first.headers["location"] == second.headers["location"]
    assert first.headers["content-type"] == second.headers["content-type"]
    assert ("true", None) == (second.headers["idempotency-replayed"], first.headers.get("idempotency-replayed"))
    assert 409 == (await send(api, "k-2")).status_code


async def test_a_patch_is_done_once_too(api: Api) -> None:
    await api.post("/v1/models", MODEL, 201)
    for _ in range(2):
        reply = await api.http.patch("/v1/models/m", json={"name": "N"}, headers={"Idempotency-Key": "p"})
        assert "N" == said(reply, 200)["name"]
        await api.patch("/v1/models/m", {"name": "O"})
    assert "O" == (await api.get("/v1/models/m"))["name"]


async def test_a_refusal_is_repeated_as_well(api: Api) -> None:
    await api.post("/v1/models", MODEL, 201)
    assert 409 == (await send(api, "k")).status_code
    await api.delete("/v1/models/m")
    assert 409 == (await send(api, "k")).status_code


async def test_events_without_ids_count_once(api: Api) -> None:
    events = [{"type": "page.viewed", "contact": ADA}] * 2
    for _ in range(2):
        receipt = said(await send(api, "k", "/v1/events", {"events": events}), 200)
        assert {"accepted": 2, "duplicates": 0, "rejected": []} == receipt
    assert 2 == await api.fetchval("SELECT count(*) FROM event")

    # Its answer lost, they are known by their places in the request all the same.
    await api.execute("UPDATE idempotent_call SET status = NULL, began_at = began_at - interval '2 minutes'")
    assert 2 == said(await send(api, "k", "/v1/events", {"events": events}), 200)["duplicates"]


async def test_a_key_that_comes_with_something_else_is_refused(api: Api) -> None:
    await send(api, "k")
    reply = await send(api, "k", body={**MODEL, "name": "Other"})
    assert "take a new key" in said(reply, 422)["detail"]
    assert 422 == (await send(api, "k", "/v1/models?x=1")).status_code
    assert 422 == (await send(api, "k", "/v1/segments")).status_code


async def test_a_key_belongs_to_its_caller(api: Api) -> None:
    await send(api, "k", "/v1/events", happened("a.b"))
    other = await api.key("other", Scope.INGEST)
    reply = await send(api, "k", "/v1/events", happened("c.d"), Authorization=f"Bearer {other}")
    assert 1 == said(reply, 200)["accepted"]


@pytest.mark.parametrize("key", ['"', "", '""', "a b", "ä", "x" * 201, '"a', "a\\b"])
async def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    reply = await api.http.post("/v1/models", json=MODEL, headers={b"Idempotency-Key": key.encode()})
    assert "malformed_header" == said(reply, 400)["code"]


async def test_of_calls_at_once_one_is_done(api: Api) -> None:
    replies = await asyncio.gather(*(send(api, "k") for _ in range(6)))
    assert 1 == await api.fetchval("SELECT count(*) FROM scoring_model")
    assert {201, 409} >= {reply.status_code for reply in replies}
    assert 201 == (await send(api, "k")).status_code


async def test_what_may_go_well_next_time_is_not_kept(api: Api) -> None:
    reader = await api.key("reader", Scope.READ)
    assert 403 == (await send(api, "k", Authorization=f"Bearer {reader}")).status_code
    assert 401 == (await send(api, "k", Authorization="Bearer lt_nobody")).status_code
    assert 0 == await api.fetchval("SELECT count(*) FROM idempotent_call")


async def test_a_call_that_died_is_taken_over_after_a_minute_if_it_took_no_effect(api: Api) -> None:
    await send(api, "k")
    await api.delete("/v1/models/m")
    await api.execute("UPDATE idempotent_call SET status = NULL, took_effect = false")
    assert "on its way" in said(await send(api, "k"), 409)["detail"]

    clock.shift(timedelta(seconds=61))
    assert 201 == (await send(api, "k")).status_code


async def test_a_call_that_died_after_it_took_effect_is_not_done_again(api: Api) -> None:
    await send(api, "k")
    await api.execute("UPDATE idempotent_call SET status = NULL")
    await api.delete("/v1/models/m")

    clock.shift(timedelta(seconds=61))
    assert "its answer was lost" in said(await send(api, "k"), 409)["detail"]
    assert 0 == await api.fetchval("SELECT count(*) FROM scoring_model")


async def test_a_call_that_was_taken_over_can_commit_no_more(api: Api) -> None:
    call = idempotency.Call(b"caller", "k", b"asked")
    began = clock.now()
    assert await idempotency.begin(api.database, call, began) is None
    assert await idempotency.begin(api.database, call, began + timedelta(seconds=61)) is None

    async with idempotency.noting(call, began):
        with pytest.raises(Conflict, match="took over"):
            async with api.database.batch() as db:
                await db.execute("DELETE FROM api_key")
    assert 0 < await api.fetchval("SELECT count(*) FROM api_key")


async def test_after_a_day_the_key_is_free(api: Api) -> None:
    await send(api, "k")
    clock.shift(timedelta(hours=24, seconds=1))
    assert 409 == (await send(api, "k")).status_code  # done again, and refused: the model is there
    async with api.database.batch() as db:
        await idempotency.forget_old(db, clock.now() + timedelta(hours=25))
    assert 0 == await api.fetchval("SELECT count(*) FROM idempotent_call")
