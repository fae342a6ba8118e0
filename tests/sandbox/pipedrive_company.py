"""A stand-in Pipedrive to call in this process, and who calls it."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import httpx
import orjson

from app.sandbox.pipedrive import Pipedrive
from app.sandbox.shapes import Clock

Json: TypeAlias = Any  # Any: whatever JSON can say

AT = datetime(2026, 10, 1, 9, 15, tzinfo=UTC)
URL = "http://pipedrive.test"


class Company:
    """A stand-in whose time stands still at 09:15 on 1 October 2026, and a caller with an API token."""

    def __init__(self) -> None:
        clock = Clock(lambda: AT)
        clock.hold()
        self.crm = Pipedrive(clock)
        self.keys = self.crm.credentials(URL)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.crm.app), base_url=URL, headers={"x-api-token": self.keys["api_token"]}
        )

    async def call(self, method: str, path: str, body: Json = None, **more: Any) -> httpx.Response:
        content = None if body is None else orjson.dumps(body)
        return await self.http.request(method, path, content=content, **more)

    async def data(self, method: str, path: str, body: Json = None, status: int = 200) -> Json:
        reply = await self.call(method, path, body)
        assert (status, True) == (reply.status_code, reply.json()["success"]), reply.text
        return reply.json()["data"]

    async def person(self, name: str = "Ann Lee", *emails: str, **more: Json) -> int:
        addresses = [{"value": email} for email in emails]
        made = await self.data("POST", "/api/v2/persons", {"name": name, "emails": addresses, **more})
        return int(made["id"])

    async def field(self, name: str, kind: str, *labels: str) -> Json:
        options = {"options": [{"label": label} for label in labels]} if labels else {}
        return await self.data("POST", "/api/v2/personFields", {"field_name": name, "field_type": kind, **options})

    async def edit(self, do: str, kind: str, number: Json = None, **values: Json) -> Json:
        reply = await self.call("POST", "/_sandbox/edit", {"do": do, "object": kind, "id": number, "values": values})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def later(self, seconds: float) -> None:
        self.crm.clock.move(timedelta(seconds=seconds))

    async def token(self, **form: str) -> httpx.Response:
        auth = httpx.BasicAuth(self.keys["client_id"], self.keys["client_secret"])
        return await self.http.post("/oauth/token", data=form, auth=auth)

    async def refresh(self, token: str | None = None) -> Json:
        return (await self.token(grant_type="refresh_token", refresh_token=token or self.keys["refresh_token"])).json()

    async def as_app(self, access: str, path: str = "/v1/users/me") -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.crm.app), base_url=URL) as http:
            return await http.get(path, headers={"Authorization": f"Bearer {access}"})
