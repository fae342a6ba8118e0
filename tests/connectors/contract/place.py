"""Where a scenario takes place, and how changes are taken in there."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from app.connectors.faults import CursorLost
from app.connectors.http import Http
from app.connectors.provider import Provider, Setup
from app.connectors.shapes import Connector, Key, Record, Value
from tests.connectors.crms.crm import Crm
from tests.connectors.given import Purse, Shelf

ANN, BOB, EVE = "ann@example.com", "bob@example.org", "eve@example.net"
PAGE = 5
"""Records on a page, where pages are small."""
ENDLESS = 100
AFTER_ALL_S = 1_000.0
"""So much later everything has been committed and indexed."""


@dataclass
class Place:
    """A CRM and the ways to it."""

    crm: Crm
    provider: Provider
    http: Http
    shelf: Shelf = field(default_factory=Shelf)
    purse: Purse = field(default_factory=Purse)
    connectors: list[Connector] = field(default_factory=list)

    def setup(self, flow: str | None = None) -> Setup:
        return self.crm.setup(self.shelf, self.purse, flow)

    def connector(self, setup: Setup | None = None, http: Http | None = None) -> Connector:
        """A new one, as of a process that has just begun."""
        made = self.provider.connect(setup or self.setup(), http or self.http)
        self.connectors.append(made)
        return made

    def key(self, id_: str) -> Key:
        return Key(self.crm.object, id_)

    @property
    def calls(self) -> int:
        return len(self.crm.stage.calls)

    async def aclose(self) -> None:
        for connector in self.connectors:
            await connector.aclose()
        await self.crm.aclose()


Scenario = Callable[[Place], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(act: Scenario) -> Scenario:
    SCENARIOS[act.__name__] = act
    return act


class Feed:
    """Changes as the sync takes them in: the cursor is kept as text with each page, and what came last of a record."""

    def __init__(self, place: Place, fields: Sequence[str] | None = None, object_: str | None = None) -> None:
        self.place = place
        self.object = object_ or place.crm.object
        self.fields = [place.crm.note] if fields is None else fields
        self.cursor: str | None = None
        self.last: dict[str, Record] = {}
        self.seen: list[Record] = []

    async def page(self, connector: Connector) -> bool:
        """One page; whether it was the last for now."""
        try:
            page = await connector.changes(self.object, self.cursor, self.fields)
        except CursorLost:
            assert self.cursor is not None
            self.cursor = None
            return False
        self.cursor = str(page.cursor)
        for record in page.records:
            self.last[record.key.id] = record
        self.seen += page.records
        return page.is_last

    async def look(self, connector: Connector, between: Callable[[], Awaitable[None]] | None = None) -> list[Record]:
        """All pages until the last, with `between` after each; what they brought."""
        before = len(self.seen)
        for _ in range(ENDLESS):
            if await self.page(connector):
                return self.seen[before:]
            if between is not None:
                await between()
        raise AssertionError("a look has no end")

    @property
    def notes(self) -> dict[str, Value]:
        """What was seen last in the field that people write, of everybody who is there."""
        return {id_: one.values[self.place.crm.note] for id_, one in self.last.items() if not one.is_gone}


async def everybody(connector: Connector, object_: str, fields: Sequence[str]) -> list[Record]:
    found: list[Record] = []
    cursor: str | None = None
    for _ in range(ENDLESS):
        try:
            page = await connector.everybody(object_, cursor, fields)
        except CursorLost:
            assert cursor is not None
            found, cursor = [], None
            continue
        found += page.records
        cursor = str(page.cursor)
        if page.is_last:
            return found
    raise AssertionError("a walk has no end")


async def fetched(connector: Connector, key: Key, fields: Sequence[str]) -> Record:
    [record] = await connector.fetch(key.object, [key.id], fields)
    return record


@contextlib.asynccontextmanager
async def at(crm: Crm, provider: Provider) -> AsyncIterator[Place]:
    async with Http(private=True) as http:
        place = Place(crm, provider, http)
        try:
            yield place
        finally:
            await place.aclose()
