import asyncio
import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
import orjson
import pytest
from cachetools import TTLCache
from fastapi import FastAPI
from structlog.testing import capture_logs

from app.api import guard, problems
from app.api.edge import Edge
from app.store import schema
from app.store.db import Database
from app.store.embedded import EmbeddedPostgres
from tests.api.client import BASE, Api, be_a_problem, pointers, said
from tests.api.conftest import calling, running


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A Postgres of this test's own, not yet started."""
    made = EmbeddedPostgres(tmp_path_factory.mktemp("own") / "pg")
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/models/../../etc/passwd", 404, "not_found"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("PUT", "/v1/events", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1/contacts/import", 422, "invalid_input"),
        ("GET", "/v1/contacts/%00", 422, "invalid_input"),
        ("GET", "/v1/models/%00", 422, "invalid_input"),
        ("GET", "/v1/models/%ED%A0%80", 404, "not_found"),
        ("GET", "/v1/models/a%0Ab", 404, "not_found"),
    ],
)
async def test_what_does_not_exist_is_a_problem_too(api: Api, method: str, path: str, status: int, code: str) -> None:
    reply = await api.http.request(method, path)

    assert code == said(reply, status)["code"]
    if status == 405:
        assert reply.headers["allow"]


async def test_a_body_that_is_not_json_is_refused(api: Api) -> None:
    for body in (b"", b"{", b"\xff", b"nothing", b"[1,]"):
        reply = await api.http.post("/v1/models", content=body, headers={"content-type": "application/json"})
        assert reply.status_code in (400, 422), body


async def test_a_body_of_another_kind_than_json_is_refused(api: Api) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"):
        reply = await api.http.post("/v1/models", content=b'{"key": "a", "name": "A"}', headers={"content-type": kind})
        assert reply.status_code in (415, 422), kind


async def test_events_are_taken_whatever_kind_curl_says_they_are(api: Api) -> None:
    """`curl -d` says application/x-www-form-urlencoded; the line that the first start prints relies on it."""
    body = b'{"type": "form.submitted", "contact": {"email": "ada@example.com"}}'
    for kind in ("application/x-www-form-urlencoded", "application/json; charset=utf-8", "text/plain"):
        reply = await api.http.post("/v1/events", content=body, headers={"content-type": kind})
        assert 1 == said(reply, 200)["accepted"]


async def test_every_fault_of_a_request_has_its_own_pointer(api: Api) -> None:
    problem = await api.post("/v1/models", {"key": "A", "name": "", "bands": [{"name": "x", "color": "red"}]}, 422)

    assert ["/key", "/name", "/bands/0/color", "/bands/0/min"] == pointers(problem)
    assert "/key" == problem["pointer"]


async def test_an_answer_carries_the_requests_id_or_one_of_its_own(api: Api) -> None:
    given = await api.http.get("/healthz", headers={"X-Request-Id": "abc123"})
    own = [(await api.http.get("/healthz")).headers["x-request-id"] for _ in range(2)]
    refused = [
        (await api.http.get("/healthz", headers={"X-Request-Id": odd})).headers["x-request-id"]
        for odd in ("", "a b", "x" * 65, "<script>")
    ]

    assert "abc123" == given.headers["x-request-id"]
    assert 2 == len(set(own))
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in own + refused)


async def test_an_unexpected_error_tells_its_request_id_and_nothing_of_the_inside() -> None:
    app = FastAPI()
    problems.install(app)
    app.add_middleware(Edge)

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("the password is swordfish")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    hooks = {"response": [be_a_problem]}
    with capture_logs() as logs:
        async with httpx.AsyncClient(transport=transport, base_url=BASE, event_hooks=hooks) as http:
            reply = await http.get("/fails", headers={"X-Request-Id": "abc123"})

    assert "internal_error" == said(reply, 500)["code"]
    assert "swordfish" not in reply.text
    assert "abc123" == reply.headers["x-request-id"]
    assert [("unexpected error", "/fails")] == [(line["event"], line["path"]) for line in logs]


async def test_the_document_names_every_shape_it_refers_to(api: Api) -> None:
    document = await api.get("/openapi.json")
    text = orjson.dumps(document).decode()

    names = set(re.findall(r"#/components/schemas/([^\"]+)", text))
    assert names
    assert names <= document["components"]["schemas"].keys()
    assert all(
        "summary" in operation and "tags" in operation
        for path, methods in document["paths"].items()
        if path.startswith("/v1")
        for operation in methods.values()
    )


async def test_connections_that_break_are_opened_again_and_nobody_sees_more_than_a_503(server: str, blank: str) -> None:
    async with Database(blank) as database, running(blank, with_worker=False) as app:
        await schema.migrate(database.engine)
        async with calling(app, database) as api:
            event = {"id": "1", "type": "a.b", "contact": {"user_id": "1"}}
            statuses = []
            for _ in range(3):
                for path in ("/v1/models", "/v1/events", f"/v1/contacts/{uuid4()}", "/v1/jobs"):
                    await api.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                        "AND pid <> pg_backend_pid()"
                    )
                    statuses.append((await api.http.get(path)).status_code)
                    statuses.append((await api.http.post("/v1/events", json=event)).status_code)
                    statuses.append((await api.http.get("/v1/models")).status_code)
            await api.http.get("/v1/models")
            receipts = [await api.send(event) for _ in range(2)]

    assert set(statuses) <= {200, 404, 503}
    assert {"accepted": 0, "duplicates": 1, "rejected": []} == receipts[-1]


async def test_while_the_database_is_away_every_call_says_when_to_come_back(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_known", TTLCache(maxsize=1, ttl=60))  # a slow machine must not forget the key
    url = own_server.start()
    async with Database(url) as database, running(url, with_worker=True) as app:
        await schema.migrate(database.engine)
        async with calling(app, database) as api:
            event = {"id": "1", "type": "a.b", "contact": {"user_id": "1"}}
            assert 1 == (await api.send(event))["accepted"]
            await asyncio.to_thread(own_server.stop)
            for path in ("/v1/models", "/v1/events", f"/v1/contacts/{uuid4()}", "/v1/jobs"):
                reply = await api.http.get(path)
                assert "unavailable" == said(reply, 503)["code"]
                assert "1" == reply.headers["retry-after"]
            assert not (await api.get("/readyz", 503))["database"]
            late = asyncio.create_task(api.send(event, {**event, "id": "2"}))
            await asyncio.to_thread(own_server.start)
            receipt = await late
            await settled(api)

    assert (1, 1) == (receipt["accepted"], receipt["duplicates"])


async def settled(api: Api) -> None:
    """Waits until all is well again, the worker included."""
    for _ in range(200):
        if (await api.http.get("/readyz")).status_code == 200:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(await api.get("/readyz"))
