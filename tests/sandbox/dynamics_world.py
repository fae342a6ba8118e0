"""A stand-in Dynamics 365 in process, its clock in hand, and a client that has a token."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from app.sandbox.dynamics import TENANT, Dynamics
from app.sandbox.shapes import Clock

NOW = datetime(2026, 10, 20, 10, 0, tzinfo=UTC)
STAMP = "2026-10-20T10:00:00Z"
URL = "http://acme.test"
API = f"{URL}/api/data/v9.2"
NOBODY = "00000000-0000-0000-0000-0000000000aa"
CRM = "Microsoft.Dynamics.CRM."

Json = Any  # Any: JSON


def label(text: str, language: int = 1033) -> Json:
    return {"LocalizedLabels": [{"Label": text, "LanguageCode": language}]}


def column(name: str, type_: str = "Integer", **more: Json) -> Json:
    """The body that makes a column."""
    return {"@odata.type": f"{CRM}{type_}AttributeMetadata", "SchemaName": name, "DisplayName": label(name), **more}


@dataclass(frozen=True)
class Part:
    """One answer of a batch."""

    status: int
    body: str


@dataclass
class World:
    crm: Dynamics
    http: httpx.AsyncClient

    async def call(
        self, method: str, path: str, body: Json = None, status: int = 204, **headers: str
    ) -> httpx.Response:
        """A call below the version, or of a whole link; its status is checked. `if_match` is the header If-Match."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        url = path if path.startswith("http") else f"{API}/{path}"
        reply = await self.http.request(method, url, json=body, headers=said)
        assert status == reply.status_code, reply.text
        return reply

    async def get(self, path: str, status: int = 200, **headers: str) -> Json:
        reply = await self.call("GET", path, None, status, **headers)
        return reply.json() if reply.content else None

    async def rows(self, path: str, **headers: str) -> list[Json]:
        """The rows of one page, without their annotations."""
        found = (await self.get(path, 200, **headers))["value"]
        return [{name: value for name, value in one.items() if "@" not in name} for one in found]

    async def names(self, query: str) -> list[str]:
        """The last names of the contacts that a query finds."""
        found = await self.get(f"contacts?$select=lastname{query}")
        return [one["lastname"] for one in found["value"]]

    async def create(self, of: str = "contacts", **values: Json) -> str:
        reply = await self.call("POST", of, {"lastname": "Doe"} | values if of in _PEOPLE else values)
        return reply.headers["OData-EntityId"].partition("(")[2].removesuffix(")")

    async def refused(self, method: str, path: str, body: Json = None, **headers: str) -> tuple[int, str]:
        """The status and the code of a call that is not a success."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        url = path if path.startswith("http") else f"{API}/{path}"
        reply = await self.http.request(method, url, json=body, headers=said)
        assert reply.status_code >= 400, reply.text
        return reply.status_code, reply.json()["error"]["code"]

    async def many(self, message: str, *targets: Json, of: str = "contact", status: int = 204) -> httpx.Response:
        typed = [{"@odata.type": f"{CRM}{of}", **one} for one in targets]
        return await self.call("POST", f"{of}s/{CRM}{message}", {"Targets": typed}, status)

    async def batch(self, *operations: str, status: int = 200, **headers: str) -> list[Part]:
        """Each operation as `PATCH contacts(…)\\n{"jobtitle": "x"}`; what all of them were answered."""
        parts = [f"--b\r\nContent-Type: application/http\r\n\r\n{_request(one)}\r\n" for one in operations]
        return await self.send_batch("".join(parts) + "--b--\r\n", status=status, **headers)

    async def send_batch(self, content: str, status: int = 200, **headers: str) -> list[Part]:
        said = {"Content-Type": 'multipart/mixed; boundary="b"'} | headers
        reply = await self.http.post(f"{API}/$batch", content=content, headers=said)
        assert status == reply.status_code, reply.text
        assert reply.headers["content-type"].startswith("multipart/mixed; boundary=batchresponse_")
        found = re.split(r"HTTP/1\.1 (\d{3}) [^\r]*\r\n", reply.text)[1:]
        return [Part(int(one), text) for one, text in zip(found[::2], found[1::2], strict=True)]

    async def edit(self, **body: Json) -> Json:
        reply = await self.http.post(f"{URL}/_sandbox/edit", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def later(self, seconds: float) -> None:
        assert (await self.http.post(f"{URL}/_sandbox/clock", json={"move_s": seconds})).status_code == 200

    async def add_column(self, name: str = "new_Fit", type_: str = "Integer", **more: Json) -> None:
        path = "EntityDefinitions(LogicalName='contact')/Attributes"
        await self.call("POST", path, column(name, type_, **more))

    async def tracked(self, select: str = "lastname") -> tuple[list[Json], str]:
        """Everybody, and the link to what changes from now on."""
        found = await self.get(f"contacts?$select={select}", Prefer="odata.track-changes")
        return found["value"], found["@odata.deltaLink"]

    async def token(
        self, status: int = 200, tenant: str = TENANT, path: str = "oauth2/v2.0/token", **form: str
    ) -> Json:
        keys = {"client_id": self.crm.login.client_id, "client_secret": "secret", "scope": f"{URL}/.default"}
        said = {name: value for name, value in (keys | form).items() if value}
        reply = await self.http.post(f"{URL}/{tenant}/{path}", data={"grant_type": "client_credentials"} | said)
        assert status == reply.status_code, reply.text
        return reply.json()

    async def sign_in(self) -> None:
        """Take a new token."""
        self.http.headers["Authorization"] = f"Bearer {(await self.token())['access_token']}"


_PEOPLE = ("contacts", "leads")


def _request(operation: str) -> str:
    line, _, body = operation.partition("\n")
    return f"{line} HTTP/1.1\r\nContent-Type: application/json\r\nIf-Match: *\r\n\r\n{body}"


@asynccontextmanager
async def world(*, held: bool = True) -> AsyncIterator[World]:
    """With `held` time stands still until it is moved."""
    crm = Dynamics(Clock(lambda: NOW) if held else None, client_secret="secret")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(crm.app)) as http:
        made = World(crm, http)
        await made.sign_in()
        yield made
