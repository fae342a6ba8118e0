"""A stand-in Dynamics behind a real port, and connectors to it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from app import clock
from app.connectors.dynamics import Dynamics
from app.connectors.http import Http
from app.connectors.provider import Setup
from app.connectors.shapes import Record
from app.sandbox.dynamics import Dynamics as StandIn
from app.sandbox.dynamics import edits
from app.sandbox.dynamics.org import INTEGRATION
from app.sandbox.dynamics.wire import Ref
from tests.connectors.given import Purse, Shelf
from tests.sandbox.loopback import served

Json = dict[str, Any]  # Any: JSON
US = INTEGRATION


class Asked(NamedTuple):
    """A call as it came."""

    method: str
    target: str
    """Path and query, still escaped."""
    headers: dict[str, str]
    body: bytes


class Front:
    """One address for one environment after the other, which keeps the calls."""

    def __init__(self) -> None:
        self.url = ""
        self.app: ASGIApp | None = None
        self.calls: list[Asked] = []
        self.received: list[bytes] = []
        """What came to `/hook`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/hook":
            self.received.append(body)
            await send({"type": "http.response.start", "status": 202, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode().partition("?")[0] + (f"?{query}" if query else "")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.calls.append(Asked(scope["method"], target, headers, body))
        pieces = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def again() -> Any:  # Any: ASGI's own types
            return next(pieces, {"type": "http.disconnect"})

        assert self.app is not None
        await self.app(scope, again, send)

    def count(self, of: str) -> int:
        """How many calls there were whose method and path hold this."""
        return sum(of in f"{one.method} {one.target}" for one in self.calls)


@dataclass
class World:
    front: Front
    http: Http
    crm: StandIn = field(default_factory=StandIn)
    shelf: Shelf = field(default_factory=Shelf)
    purse: Purse = field(default_factory=Purse)
    passed: timedelta = timedelta()

    def __post_init__(self) -> None:
        self.front.app, self.front.calls, self.front.received = self.crm.app, [], []

    def setup(self, flow: str = "client_credentials", **choices: Any) -> Setup:  # Any: JSON
        login = self.crm.login
        keys = {"tenant_id": login.tenant_id, "client_id": login.client_id, "authority": self.front.url}
        if flow == "certificate":
            keys |= {"certificate": login.certificate.pem, "private_key": login.certificate.private_pem}
        else:
            keys["client_secret"] = login.client_secret
        return Setup(flow, keys, self.shelf, self.purse, self.front.url, choices)

    def connect(self, flow: str = "client_credentials", **choices: Any) -> Dynamics:  # Any: as above
        return Dynamics(self.setup(flow, **choices), self.http)

    def with_credentials(self, flow: str = "client_credentials", **changed: str) -> Setup:
        setup = self.setup(flow)
        return replace(setup, credentials={**setup.credentials, **changed})

    # --- what people there do -----------------------------------------------------------------------------------------

    def do(self, do: str, **body: Any) -> str:  # Any: JSON
        return str(edits.edit(self.crm.org, {"do": do, **body}).get("id", ""))

    def add(self, of: str = "contact", **fields: Any) -> str:  # Any: JSON
        return self.do("create", object=of, fields={"lastname": "Doe", **fields})

    def change(self, id_: str, **fields: Any) -> None:  # Any: JSON
        self.do("change", id=id_, fields=fields)

    def column(self, name: str, type_: str, of: str = "contact", **body: Any) -> str:  # Any: JSON
        self.do("column", object=of, name=name, type=type_, **body)
        return name.lower()

    def row(self, id_: str, of: str = "contact") -> Json:
        found = self.crm.org.row(Ref(of, id_))
        assert found is not None
        return dict(found)

    def later(self, **by: float) -> None:
        """Time passes, here and there."""
        self.passed += timedelta(**by)
        clock.shift(self.passed)

    def people(self) -> int:
        return sum(int(self.crm.state()["records"][name]) for name in ("contact", "lead"))


@contextmanager
def fronted() -> Iterator[Front]:
    made = Front()
    with served(made) as made.url:
        yield made


@asynccontextmanager
async def opened(front: Front) -> AsyncIterator[World]:
    """A new environment behind it."""
    async with Http(private=True) as http:
        yield World(front, http)
    clock.shift(timedelta())


async def look(
    crm: Dynamics, object_: str, cursor: str | None, fields: Sequence[str] = ("emailaddress1",)
) -> tuple[list[Record], str]:
    """All pages of one look for changes."""
    records: list[Record] = []
    while True:
        page = await crm.changes(object_, cursor, fields)
        records += page.records
        cursor = page.cursor
        if page.is_last:
            return records, cursor
