"""Copper: people and leads, their custom fields, and what was done with them.

Choices of a connection: `objects`, `["person"]` for accounts without leads; `flags`, `checkbox` or `dropdown`
(`fields.py`); `requests_per_minute`, where Copper allows more or others need more (`limits.py`); `page_size`, for fewer
rows at once.
Sources: Copper's developer documentation, Postman collection and help centre, August to October 2026.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.connectors.copper import access, checking, webhooks
from app.connectors.copper.activities import Activities
from app.connectors.copper.calls import PAGE, Api, is_id
from app.connectors.copper.creating import Creating
from app.connectors.copper.fields import Fields
from app.connectors.copper.listed import LEAD, PERSON
from app.connectors.copper.people import People
from app.connectors.copper.writing import AT_ONCE, BulkUse, Writing
from app.connectors.http import Http
from app.connectors.provider import Flow, Grant, Provider, Setup
from app.connectors.shapes import (
    ActivityPage,
    Call,
    Checked,
    Connector,
    CrmField,
    DefaultPair,
    MadeField,
    NewPerson,
    Notice,
    Outcome,
    Page,
    Record,
    WantedField,
    Write,
)

_OBJECTS = (PERSON, LEAD)


class Copper:
    """One account's Copper, as one user. Raises ValueError for choices that there are not."""

    batch = 30
    bulk = 300

    def __init__(self, setup: Setup, http: Http) -> None:
        _check(setup.choices)
        self._setup = setup
        self._objects = tuple(one for one in _OBJECTS if one in setup.choices.get("objects", _OBJECTS))
        self._api = Api(http, setup)
        self._fields = Fields(self._api, self._objects, setup.choices)
        self._people = People(self._api, self._fields)
        self._activities = Activities(self._api)
        bulk = BulkUse()
        self._writing = Writing(self._api, self._fields, self._people, bulk)
        self._creating = Creating(self._api, self._fields, self._people, bulk)

    @property
    def objects(self) -> Sequence[str]:
        return self._objects

    async def check(self) -> Checked:
        return await checking.check(self._api, self._fields, self._objects)

    async def describe(self, object_: str) -> Sequence[CrmField]:
        return await self._fields.describe(object_)

    def defaults(self, object_: str, fields: Sequence[CrmField]) -> Sequence[DefaultPair]:
        return self._fields.defaults(object_, fields)

    async def ensure(self, wanted: Sequence[WantedField]) -> Sequence[MadeField]:
        return await self._fields.ensure(wanted)

    async def changes(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        return await self._people.changes(object_, cursor, fields)

    async def everybody(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        return await self._people.everybody(object_, cursor, fields)

    async def fetch(self, object_: str, ids: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:
        return await self._people.fetch(object_, ids, fields)

    async def find(self, object_: str, addresses: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:
        return await self._people.find(object_, addresses, fields)

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        return await self._writing.write(writes)

    def cost(self, writes: int) -> int:
        return -(-writes // AT_ONCE)

    async def create(self, people: Sequence[NewPerson]) -> Sequence[Outcome]:
        return await self._creating.create(people)

    async def activities(self, cursor: str | None) -> ActivityPage:
        return await self._activities.read(cursor)

    def read_notice(self, call: Call) -> Notice:
        return webhooks.read(call.body, webhooks.secret(self._setup))

    async def subscribe(self, url: str, user: str, password: str) -> str | None:  # noqa: ARG002 - Copper signs in nowhere
        return await webhooks.subscribe(self._api, self._objects, url, webhooks.secret(self._setup))

    async def aclose(self) -> None:
        """Nothing is open: connections are the process'."""


def _check(choices: Mapping[str, Any]) -> None:  # Any: JSON
    """Raises ValueError."""
    if unknown := choices.keys() - {"objects", "flags", "requests_per_minute", "page_size"}:
        raise ValueError(f"there is no choice {min(unknown)}")
    objects = choices.get("objects", _OBJECTS)
    if not isinstance(objects, Sequence) or isinstance(objects, str) or not objects or {*objects} - {*_OBJECTS}:
        raise ValueError("objects are person, lead, or both")
    if choices.get("flags", "checkbox") not in ("checkbox", "dropdown"):
        raise ValueError("flags are checkbox or dropdown")
    for name, most in (("requests_per_minute", 1_000_000), ("page_size", PAGE)):
        said = choices.get(name, most)
        if not is_id(said) or not 1 <= said <= most:
            raise ValueError(f"{name} is a number from 1 to {most:,}")


class _Copper:
    kind = "copper"
    title = "Copper"
    flows: Sequence[Flow] = access.FLOWS
    unit = "requests"
    # Something more than half of what 180 a minute are in a day, for others spend of it too.
    budget = 150_000

    def connect(self, setup: Setup, client: Http) -> Connector:
        return Copper(setup, client)

    def authorize_url(self, setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:  # noqa: ARG002
        return access.authorize_url(setup, redirect_uri, state)

    async def exchange(self, setup: Setup, client: Http, code: str, redirect_uri: str, verifier: str) -> Grant:  # noqa: ARG002
        return await access.granted(client, setup, code, redirect_uri)


PROVIDER: Provider = _Copper()
