"""Salesforce: contacts and leads, by its REST API, the Bulk API 2.0 and the Tooling API.

`Setup.base_url` is where somebody signs in: the org's My Domain, `https://acme.my.salesforce.com`; without it
login.salesforce.com, where client credentials do not work. The API is wherever the grant says.

`Setup.choices`:
- `bounce_fields`: `native` (the default) maps bounces to EmailBouncedDate and EmailBouncedReason, for which Salesforce
  itself refuses to mail; `custom` to fields of our own, which are made.
- `bulk_from`: so many writes of one shape are a bulk job; 2,000 by default.
- `organization_id`: outbound messages of any other org are refused.

`access` signs in, `api` calls; `people`, `activities` and `feeds` read, `writing`, `bulk` and `outcomes` write,
`fields` and `making` know the fields, `notices` hears, `checking` advises.
"""

from collections.abc import Sequence

from app.connectors.http import Http
from app.connectors.provider import Flow, Grant, Setup
from app.connectors.salesforce import access, checking, fields, notices
from app.connectors.salesforce.access import Access
from app.connectors.salesforce.activities import Activities
from app.connectors.salesforce.api import Api
from app.connectors.salesforce.bulk import MOST_ROWS, Bulk
from app.connectors.salesforce.fields import NATIVE, Described
from app.connectors.salesforce.making import Making
from app.connectors.salesforce.people import OBJECTS, People
from app.connectors.salesforce.writing import COLLECTION, Writing
from app.connectors.shapes import (
    ActivityPage,
    Call,
    Checked,
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

_BULK_FROM = 2_000


class Salesforce:
    """One org. See `shapes.Connector`.

    `bulk_patience_s`: a bulk job that has not ended by then is ended by us. `describe_patience_s`: so long a new field
    is waited for.
    """

    def __init__(
        self, setup: Setup, http: Http, *, bulk_patience_s: float = 600, describe_patience_s: float = 6
    ) -> None:
        self._api = Api(http, setup)
        self._described = Described(self._api)
        self._people = People(self._api, self._described)
        self._activities = Activities(self._api, self._described)
        self._making = Making(self._api, self._described, describe_patience_s)
        bulk = Bulk(self._api, bulk_patience_s)
        self._writing = Writing(self._api, self._described, bulk, int(setup.choices.get("bulk_from", _BULK_FROM)))
        self._bounce_fields = str(setup.choices.get("bounce_fields", NATIVE))
        self._organization: str | None = setup.choices.get("organization_id")

    @property
    def objects(self) -> Sequence[str]:
        return OBJECTS

    @property
    def batch(self) -> int:
        return COLLECTION

    @property
    def bulk(self) -> int:
        return MOST_ROWS

    def cost(self, writes: int) -> int:
        return self._writing.cost(writes)

    async def check(self) -> Checked:
        return await checking.check(self._api, self._described, self._bounce_fields)

    async def describe(self, object_: str) -> Sequence[CrmField]:
        return list((await self._described.fields(object_)).values())

    def defaults(self, object_: str, fields_: Sequence[CrmField]) -> Sequence[DefaultPair]:
        return fields.defaults(object_, fields_, self._bounce_fields)

    async def ensure(self, wanted: Sequence[WantedField]) -> Sequence[MadeField]:
        return await self._making.ensure(wanted)

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

    async def create(self, people: Sequence[NewPerson]) -> Sequence[Outcome]:
        return await self._writing.create(people)

    async def activities(self, cursor: str | None) -> ActivityPage:
        return await self._activities.page(cursor)

    def read_notice(self, call: Call) -> Notice:
        return notices.read(call.body, self._organization)

    async def subscribe(self, url: str, user: str, password: str) -> str | None:  # noqa: ARG002 - as above
        return notices.recipe(url)

    async def aclose(self) -> None:
        """The client is the process'."""


class _Provider:
    """See `provider.Provider`."""

    kind = "salesforce"
    title = "Salesforce"
    flows: Sequence[Flow] = access.FLOWS
    unit = "requests"
    # An org has 100,000 a day or more, which all that is connected to it share.
    budget = 20_000

    def connect(self, setup: Setup, client: Http) -> Salesforce:
        return Salesforce(setup, client)

    def authorize_url(self, setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:
        return access.authorize_url(setup, redirect_uri, state, challenge)

    async def exchange(self, setup: Setup, client: Http, code: str, redirect_uri: str, verifier: str) -> Grant:
        return await Access(client, setup).exchange(code, redirect_uri, verifier)


PROVIDER = _Provider()
