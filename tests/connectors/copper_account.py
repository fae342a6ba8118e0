"""A stand-in Copper behind a real port, people who work in it, and connectors to it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import clock
from app.connectors.copper import PROVIDER
from app.connectors.http import Http
from app.connectors.provider import Grant, Setup
from app.connectors.shapes import Activity, Connector, Key, Page, Record, Values
from app.sandbox.copper import Copper
from app.sandbox.copper.faults import Faults
from app.sandbox.copper.records import Lead, Person
from tests.connectors.given import Purse, Shelf
from tests.sandbox.loopback import served

Json: TypeAlias = Any  # Any: whatever JSON can say

PERSON, LEAD = "person", "lead"
PATH = "/developer_api/v1"
HOOK = "/hook"
_MOST_PAGES = 1_000


def leaves_alone(_: str, __: Json) -> tuple[int, Json] | None:
    return None


class Front:
    """What stands before the stand-in of the moment: it hears all calls, and may answer in its place."""

    def __init__(self) -> None:
        self.url = ""
        self.app: ASGIApp | None = None
        self.answers: Callable[[str, Json], tuple[int, Json] | None] = leaves_alone
        """What is answered to `PUT /people/1` with this body in place of the stand-in, if anything."""
        self.calls: list[tuple[str, Json]] = []
        """Each call below the API's path, with its body."""
        self.headers: list[dict[str, str]] = []
        self.hooked: list[bytes] = []
        """What webhooks told."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        body = await _body(receive)
        if scope["path"] == HOOK:
            self.hooked.append(body)
            await _answer(send, 200, {})
            return
        if scope["path"].startswith(PATH):
            call = f"{scope['method']} {scope['path'].removeprefix(PATH)}"
            said = orjson.loads(body) if body else None
            self.calls.append((call, said))
            self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
            if (answer := self.answers(call, said)) is not None:
                await _answer(send, *answer)
                return

        async def again() -> Message:
            return {"type": "http.request", "body": body}

        await self.app(scope, again, send)

    def bodies(self, call: str) -> list[Json]:
        return [body for one, body in self.calls if one == call]

    def named(self, start: str) -> list[str]:
        return [call for call, _ in self.calls if call.startswith(start)]


class Account:
    """One account's stand-in, empty at first, whose time is ours."""

    def __init__(self, front: Front, http: Http) -> None:
        self.front = front
        self.http = http
        self.crm = Copper()
        self.url = front.url
        self.purse = Purse()
        self.shelf = Shelf()
        front.app, front.answers = self.crm.app, leaves_alone
        front.calls, front.headers, front.hooked = [], [], []
        self._shifted = timedelta()
        clock.shift(self._shifted)

    @property
    def faults(self) -> Faults:
        return self.crm.faults

    def setup(self, flow: str = "api_key", *, keys: Json = None, base_url: str | None = None, **choices: Json) -> Setup:
        known = self.crm.credentials(self.url)
        names = ["api_key", "user_email"] if flow == "api_key" else ["client_id", "client_secret"]
        if flow == "oauth" and not self.shelf.kept:
            self.shelf.kept.append(Grant(self.crm.access.grant()))
        choices = {"requests_per_minute": 600_000, **choices}
        own = keys or {name: known[name] for name in names}
        return Setup(flow, own, self.shelf, self.purse, base_url or self.url, choices)

    def connect(self, flow: str = "api_key", **more: Json) -> Connector:
        return PROVIDER.connect(self.setup(flow, **more), self.http)

    # --- what people there do -----------------------------------------------------------------------------------------

    async def edit(self, do: str, kind: str, number: Json = None, **values: Json) -> Json:
        number = int(number) if isinstance(number, str) and number.isdigit() else number
        body = {"do": do, "object": kind, "id": number, "values": values}
        reply = await self.http.send("POST", f"{self.url}/_sandbox/edit", json=body)
        assert reply.status == 200, reply.body
        return reply.json()

    async def person(self, *emails: str, name: str = "Ann Lee", **values: Json) -> str:
        points = [{"email": email, "category": "work"} for email in emails]
        return str((await self.edit("create", PERSON, name=name, emails=points, **values))["id"])

    async def lead(self, email: str | None = None, name: str = "Bob Roe", **values: Json) -> str:
        if email is not None:
            values["email"] = {"email": email, "category": "work"}
        return str((await self.edit("create", LEAD, name=name, **values))["id"])

    async def change(self, id_: str, kind: str = PERSON, **values: Json) -> None:
        await self.edit("change", kind, id_, **values)

    async def field(self, name: str, type_: str, *options: str, on: Sequence[str] = (PERSON, LEAD)) -> str:
        listed = {"options": [{"name": one} for one in options]} if options else {}
        made = await self.edit("create", "field", name=name, data_type=type_, available_on=list(on), **listed)
        return f"cf_{made['id']}"

    def option(self, field: str, label: str) -> int:
        """The id of an option."""
        options = self.crm.account.definitions[number(field)].options or {}
        return next(id_ for id_, one in options.items() if one == label)

    def shown(self, id_: str, kind: str = PERSON) -> Person | Lead:
        found = self.crm.account.somebody(kind, int(id_))
        assert found is not None
        return found

    def put(self, id_: str, kind: str = PERSON, **attributes: Json) -> None:
        """As it came to be some time ago, so that nobody is told and no time moves but as it is said."""
        self.crm.account.keep(replace(self.shown(id_, kind), **attributes))

    async def log(self, type_: str, kind: str, id_: str | int, details: str = "", **values: Json) -> str:
        types = {one.name: one.id for one in self.crm.account.types.values() if one.category == "user"}
        parent = {"type": kind, "id": int(id_)}
        said = {"parent": parent, "type": {"category": "user", "id": types[type_]}, "details": details, **values}
        return str((await self.edit("create", "activity", **said))["id"])

    def later(self, seconds: float) -> None:
        """Time passes, here and there."""
        self._shifted += timedelta(seconds=seconds)
        clock.shift(self._shifted)

    @property
    def requests(self) -> int:
        return int(self.crm.state()["requests"])


def number(field: str) -> int:
    return int(field.removeprefix("cf_"))


def item(field: str, value: Json) -> Json:
    """A custom field as calls have it."""
    return {"custom_field_definition_id": number(field), "value": value}


# --- what a connector reads -------------------------------------------------------------------------------------------


async def look(connector: Connector, cursor: str | None, *names: str, of: str = PERSON) -> tuple[list[Record], str]:
    """All pages until the last."""
    found: list[Record] = []
    for _ in range(_MOST_PAGES):
        page = await connector.changes(of, cursor, names)
        found += page.records
        cursor = page.cursor
        if page.is_last:
            return found, cursor
    raise AssertionError("a look has no end")


async def everybody(connector: Connector, *names: str, of: str = PERSON) -> list[Record]:
    found: list[Record] = []
    page = Page([], "", is_last=False)
    for _ in range(_MOST_PAGES):
        page = await connector.everybody(of, page.cursor or None, names)
        found += page.records
        if page.is_last:
            return found
    raise AssertionError("a walk has no end")


async def activities(connector: Connector, cursor: str | None) -> tuple[dict[str, Activity], str]:
    """What a look says last of each."""
    found: dict[str, Activity] = {}
    for _ in range(_MOST_PAGES):
        page = await connector.activities(cursor)
        found |= {one.id: one for one in page.activities}
        cursor = page.cursor
        if page.is_last:
            return found, cursor
    raise AssertionError("a look has no end")


async def fetched(connector: Connector, id_: str, *names: str, of: str = PERSON) -> Record:
    [record] = await connector.fetch(of, [id_], names)
    return record


def values(records: Sequence[Record]) -> dict[Key, Values]:
    return {one.key: one.values for one in records}


# --- serving ----------------------------------------------------------------------------------------------------------


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def _answer(send: Send, status: int, body: Json) -> None:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    kind = b"text/html" if isinstance(body, bytes) else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


@contextmanager
def front() -> Iterator[Front]:
    made = Front()
    with served(made) as made.url:
        yield made
