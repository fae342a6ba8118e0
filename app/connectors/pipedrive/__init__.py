"""Pipedrive: persons, their activities and custom fields, by the second version of its API wherever there is one.

Choices of a connection: `opt_out`, `native` or `custom` (`fields.py` says which is the default).
Sources: Pipedrive's OpenAPI documents and developer documentation, August to October 2026.
"""

from collections.abc import Sequence

from app.connectors.http import Http
from app.connectors.pipedrive import access, activities, checking, webhooks
from app.connectors.pipedrive.calls import Api
from app.connectors.pipedrive.fields import PERSON, Fields
from app.connectors.pipedrive.persons import Persons
from app.connectors.pipedrive.writing import COST, Writing
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


class Pipedrive:
    """One company's Pipedrive. Leads have no fields and no address of their own: their persons are synced."""

    batch = 50
    bulk = 500

    def __init__(self, setup: Setup, http: Http) -> None:
        self._api = Api(http, setup)
        self._fields = Fields(self._api, setup.choices)
        self._persons = Persons(self._api, self._fields)
        self._writing = Writing(self._api, self._fields)

    @property
    def objects(self) -> Sequence[str]:
        return (PERSON,)

    async def check(self) -> Checked:
        return await checking.check(self._api, self._fields)

    async def describe(self, object_: str) -> Sequence[CrmField]:  # noqa: ARG002 - there is one
        return await self._fields.describe()

    def defaults(self, object_: str, fields: Sequence[CrmField]) -> Sequence[DefaultPair]:  # noqa: ARG002
        return self._fields.defaults(fields)

    async def ensure(self, wanted: Sequence[WantedField]) -> Sequence[MadeField]:
        return await self._fields.ensure(wanted)

    async def changes(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:  # noqa: ARG002
        return await self._persons.changes(cursor, fields)

    async def everybody(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:  # noqa: ARG002
        return await self._persons.everybody(cursor, fields)

    async def fetch(self, object_: str, ids: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:  # noqa: ARG002
        return await self._persons.fetch(ids, fields)

    async def find(self, object_: str, addresses: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:  # noqa: ARG002
        return await self._persons.find(addresses, fields)

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        return await self._writing.write(writes)

    def cost(self, writes: int) -> int:
        return writes * COST

    async def create(self, people: Sequence[NewPerson]) -> Sequence[Outcome]:
        return await self._writing.create(people)

    async def activities(self, cursor: str | None) -> ActivityPage:
        return await activities.activities(self._api, cursor)

    def read_notice(self, call: Call) -> Notice:
        return webhooks.read(call.body)

    async def subscribe(self, url: str, user: str, password: str) -> str | None:
        return await webhooks.subscribe(self._api, url, user, password)

    async def aclose(self) -> None:
        """Nothing is open: connections are the process'."""


class _Pipedrive:
    kind = "pipedrive"
    title = "Pipedrive"
    flows: Sequence[Flow] = access.FLOWS
    unit = "tokens"
    # Two thirds of what the smallest plan has for one user, for others spend of it too.
    budget = 20_000

    def connect(self, setup: Setup, client: Http) -> Connector:
        return Pipedrive(setup, client)

    def authorize_url(self, setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:  # noqa: ARG002
        return access.authorize_url(setup, redirect_uri, state)

    async def exchange(self, setup: Setup, client: Http, code: str, redirect_uri: str, verifier: str) -> Grant:  # noqa: ARG002
        return await access.granted(
            client, setup, grant_type="authorization_code", code=code, redirect_uri=redirect_uri
        )


PROVIDER: Provider = _Pipedrive()
