"""A stand-in HubSpot behind a real port, people who work in it, and connectors to it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import clock
from app.connectors.http import Http
from app.connectors.hubspot import PROVIDER
from app.connectors.provider import Grant, Setup
from app.connectors.shapes import Activity, Call, Connector, Key, Outcome, Page, Record, Value, Write
from app.sandbox.hubspot import Hubspot
from app.sandbox.hubspot.faults import Faults
from app.sandbox.hubspot.records import Record as Row
from tests.connectors.given import Purse, Shelf
from tests.sandbox.loopback import served

Json: TypeAlias = Any  # Any: whatever JSON can say

CONTACT, OPT_OUT = "contact", "hs_email_optout"
CONTACTS = "/crm/v3/objects/contacts"
READ, UPDATE, SEARCH = f"POST {CONTACTS}/batch/read", f"POST {CONTACTS}/batch/update", f"POST {CONTACTS}/search"
HOOK = "/hook"
_MOST_PAGES = 200


def leaves_alone(_: str, __: Json) -> tuple[int, Json] | None:
    return None


class Front:
    """What stands before the stand-in of the moment: it hears all calls, and may answer in its place."""

    def __init__(self) -> None:
        self.url = ""
        self.app: ASGIApp | None = None
        self.answers: Callable[[str, Json], tuple[int, Json] | None] = leaves_alone
        """What is answered to `POST /path` with this body in place of the stand-in, if anything."""
        self.calls: list[tuple[str, Json]] = []
        """Each call of ours, with its body."""
        self.hooked: list[Call] = []
        """What webhooks told."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        body = await _body(receive)
        if scope["path"] == HOOK:
            headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
            self.hooked.append(Call(f"{self.url}{HOOK}", headers, body))
            await _answer(send, 200, {})
            return
        if not scope["path"].startswith("/_sandbox"):
            call = f"{scope['method']} {scope['path']}"
            said = orjson.loads(body) if body.startswith(b"{") else None
            self.calls.append((call, said))
            if (answer := self.answers(call, said)) is not None:
                await _answer(send, *answer)
                return

        async def again() -> Message:
            return {"type": "http.request", "body": body}

        await self.app(scope, again, send)

    def bodies(self, call: str) -> list[Json]:
        return [body for one, body in self.calls if one == call]

    def named(self, part: str) -> list[str]:
        return [call for call, _ in self.calls if part in call]


class Account:
    """One account's stand-in, empty at first, whose time is ours."""

    def __init__(self, front: Front, http: Http) -> None:
        self.front = front
        self.http = http
        self.crm = Hubspot()
        self.url = front.url
        self.purse = Purse()
        self.shelf = Shelf()
        front.app, front.answers = self.crm.app, leaves_alone
        front.calls, front.hooked = [], []
        self._shifted = timedelta()
        clock.shift(self._shifted)

    @property
    def faults(self) -> Faults:
        return self.crm.faults

    def setup(self, flow: str = "private_app", *, keys: Json = None, **choices: Json) -> Setup:
        known = self.crm.credentials(self.url)
        own = {"access_token": known["access_token"]}
        if flow == "oauth":
            own = {name: known[name] for name in ("client_id", "client_secret")}
            if not self.shelf.kept:
                self.shelf.kept.append(Grant("ended", known["refresh_token"], self.url))
        fast = {"calls_in_10_s": 100_000, "searches_in_1_s": 100_000, **choices}
        given = {name: value for name, value in fast.items() if value is not None}
        return Setup(flow, keys or own, self.shelf, self.purse, self.url, given)

    def connect(self, flow: str = "private_app", **more: Json) -> Connector:
        return PROVIDER.connect(self.setup(flow, **more), self.http)

    # --- what people there do -----------------------------------------------------------------------------------------

    async def edit(self, do: str, kind: str, id_: Json = None, **values: Json) -> Json:
        body = {"do": do, "object": kind, "id": id_, "values": values}
        reply = await self.http.send("POST", f"{self.url}/_sandbox/edit", json=body)
        assert reply.status == 200, reply.body
        return reply.json()

    async def contact(self, email: str | None = None, **values: Json) -> str:
        given = values if email is None else {"email": email, **values}
        return str((await self.edit("create", CONTACT, **given))["id"])

    async def field(self, name: str, type_: str = "string", field_type: str = "text", **more: Json) -> str:
        said = {"name": name, "label": name.title(), "type": type_, "fieldType": field_type, **more}
        return str((await self.edit("create", "property", **said))["name"])

    def row(self, id_: str) -> Row:
        return self.crm.portal.tables["contacts"].live[int(id_)]

    def is_out(self, id_: str) -> bool:
        return self.row(id_).values.get(OPT_OUT) == "true"

    def later(self, seconds: float) -> None:
        """Time passes, here and there."""
        self._shifted += timedelta(seconds=seconds)
        clock.shift(self._shifted)


@contextmanager
def front() -> Iterator[Front]:
    made = Front()
    with served(made) as made.url:
        yield made


class Feed:
    """Changes as they are taken in, from look to look."""

    def __init__(self, connector: Connector, *names: str) -> None:
        self._connector = connector
        self._names = names
        self.cursor: str | None = None
        self.last: dict[str, Record] = {}

    async def look(self) -> list[Record]:
        """What one look brings."""
        found: list[Record] = []
        for _ in range(_MOST_PAGES):
            page: Page = await self._connector.changes(CONTACT, self.cursor, self._names)
            self.cursor = page.cursor
            found += page.records
            self.last |= {one.key.id: one for one in page.records}
            if page.is_last:
                return found
        raise AssertionError("a look has no end")


async def all_activities(connector: Connector, cursor: str | None = None) -> tuple[list[Activity], str]:
    found: list[Activity] = []
    for _ in range(_MOST_PAGES):
        page = await connector.activities(cursor)
        cursor = page.cursor
        found += page.activities
        if page.is_last:
            return found, cursor
    raise AssertionError("a look has no end")


def of(id_: str, **values: Value) -> Write:
    return Write(Key(CONTACT, id_), values)


async def write(connector: Connector, id_: str, **values: Value) -> Outcome:
    [outcome] = await connector.write([of(id_, **values)])
    return outcome


async def fetched(connector: Connector, id_: str, *names: str) -> Record:
    [record] = await connector.fetch(CONTACT, [id_], names)
    return record


def ids(records: Sequence[Record]) -> list[str]:
    return [one.key.id for one in records]


async def until(is_so: Callable[[], bool]) -> None:
    """Waits for another thread."""
    for _ in range(2_000):
        if is_so():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it does not come")


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _answer(send: Send, status: int, said: Json) -> None:
    body = orjson.dumps(said)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
