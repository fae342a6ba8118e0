"""A stand-in Salesforce behind a real port, and connectors to it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from app import clock
from app.connectors.http import Http
from app.connectors.provider import Setup
from app.connectors.salesforce import Salesforce
from app.connectors.shapes import Page, Record
from app.sandbox.salesforce import Salesforce as StandIn
from app.sandbox.salesforce import edits
from tests.connectors.given import Purse, Shelf
from tests.sandbox.loopback import served

MOVED = "/moved"
"""Below this prefix is the same org: an address that only its grants name."""


class Front:
    """One address for one org after the other, which counts the calls."""

    def __init__(self) -> None:
        self.url = ""
        self.app: ASGIApp | None = None
        self.calls: list[str] = []
        self.received: list[bytes] = []
        """What came to `/hook`."""
        self.answer = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == "/hook":
            message = await receive()
            self.received.append(message["body"])
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/xml")]})
            await send({"type": "http.response.body", "body": self.answer})
            return
        self.calls.append(f"{scope['method']} {path}")
        if path.startswith(MOVED):
            scope = {**scope, "path": path.removeprefix(MOVED), "raw_path": scope["raw_path"][len(MOVED) :]}
        assert self.app is not None
        await self.app(scope, receive, send)

    def count(self, of: str) -> int:
        """How many calls there were whose method and path hold this."""
        return sum(of in one for one in self.calls)


@dataclass
class Org:
    front: Front
    http: Http
    crm: StandIn = field(default_factory=StandIn)
    shelf: Shelf = field(default_factory=Shelf)
    purse: Purse = field(default_factory=Purse)
    passed: timedelta = timedelta()

    def __post_init__(self) -> None:
        self.front.app, self.front.calls, self.front.received = self.crm.app, [], []

    def setup(self, flow: str = "client_credentials", **choices: Any) -> Setup:  # Any: JSON
        keys = {"client_id": self.crm.login.client_id, "client_secret": self.crm.login.client_secret}
        if flow == "jwt_bearer":
            # Whoever needs no private key need not wait for one to be made.
            keys = self.crm.credentials(self.front.url)
        return Setup(flow, keys, self.shelf, self.purse, self.front.url, choices)

    def connect(self, flow: str = "client_credentials", **choices: Any) -> Salesforce:  # Any: as above
        return Salesforce(self.setup(flow, **choices), self.http)

    def with_credentials(self, flow: str, **changed: str) -> Setup:
        setup = self.setup(flow)
        return replace(setup, credentials={**setup.credentials, **changed})

    # --- what people there do -----------------------------------------------------------------------------------------

    def do(self, do: str, **body: Any) -> str:  # Any: JSON
        return str(edits.edit(self.crm.org, {"do": do, **body}).get("id", ""))

    def add(self, of: str = "Contact", **fields: Any) -> str:  # Any: JSON
        company = {"Company": "Acme"} if of == "Lead" else {}
        return self.do("create", object=of, fields={"LastName": "Doe", **company, **fields})

    def change(self, id_: str, **fields: Any) -> None:  # Any: JSON
        self.do("change", id=id_, fields=fields)

    def row(self, id_: str) -> dict[str, Any]:  # Any: JSON
        found = self.crm.org.row(id_)
        assert found is not None
        return found

    def later(self, **by: float) -> None:
        """Time passes, here and there."""
        self.passed += timedelta(**by)
        clock.shift(self.passed)

    async def tell(self, **body: Any) -> None:  # Any: JSON
        """An edit after which the org tells what changed."""
        async with httpx.AsyncClient(base_url=self.front.url, trust_env=False) as http:
            assert 200 == (await http.post("/_sandbox/edit", json=body)).status_code


@contextmanager
def fronted() -> Iterator[Front]:
    made = Front()
    with served(made) as made.url:
        yield made


@asynccontextmanager
async def opened(front: Front) -> AsyncIterator[Org]:
    """A new org behind it."""
    async with Http(private=True) as http:
        yield Org(front, http)
    clock.shift(timedelta())


async def look(
    crm: Salesforce, object_: str, cursor: str | None, fields: Sequence[str] = ("Email",)
) -> tuple[list[Record], str]:
    """All pages of one look for changes."""
    records: list[Record] = []
    while True:
        page: Page = await crm.changes(object_, cursor, fields)
        records += page.records
        cursor = page.cursor
        if page.is_last:
            return records, cursor
