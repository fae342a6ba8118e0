"""A stand-in Copper to call in this process, and who calls it."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import httpx
import orjson

from app.sandbox.copper import Copper
from app.sandbox.shapes import Clock

Json: TypeAlias = Any  # Any: whatever JSON can say

AT = datetime(2026, 10, 1, 9, 15, tzinfo=UTC)
SECOND = int(AT.timestamp())
URL = "http://copper.test"
API = "/developer_api/v1"


def key_headers(key: str, email: str) -> dict[str, str]:
    return {"X-PW-AccessToken": key, "X-PW-Application": "developer_api", "X-PW-UserEmail": email}


class World:
    """A stand-in whose time stands still at 09:15 on 1 October 2026, and a caller with an administrator's key."""

    def __init__(self) -> None:
        clock = Clock(lambda: AT)
        clock.hold()
        self.crm = Copper(clock)
        self.keys = self.crm.credentials(URL)
        self.ours = key_headers(self.keys["api_key"], self.keys["user_email"])
        self.restricted = key_headers(
            self.keys["api_key_of_a_restricted_user"], self.keys["user_email_of_a_restricted_user"]
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.crm.app), base_url=URL)

    async def call(self, method: str, path: str, body: Json = None, **more: Any) -> httpx.Response:
        content = None if body is None else orjson.dumps(body)
        more.setdefault("headers", self.ours)
        return await self.http.request(method, f"{API}{path}", content=content, **more)

    async def done(self, method: str, path: str, body: Json = None, **more: Any) -> Json:
        reply = await self.call(method, path, body, **more)
        assert 200 == reply.status_code, reply.text
        return reply.json()

    async def refused(self, method: str, path: str, body: Json = None, **more: Any) -> tuple[int, str]:
        """The status and the message without what all of them begin with."""
        reply = await self.call(method, path, body, **more)
        said = reply.json()
        assert (False, reply.status_code) == (said["success"], said["status"])
        return reply.status_code, said["message"].removeprefix("Invalid input: Validation errors: ")

    async def person(self, name: str = "Ann Lee", *emails: str, **more: Json) -> int:
        addresses = [{"email": email, "category": "work"} for email in emails]
        return int((await self.done("POST", "/people", {"name": name, "emails": addresses, **more}))["id"])

    async def lead(self, name: str = "Bob Roe", email: str | None = None, **more: Json) -> int:
        address = None if email is None else {"email": email, "category": "work"}
        return int((await self.done("POST", "/leads", {"name": name, "email": address, **more}))["id"])

    async def field(self, name: str, kind: str, *options: str) -> Json:
        body: Json = {"name": name, "data_type": kind, "available_on": ["person", "lead"]}
        if options:
            body["options"] = [{"name": one} for one in options]
        return await self.done("POST", "/custom_field_definitions", body)

    async def found(self, kind: str = "people", /, **body: Json) -> list[int]:
        """The ids that a search finds, in its order."""
        return [one["id"] for one in await self.done("POST", f"/{kind}/search", body)]

    async def note(self, parent: str, number: int, **more: Json) -> int:
        body = {"parent": {"type": parent, "id": number}, "type": {"category": "user", "id": 0}, **more}
        return int((await self.done("POST", "/activities", body))["id"])

    async def edit(self, do: str, kind: str, number: Json = None, **values: Json) -> Json:
        body = {"do": do, "object": kind, "id": number, "values": values}
        reply = await self.http.post("/_sandbox/edit", json=body)
        assert 200 == reply.status_code, reply.text
        return reply.json()

    def later(self, seconds: float) -> None:
        self.crm.clock.move(timedelta(seconds=seconds))


def custom(row: Json, number: int) -> Json:
    """The value of a custom field in a record."""
    return next(one["value"] for one in row["custom_fields"] if one["custom_field_definition_id"] == number)


def value(number: int, given: Json) -> Json:
    """A custom field as a body has it."""
    return [{"custom_field_definition_id": number, "value": given}]
