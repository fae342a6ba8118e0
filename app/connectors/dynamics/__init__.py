"""Microsoft Dynamics 365: contacts, and leads where Sales is installed, by the Dataverse Web API.

`Setup.base_url` is the environment's address, `https://acme.crm4.dynamics.com`. Signing in happens at Microsoft Entra;
the credential `authority` says where that is, for national clouds and the sandbox.

`Setup.choices`:
- `objects`: `["contact", "lead"]` (the default) or one of these. Where there is no table of leads there are no leads.
- `opt_out`: `donotbulkemail` (the default), `donotemail`, or `both`: out if either says so, and both are written.
- `prefix`, `solution`: of columns that are made: a publisher's prefix, and the unique name of an unmanaged solution.
  Without them the default solution and its publisher's prefix.
- `secured`: true says that our user may read and write what is under column security; else that is left out.
- `bypass_plugins`, `bypass_flows`: true has our writes set off no plug-ins and workflows, and no cloud flows. An
  administrator's decision; the first takes the privilege prvBypassCustomBusinessLogic.

`access` signs in, `api` and `batches` call; `columns` and `making` know the columns; `people`, `tracking`, `walking`
and `activities` read, `writing`, `bodies` and `outcomes` write; `webhooks` hears, `checking` advises.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.connectors.dynamics import access, checking, columns, webhooks
from app.connectors.dynamics.access import Access
from app.connectors.dynamics.activities import Activities
from app.connectors.dynamics.api import Api
from app.connectors.dynamics.columns import BULK, OBJECTS, OPT_OUTS, Described
from app.connectors.dynamics.making import Making
from app.connectors.dynamics.people import People
from app.connectors.dynamics.tracking import Changes
from app.connectors.dynamics.webhooks import Webhooks
from app.connectors.dynamics.writing import PART, Writing
from app.connectors.http import Http
from app.connectors.provider import Flow, Grant, Setup
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

_BULK = 2_000
_PREFIX = re.compile(r"(?!mscrm)[A-Za-z][A-Za-z0-9]{1,7}")
_QUIET = {
    "bypass_plugins": ("MSCRM.BypassBusinessLogicExecution", "CustomSync,CustomAsync"),
    "bypass_flows": ("MSCRM.SuppressCallbackRegistrationExpanderJob", "true"),
}


class Dynamics:
    """One environment. See `shapes.Connector`. Raises ValueError for choices that there are not."""

    def __init__(self, setup: Setup, http: Http) -> None:
        self._objects = _objects(setup.choices)
        self._opt_out = str(setup.choices.get("opt_out", BULK))
        if self._opt_out not in OPT_OUTS:
            raise ValueError(f"opt_out is one of {', '.join(OPT_OUTS)}")
        prefix, solution = setup.choices.get("prefix"), setup.choices.get("solution")
        if prefix is not None and not _PREFIX.fullmatch(str(prefix)):
            raise ValueError("prefix is that of a publisher: two to eight letters and digits")
        headers = dict(header for name, header in _QUIET.items() if setup.choices.get(name) is True)
        self._api = Api(http, setup)
        self._described = Described(self._api, self._opt_out, secured=setup.choices.get("secured") is True)
        self._people = People(self._api, self._described)
        self._changes = Changes(self._api, self._described, self._people)
        self._activities = Activities(self._api, self._objects)
        self._making = Making(self._api, self._described, prefix, solution)
        self._writing = Writing(self._api, self._described, self._people, headers)
        self._webhooks = Webhooks(self._api, self._described, self._making, self._objects)

    @property
    def objects(self) -> Sequence[str]:
        return self._objects

    @property
    def batch(self) -> int:
        return PART

    @property
    def bulk(self) -> int:
        return _BULK

    def cost(self, writes: int) -> int:
        return self._writing.cost(writes)

    async def check(self) -> Checked:
        return await checking.check(self._api, self._described, self._objects, self._opt_out)

    async def describe(self, object_: str) -> Sequence[CrmField]:
        """None where there is no such table."""
        table = await self._described.table(object_, is_whole=True)
        known = () if table is None else table.columns.values()
        return [one.shown for one in known if not one.is_secured]

    def defaults(self, object_: str, fields: Sequence[CrmField]) -> Sequence[DefaultPair]:
        return columns.defaults(object_, fields, self._opt_out)

    async def ensure(self, wanted: Sequence[WantedField]) -> Sequence[MadeField]:
        return await self._making.ensure(wanted)

    async def changes(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        return await self._changes.page(object_, cursor, fields)

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
        return webhooks.read(call.body, self._objects)

    async def subscribe(self, url: str, user: str, password: str) -> str | None:  # noqa: ARG002 - there is but a key
        return await self._webhooks.subscribe(url, password)

    async def aclose(self) -> None:
        """The client is the process'."""


class _Provider:
    """See `provider.Provider`."""

    kind = "dynamics"
    title = "Microsoft Dynamics 365"
    flows: Sequence[Flow] = access.FLOWS
    unit = "requests"
    # A tenant with Dynamics 365 has some 500,000 a day for all users that are no people.
    budget = 100_000

    def connect(self, setup: Setup, client: Http) -> Dynamics:
        return Dynamics(setup, client)

    def authorize_url(self, setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:
        return access.authorize_url(setup, redirect_uri, state, challenge)

    async def exchange(self, setup: Setup, client: Http, code: str, redirect_uri: str, verifier: str) -> Grant:
        return await Access(client, setup).exchange(code, redirect_uri, verifier)


def _objects(choices: Mapping[str, Any]) -> tuple[str, ...]:  # Any: JSON
    chosen = choices.get("objects", list(OBJECTS))
    if not isinstance(chosen, list) or not chosen or not {*chosen} <= {*OBJECTS}:
        raise ValueError("objects are contact, lead, or both")
    return tuple(one for one in OBJECTS if one in chosen)


PROVIDER = _Provider()
