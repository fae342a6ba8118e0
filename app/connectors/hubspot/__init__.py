"""HubSpot: contacts, their activities and properties, by the third version of its API and preferences by the fourth.

`Setup.choices`:
- `emails`: true reads mail of HubSpot's own mailboxes as activities, too.
- `portal_id`: what webhooks tell of any other account is passed over.
- `calls_in_10_s`, `searches_in_1_s`: how fast we call, where the account's plan allows more, or others use it too.

`access` signs in, `api` calls, `limits` waits; `contacts`, `walking`, `authors` and `activities` read, `writing` and
`preferences` write, `fields`, `values` and `making` know the properties, `notices` hears, `checking` advises.
"""

from collections.abc import Sequence

from app.connectors.http import Http
from app.connectors.hubspot import access, checking, fields, making, notices
from app.connectors.hubspot.activities import Activities
from app.connectors.hubspot.api import MOST, Api
from app.connectors.hubspot.contacts import Contacts
from app.connectors.hubspot.fields import CONTACT, Fields
from app.connectors.hubspot.writing import Writing
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


class Hubspot:
    """One account's HubSpot. See `shapes.Connector`."""

    batch = MOST
    bulk = 10 * MOST

    def __init__(self, setup: Setup, http: Http) -> None:
        self._setup = setup
        self._api = Api(http, setup)
        self._fields = Fields(self._api)
        self._contacts = Contacts(self._api, self._fields)
        self._activities = Activities(self._api, with_emails=setup.choices.get("emails") is True)
        self._writing = Writing(self._api, self._fields)

    @property
    def objects(self) -> Sequence[str]:
        return (CONTACT,)

    async def check(self) -> Checked:
        return await checking.check(self._api, self._setup)

    async def describe(self, object_: str) -> Sequence[CrmField]:  # noqa: ARG002 - there is one
        return await self._fields.describe()

    def defaults(self, object_: str, fields_: Sequence[CrmField]) -> Sequence[DefaultPair]:  # noqa: ARG002
        return fields.defaults(fields_)

    async def ensure(self, wanted: Sequence[WantedField]) -> Sequence[MadeField]:
        return await making.ensure(self._api, self._fields, wanted)

    async def changes(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:  # noqa: ARG002
        return await self._contacts.changes(cursor, fields)

    async def everybody(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:  # noqa: ARG002
        return await self._contacts.everybody(cursor, fields)

    async def fetch(self, object_: str, ids: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:  # noqa: ARG002
        return await self._contacts.fetch(ids, fields)

    async def find(self, object_: str, addresses: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:  # noqa: ARG002
        return await self._contacts.find(addresses, fields)

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        return await self._writing.write(writes)

    def cost(self, writes: int) -> int:
        """At best, which is without a flag among them."""
        return -(-writes // MOST)

    async def create(self, people: Sequence[NewPerson]) -> Sequence[Outcome]:
        return await self._writing.create(people)

    async def activities(self, cursor: str | None) -> ActivityPage:
        return await self._activities.page(cursor)

    def read_notice(self, call: Call) -> Notice:
        portal = self._setup.choices.get("portal_id")
        secret = self._setup.credentials.get("client_secret") or None
        return notices.read(call, secret, None if portal is None else str(portal))

    async def subscribe(self, url: str, user: str, password: str) -> str | None:  # noqa: ARG002 - it signs instead
        return notices.recipe(url, is_private=self._setup.flow == access.PRIVATE_APP.name)

    async def aclose(self) -> None:
        """Nothing is open: connections are the process'."""


class _Hubspot:
    kind = "hubspot"
    title = "HubSpot"
    flows: Sequence[Flow] = access.FLOWS
    unit = "requests"
    # Two fifths of what the smallest plan has for all private apps of an account.
    budget = 100_000

    def connect(self, setup: Setup, client: Http) -> Connector:
        return Hubspot(setup, client)

    def authorize_url(self, setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:  # noqa: ARG002
        return access.authorize_url(setup, redirect_uri, state)

    async def exchange(self, setup: Setup, client: Http, code: str, redirect_uri: str, verifier: str) -> Grant:  # noqa: ARG002
        return await access.granted(
            client, setup, {}, grant_type="authorization_code", code=code, redirect_uri=redirect_uri
        )


PROVIDER: Provider = _Hubspot()
