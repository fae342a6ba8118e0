"""CloudEvents over HTTP: the modes, the two kinds of key, the handshake."""

import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.store.keys import Scope
from tests.api.client import BASE, Api, Json, be_a_problem, event_rule, pointers, said
from tests.api.test_tracking import basic, counts, read, source, switch_off

EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/forms/demo",
    "type": "form.submitted",
    "subject": "ana@example.com",
    "data": {"form": "demo"},
}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCHED = {"Content-Type": "application/cloudevents-batch+json"}
BINARY = {
    "Content-Type": "application/json",
    "ce-specversion": "1.0",
    "ce-id": "e-1",
    "ce-source": "/forms/demo",
    "ce-type": "form.submitted",
    "ce-subject": "ana@example.com",
}


@pytest.fixture
async def sender(api: Api) -> httpx.AsyncClient:
    """A caller without a key."""
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE, event_hooks={"response": [be_a_problem]})


async def post(http: httpx.AsyncClient, body: Json, headers: Json, status: int = 200, **query: str) -> Json:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return said(await http.post("/v1/cloudevents", content=content, headers=headers, params=query), status)


# --- with an API key --------------------------------------------------------------------------------------------------


async def test_an_event_is_stored_and_scored_once_in_whatever_mode_it_comes(api: Api) -> None:
    await api.model("m", event_rule("form.submitted", 5))

    assert {"accepted": 1, "duplicates": 0, "rejected": []} == await post(api.http, EVENT, STRUCTURED)
    assert {"accepted": 0, "duplicates": 1, "rejected": []} == await post(api.http, {"form": "demo"}, BINARY)
    assert {"accepted": 1, "duplicates": 2, "rejected": []} == await post(
        api.http, [EVENT, EVENT, {**EVENT, "id": "e-2"}], BATCHED
    )

    assert 10 == await api.score("ana@example.com", "m")
    assert ["demo", "demo"] == [one["properties"]["form"] for one in (await api.get("/v1/events"))["items"]]


async def test_what_is_wrong_in_a_batch_is_rejected_alone_and_alone_it_is_refused(api: Api) -> None:
    bounced = {**EVENT, "id": "e-3", "type": "email.bounced"}

    receipt = await post(api.http, [EVENT, {**EVENT, "id": ""}, {**EVENT, "subject": None}, bounced], BATCHED)

    assert (1, ["/1/id", "/2/subject", "/3"]) == (receipt["accepted"], [one["pointer"] for one in receipt["rejected"]])
    assert ["/id"] == pointers(await post(api.http, {**EVENT, "id": ""}, STRUCTURED, 422))
    assert ["/type"] == pointers(await post(api.http, {}, {**BINARY, "ce-type": ""}, 422))
    assert {"accepted": 0, "duplicates": 0, "rejected": []} == await post(api.http, [], BATCHED)


async def test_an_api_key_needs_the_scope_and_is_not_taken_from_the_address(
    api: Api, sender: httpx.AsyncClient
) -> None:
    ingest, reader = await api.key("ingest", Scope.INGEST), await api.key("reader", Scope.READ)

    assert 1 == (await post(sender, EVENT, {**STRUCTURED, **basic(ingest)}))["accepted"]
    assert "not_allowed" == (await post(sender, EVENT, {**STRUCTURED, **basic(reader)}, 403))["code"]
    assert "not_authenticated" == (await post(sender, EVENT, STRUCTURED, 401))["code"]
    assert "not_authenticated" == (await post(sender, EVENT, STRUCTURED, 401, key=ingest))["code"]


# --- with a source's write key ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["bearer", "basic", "query"])
async def test_a_source_keeps_what_comes_raw_and_counts_it(api: Api, sender: httpx.AsyncClient, place: str) -> None:
    key = await source(api, "cloudevents", "forms")
    query = {"key": key} if place == "query" else {}
    header = {"bearer": {"Authorization": f"Bearer {key}"}, "basic": basic(key)}.get(place, {})
    batch = [EVENT, EVENT, {**EVENT, "id": ""}]

    for headers, body in ((STRUCTURED, EVENT), (BINARY, {"form": "demo"}), (BATCHED, batch)):
        receipt = await post(sender, body, {**headers, **header}, 202, **query)
    await post(sender, {**EVENT, "id": ""}, {**STRUCTURED, **header}, 422, **query)
    await post(sender, [], {**BATCHED, **header}, 202, **query)

    assert (2, ["/2/id"]) == (receipt["accepted"], [one["pointer"] for one in receipt["rejected"]])
    assert [("form.submitted", "forms")] == [(one["type"], one["source"]) for one in await read(api)]
    assert (1, 3, 1, 0) == await counts(api, "forms")
    assert not await api.fetchval("SELECT count(*) FROM delivery d WHERE strpos(to_jsonb(d)::text, $1) > 0", key)


async def test_a_source_of_another_kind_or_one_switched_off_is_turned_away(api: Api, sender: httpx.AsyncClient) -> None:
    segment, off = await source(api, "segment"), await source(api, "cloudevents", "off")
    await switch_off(api, "off")

    assert "not_authenticated" == (await post(sender, EVENT, STRUCTURED, 401, key=segment))["code"]
    assert "not_found" == (await post(sender, EVENT, STRUCTURED, 404, key=off))["code"]
    assert "not_authenticated" == (await post(sender, EVENT, STRUCTURED, 401, key="wk_nothing"))["code"]


# --- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, EVENT, 415),
        ({"Content-Type": "application/cloudevents+avro"}, EVENT, 415),
        ({"Content-Type": "application/cloudevents-batch+xml"}, EVENT, 415),
        (STRUCTURED, b"{", 400),
        (BATCHED, EVENT, 400),
        (BINARY, b"{", 400),
        (BATCHED, [{}] * 5_001, 413),
        ({**STRUCTURED, "Content-Encoding": "gzip"}, EVENT, 422),
    ],
)
async def test_what_is_no_cloudevent_is_refused(api: Api, headers: Json, body: Json, status: int) -> None:
    await post(api.http, body, headers, status)


@pytest.mark.parametrize(("asked", "granted"), [({"WebHook-Request-Rate": "120"}, "120"), ({}, "*")])
async def test_a_sender_that_asks_may_deliver(sender: httpx.AsyncClient, asked: Json, granted: str) -> None:
    reply = await sender.options("/v1/cloudevents", headers={"WebHook-Request-Origin": "events.example.com", **asked})

    assert (200, "events.example.com", granted) == (
        reply.status_code,
        reply.headers["webhook-allowed-origin"],
        reply.headers["webhook-allowed-rate"],
    )
    assert "webhook-allowed-origin" not in (await sender.options("/v1/cloudevents")).headers


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(st.binary(max_size=20), st.sampled_from([b"[" * 50_000, b"[[]]", b"[1e400]", b'{"id":"\\ud800"}'])),
    headers=st.sampled_from([STRUCTURED, BATCHED, BINARY, {**BINARY, "Content-Type": "image/png"}]),
    more=st.dictionaries(
        st.sampled_from(["ce-id", "ce-time", "ce-subject", "ce-x", "Content-Encoding"]), st.text(max_size=4)
    ),
)
async def test_nothing_brings_it_down(api: Api, body: bytes, headers: Json, more: dict[str, str]) -> None:
    odd = {name.encode(): value.encode() for name, value in {**headers, **more}.items()}

    reply = await api.http.post("/v1/cloudevents", content=body, headers=odd)

    assert reply.status_code < 500, reply.text
