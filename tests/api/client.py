"""A caller of the app in this process. Any error it is answered must be a problem of RFC 9457."""

from typing import Any, TypeAlias
from uuid import UUID

import httpx
import orjson
from fastapi import FastAPI

from app import clock, worker
from app.store import keys
from app.store.db import Database
from app.store.keys import Scope

Json: TypeAlias = Any  # Any: whatever JSON can say

BASE = "http://leadtally.test"


class Api:
    """`http` carries an admin key. Its `raise_app_exceptions` is off: what a client would see is what is tested."""

    def __init__(self, app: FastAPI, database: Database, http: httpx.AsyncClient) -> None:
        self.app = app
        self.database = database
        self.http = http

    async def get(self, path: str, status: int = 200, **query: Any) -> Json:
        return said(await self.http.get(path, params=query), status)

    async def post(self, path: str, body: Json = None, status: int = 200) -> Json:
        reply = await self.http.post(path) if body is None else await self.http.post(path, json=body)
        return said(reply, status)

    async def patch(self, path: str, body: Json, status: int = 200) -> Json:
        return said(await self.http.patch(path, json=body), status)

    async def delete(self, path: str, status: int = 204) -> Json:
        return said(await self.http.delete(path), status)

    async def send(self, *events: Json) -> Json:
        """Post these events as one batch, none of which may be wrong."""
        receipt = await self.post("/v1/events", {"events": events})
        assert [] == receipt["rejected"]
        return receipt

    async def contact(self, email: str) -> Json:
        """The contact with this address."""
        return await self.get(f"/v1/contacts/{await self.id_of(email)}")

    async def id_of(self, value: str, kind: str = "email") -> UUID:
        found = await self.fetchval("SELECT contact_id FROM identity WHERE kind = $1 AND value = $2", kind, value)
        assert found is not None
        return UUID(str(found))

    async def publish(self, key: str) -> Json:
        """Publish a model and do its job here, so that no worker is needed; returns the job as it ended."""
        reply = await self.http.post(f"/v1/models/{key}/publish", headers={"Prefer": "respond-async"})
        return await self.work(said(reply, 202)["job_id"])

    async def work(self, job_id: str) -> Json:
        """Do a queued job."""
        job = await self.get(f"/v1/jobs/{job_id}")
        await worker.JOBS[job["kind"]](self.database, UUID(job_id))
        return await self.get(f"/v1/jobs/{job_id}")

    async def model(self, key: str, *rules: Json) -> None:
        """A published model with these rules."""
        await self.post("/v1/models", {"key": key, "name": key}, 201)
        for rule in rules:
            await self.post(f"/v1/models/{key}/rules", rule, 201)
        job = await self.publish(key)
        assert "done" == job["status"]

    async def score(self, email: str, model: str) -> float | None:
        """What is stored, as a number; None if there is none."""
        value = await self.fetchval(
            """
            SELECT s.value FROM score s JOIN scoring_model m ON m.id = s.model_id
            WHERE s.contact_id = $1 AND m.key = $2
            """,
            await self.id_of(email),
            model,
        )
        return None if value is None else float(value)

    async def key(self, name: str, *scopes: Scope) -> str:
        """A new key's secret."""
        secret = keys.make_secret()
        async with self.database.batch() as db:
            await keys.create(db, name, scopes, secret, clock.now())
        return secret

    async def fetchval(self, statement: str, *arguments: Any) -> Any:  # Any: of any column
        async with self.database.hot.acquire() as db:
            return await db.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: Any) -> None:  # Any: as above
        async with self.database.hot.acquire() as db:
            await db.execute(statement, *arguments)


def said(reply: httpx.Response, status: int) -> Json:
    """The body of a reply that has this status."""
    assert status == reply.status_code, reply.text
    return orjson.loads(reply.content) if reply.content else None


async def be_a_problem(reply: httpx.Response) -> None:
    """Every error has the one shape, and tells nothing of the inside."""
    assert reply.headers["X-Request-Id"]
    if reply.status_code < 400 or reply.url.path == "/readyz":
        return
    await reply.aread()
    assert "application/problem+json" == reply.headers["content-type"], reply.text
    problem = orjson.loads(reply.content)
    assert {"type", "title", "status", "code", "detail"} <= problem.keys()
    assert ("about:blank", reply.status_code) == (problem["type"], problem["status"])
    assert problem["title"]
    assert problem["code"] == problem["code"].lower()
    if "errors" in problem:
        assert problem["pointer"] == problem["errors"][0]["pointer"]
        assert all({"pointer", "detail"} == fault.keys() and fault["detail"] for fault in problem["errors"])
    for secret in ("Traceback", "asyncpg", "sqlalchemy", "SELECT ", "INSERT "):
        assert secret not in reply.text


def pointers(problem: Json) -> list[str]:
    return [fault["pointer"] for fault in problem["errors"]]


def when(field: str, operator: str, value: Json = None, **more: Json) -> Json:
    """A condition of one test."""
    return {"combinator": "and", "rules": [{"field": field, "operator": operator, "value": value, **more}]}


def event_rule(type_: str, points: float, **more: Json) -> Json:
    return {"name": type_, "kind": "event", "condition": when("event.type", "=", type_), "points": points, **more}


def profile_rule(field: str, operator: str, value: Json, points: float) -> Json:
    return {"name": field, "kind": "profile", "condition": when(field, operator, value), "points": points}
