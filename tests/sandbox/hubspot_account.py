"""A stand-in HubSpot to call in this process, and who calls it."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import httpx
import orjson

from app.sandbox.hubspot import Hubspot
from app.sandbox.shapes import Clock

Json: TypeAlias = Any  # Any: whatever JSON can say

AT = datetime(2026, 10, 1, 9, 15, 0, 301_000, tzinfo=UTC)
URL = "http://hubspot.test"
CONTACTS = "/crm/v3/objects/contacts"


class Account:
    """A stand-in whose time stands still at 09:15 on 1 October 2026, and a private app that calls."""

    def __init__(self) -> None:
        clock = Clock(lambda: AT)
        clock.hold()
        self.crm = Hubspot(clock)
        self.keys = self.crm.credentials(URL)
        self.http = self.client(self.keys["access_token"])

    def client(self, token: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.crm.app), base_url=URL, headers={"Authorization": f"Bearer {token}"}
        )

    async def call(self, method: str, path: str, body: Json = None, **more: Any) -> httpx.Response:
        content = None if body is None else orjson.dumps(body)
        return await self.http.request(method, path, content=content, **more)

    async def data(self, method: str, path: str, body: Json = None, status: int = 200) -> Json:
        reply = await self.call(method, path, body)
        assert status == reply.status_code, reply.text
        return reply.json() if reply.content else None

    async def fault(self, method: str, path: str, body: Json = None, status: int = 400) -> Json:
        """The body of an answer that refuses."""
        reply = await self.call(method, path, body)
        assert (status, "error") == (reply.status_code, reply.json()["status"]), reply.text
        assert reply.json()["correlationId"]
        return reply.json()

    async def contact(self, email: str | None = None, **properties: Json) -> str:
        given = properties if email is None else {"email": email, **properties}
        return str((await self.data("POST", CONTACTS, {"properties": given}, 201))["id"])

    async def properties(self, id_: str, *names: str) -> Json:
        return (await self.data("GET", f"{CONTACTS}/{id_}?properties={','.join(names)}"))["properties"]

    async def field(self, name: str, type_: str = "number", field_type: str = "number", **more: Json) -> Json:
        body = {"name": name, "label": name, "type": type_, "fieldType": field_type, "groupName": "contactinformation"}
        return await self.data("POST", "/crm/v3/properties/contacts", {**body, **more}, 201)

    async def search(self, *filters: Json, of: str = "contacts", **more: Json) -> Json:
        groups = {"filterGroups": [{"filters": list(filters)}]} if filters else {}
        return await self.data("POST", f"/crm/v3/objects/{of}/search", {**groups, **more})

    async def edit(self, do: str, kind: str, id_: Json = None, **values: Json) -> Json:
        reply = await self.call("POST", "/_sandbox/edit", {"do": do, "object": kind, "id": id_, "values": values})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def later(self, seconds: float) -> None:
        self.crm.clock.move(timedelta(seconds=seconds))

    async def token(self, **form: str) -> httpx.Response:
        given = {"client_id": self.keys["client_id"], "client_secret": self.keys["client_secret"], **form}
        return await self.http.post("/oauth/v1/token", data=given)

    async def refresh(self) -> Json:
        return (await self.token(grant_type="refresh_token", refresh_token=self.keys["refresh_token"])).json()

    async def as_app(self, access: str, path: str = "/account-info/v3/details") -> httpx.Response:
        async with self.client(access) as http:
            return await http.get(path)


def where(name: str, operator: str, value: Json = None, **more: Json) -> Json:
    """A filter of a search."""
    given = {} if value is None else {"values" if isinstance(value, list) else "value": value}
    return {"propertyName": name, "operator": operator, **given, **more}


def ids(body: Json) -> list[str]:
    return [row["id"] for row in body["results"]]
