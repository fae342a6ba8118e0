"""A stand-in Pipedrive behind a real port, people who work in it, and connectors to it."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import clock
from app.connectors.http import Http
from app.connectors.pipedrive import PROVIDER
from app.connectors.provider import Setup
from app.connectors.shapes import ActivityPage, Connector, Page, Record
from app.sandbox.pipedrive import Pipedrive
from app.sandbox.pipedrive.faults import Faults
from app.sandbox.pipedrive.records import Person
from tests.connectors.given import Purse, Shelf
from tests.sandbox.loopback import served

Json: TypeAlias = Any  # Any: whatever JSON can say

PERSON = "person"
_PAGE = b"<html><title>502 Bad Gateway</title></html>"


def loses_nothing(_: str, __: bytes) -> bool:
    return False


class Front:
    """What stands before the stand-in of the moment: it may cut pages short, and lose answers to what was done."""

    def __init__(self) -> None:
        self.url = ""
        self.app: ASGIApp | None = None
        self.most_rows: int | None = None
        """On a page of persons or activities, whatever is asked for."""
        self.loses: Callable[[str, bytes], bool] = loses_nothing
        """Whether the answer to `PATCH /path`, with this body, is lost."""
        self.queries: list[tuple[str, dict[str, str]]] = []
        self.hooked: list[bytes] = []
        """What webhooks told at `/hook`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        body = await _body(receive)
        if scope["path"] == "/hook":
            self.hooked.append(body)
            await _answer(send, 200, b"")
            return
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        self.queries.append((scope["path"], query))
        if self.most_rows is not None and scope["path"].endswith(("/persons", "/activities")) and "limit" in query:
            scope = {**scope, "query_string": urlencode({**query, "limit": self.most_rows}).encode()}
        is_lost = self.loses(f"{scope['method']} {scope['path']}", body)

        async def again() -> Message:
            return {"type": "http.request", "body": body}

        async def drop(_: Message) -> None:
            pass

        await self.app(scope, again, drop if is_lost else send)
        if is_lost:
            await _answer(send, 502, _PAGE)


class Company:
    """One company's stand-in, empty at first, whose time is ours."""

    def __init__(self, front: Front, http: Http) -> None:
        self.front = front
        self.http = http
        self.crm = Pipedrive()
        self.url = front.url
        self.purse = Purse()
        self.shelf = Shelf()
        front.app, front.most_rows, front.loses = self.crm.app, None, loses_nothing
        front.queries, front.hooked = [], []
        self._shifted = timedelta()
        clock.shift(self._shifted)

    @property
    def faults(self) -> Faults:
        return self.crm.faults

    def setup(self, flow: str = "api_token", **more: Json) -> Setup:
        known = self.crm.credentials(self.url)
        names = ["api_token"] if flow == "api_token" else ["client_id", "client_secret", "refresh_token"]
        keys = {name: known[name] for name in names}
        return Setup(flow, more.pop("keys", keys), self.shelf, self.purse, self.url, **more)

    def connect(self, flow: str = "api_token", **more: Json) -> Connector:
        return PROVIDER.connect(self.setup(flow, **more), self.http)

    # --- what people there do -----------------------------------------------------------------------------------------

    async def edit(self, do: str, kind: str, number: Json = None, **values: Json) -> Json:
        number = int(number) if isinstance(number, str) and number.isdigit() else number
        body = {"do": do, "object": kind, "id": number, "values": values}
        reply = await self.http.send("POST", f"{self.url}/_sandbox/edit", json=body)
        assert reply.status == 200, reply.body
        return reply.json()

    async def person(self, *emails: str, name: str = "Ann Lee", **values: Json) -> str:
        points = [{"value": email} for email in emails]
        return str((await self.edit("create", PERSON, name=name, emails=points, **values))["id"])

    async def change(self, id_: str, **values: Json) -> None:
        await self.edit("change", PERSON, id_, **values)

    async def field(self, label: str, type_: str, *options: str) -> str:
        listed = [{"label": one} for one in options]
        return str(
            (await self.edit("create", "field", field_name=label, field_type=type_, options=listed))["field_code"]
        )

    def option(self, field: str, label: str) -> int:
        """The id of an option."""
        options = self.crm.company.fields[PERSON][field].options or {}
        return int(next(id_ for id_, one in options.items() if one == label))

    def shown(self, id_: str) -> Person:
        return self.crm.company.persons[int(id_)]

    def backdate(self, id_: str, seconds: int) -> None:
        """What was done to a person last shows only now, though it says that it was done so long ago."""
        person = self.shown(id_)
        person.updated -= seconds
        self.crm.company.keep(person, person.emails)

    def later(self, seconds: float) -> None:
        """Time passes, here and there."""
        self._shifted += timedelta(seconds=seconds)
        clock.shift(self._shifted)

    # --- what it counted ----------------------------------------------------------------------------------------------

    def calls(self, endpoint: str) -> int:
        """`GET /api/v2/persons`"""
        return int(self.crm.company.calls[endpoint])

    @property
    def tokens(self) -> int:
        return int(self.crm.state()["tokens"])

    @property
    def writes(self) -> dict[str, int]:
        """How often the API wrote each person."""
        written: dict[str, int] = self.crm.state()["writes"][PERSON]
        return written


@contextmanager
def front() -> Iterator[Front]:
    made = Front()
    with served(made) as made.url:
        yield made


async def all_changes(connector: Connector, fields: Sequence[str] = (), cursor: str | None = None) -> list[Page]:
    """Pages to the last."""
    pages = [await connector.changes(PERSON, cursor, fields)]
    while not pages[-1].is_last:
        pages.append(await connector.changes(PERSON, pages[-1].cursor, fields))
    return pages


async def all_activities(connector: Connector, cursor: str | None = None) -> list[ActivityPage]:
    pages = [await connector.activities(cursor)]
    while not pages[-1].is_last:
        pages.append(await connector.activities(pages[-1].cursor))
    return pages


def records(pages: Sequence[Page]) -> list[Record]:
    return [one for page in pages for one in page.records]


def ids(pages: Sequence[Page]) -> list[str]:
    return [one.key.id for one in records(pages)]


async def until(is_so: Callable[[], bool], wait: Callable[[float], Awaitable[None]]) -> None:
    """Waits for another thread."""
    for _ in range(2_000):
        if is_so():
            return
        await wait(0.005)
    raise AssertionError("it does not come")


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/html"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
