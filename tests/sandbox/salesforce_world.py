"""A stand-in Salesforce in process, its clock in hand, and a client that has a token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from app.sandbox.salesforce import Salesforce
from app.sandbox.shapes import Clock

NOW = datetime(2026, 10, 20, 10, 0, tzinfo=UTC)
URL = "http://acme.test"
V = "/services/data/v62.0"

Json = Any  # Any: JSON


def field(name: str, **metadata: object) -> dict[str, Json]:
    """As an edit: an admin makes this field by hand."""
    kind: dict[str, object] = {"type": "Number", "precision": 6, "scale": 0}
    return {"do": "field", "object": "Contact", "name": name, "fields": metadata or kind}


@dataclass
class World:
    crm: Salesforce
    http: httpx.AsyncClient

    async def call(self, method: str, path: str, body: Json = None, status: int = 200, **more: Any) -> Json:
        """A call below the version, its status checked; the reply's JSON, or None."""
        reply = await self.http.request(method, f"{V}/{path}", json=body, **more)
        assert status == reply.status_code, reply.text
        return reply.json() if reply.content else None

    async def get(self, path: str, status: int = 200, **query: str) -> Json:
        return await self.call("GET", path, status=status, params=query)

    async def query(self, soql: str, path: str = "query") -> list[dict[str, Json]]:
        """The records of the first page, without their attributes."""
        found = await self.get(path, q=soql)
        return [{name: value for name, value in one.items() if name != "attributes"} for one in found["records"]]

    async def create(self, of: str = "Contact", **values: Json) -> str:
        return str((await self.call("POST", f"sobjects/{of}", {"LastName": "Doe"} | values, 201))["id"])

    async def update(
        self, *records: dict[str, Json], of: str = "Contact", status: int = 200, **more: Json
    ) -> list[Json]:
        """By sObject Collections."""
        typed = [{"attributes": {"type": of}} | record for record in records]
        found: list[Json] = await self.call("PATCH", "composite/sobjects", {"records": typed} | more, status)
        return found

    async def edit(self, **body: Json) -> Json:
        reply = await self.http.post("/_sandbox/edit", json=body)
        assert 200 == reply.status_code, reply.text
        return reply.json()

    async def later(self, seconds: float) -> None:
        assert 200 == (await self.http.post("/_sandbox/clock", json={"move_s": seconds})).status_code

    async def sign_in(self) -> None:
        """Take a new token."""
        given = await self.token(grant_type="client_credentials", client_id="key", client_secret="secret")
        self.http.headers["Authorization"] = f"Bearer {given['access_token']}"

    async def token(self, status: int = 200, **form: str) -> Json:
        reply = await self.http.post("/services/oauth2/token", data=form)
        assert status == reply.status_code, reply.text
        return reply.json()


@asynccontextmanager
async def world(*, held: bool = True) -> AsyncIterator[World]:
    """With `held` time stands still until it is moved."""
    crm = Salesforce(Clock(lambda: NOW) if held else None, client_id="key", client_secret="secret")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(crm.app), base_url=URL) as http:
        made = World(crm, http)
        await made.sign_in()
        yield made
