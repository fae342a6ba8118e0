"""The stand-in Pipedrive, for the contract."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from app.connectors.provider import Grant, Setup
from app.connectors.shapes import Kind, Value
from app.sandbox.people import people
from app.sandbox.pipedrive import Pipedrive as PipedriveStandIn
from app.sandbox.pipedrive import fields
from app.sandbox.pipedrive.records import Person
from app.sandbox.shapes import Clock
from tests.connectors.crms.crm import Crm, Json
from tests.connectors.given import Purse, Shelf
from tests.connectors.stage import Stage


class Pipedrive(Crm):
    kind = "pipedrive"
    object = "person"
    address = "email"
    called = "name"
    unknown = "987654321"
    flow = "oauth"
    flows = ("oauth", "api_token")
    has_more_addresses = True
    page = 500
    late_s = 30
    looked_up = 6
    many = 30
    says_deleted_calls = False
    kinds = {"name": Kind.TEXT, "email": Kind.TEXT}
    read_only = "email"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.stand_in = PipedriveStandIn()
        self._company = self.stand_in.company
        stage.curtain(self.stand_in.app)
        self.note = self._custom("Note", "varchar")

    def setup(self, shelf: Shelf, purse: Purse, flow: str | None = None) -> Setup:
        flow = flow or self.flow
        known = self.stand_in.credentials(self.stage.url)
        if flow == "api_token":
            return Setup(flow, {"api_token": known["api_token"]}, shelf, purse, self.stage.url)
        if not shelf.kept:
            shelf.kept.append(Grant("ended", known["refresh_token"], self.stage.url))
        keys = {name: known[name] for name in ("client_id", "client_secret")}
        return Setup(flow, keys, shelf, purse, self.stage.url)

    def wrong(self, setup: Setup) -> Setup:
        keys = {name: f"wrong-{value}" for name, value in setup.credentials.items()}
        return Setup(setup.flow, keys, setup.keeper, setup.meter, setup.base_url)

    @property
    def secrets(self) -> Sequence[str]:
        known = self.stand_in.credentials("")
        return [str(known[name]) for name in ("client_secret", "api_token", "refresh_token")]

    async def expire_tokens(self) -> None:
        self.later(3_700)

    # --- people -------------------------------------------------------------------------------------------------------

    async def _do(self, do: str, kind: str, id_: str | None = None, **values: Any) -> str:  # Any: JSON
        number = None if id_ is None else int(id_)
        return str((await self.edit(do=do, object=kind, id=number, values=values)).get("id"))

    async def add(self, *addresses: str, name: str = "Ann Lee", note: str | None = None, of: str | None = None) -> str:
        emails = [{"value": one, "primary": at == 0} for at, one in enumerate(addresses)]
        values: Json = {"name": name, "emails": emails}
        if note is not None:
            values["custom_fields"] = {self.note: note}
        return await self._do("create", of or self.object, **values)

    def crowd(self, count: int) -> list[str]:
        known = set(self._company.persons)
        self.stand_in.fill(people(count))
        return [str(id_) for id_ in self._company.persons if id_ not in known]

    async def write(self, id_: str, note: str) -> None:
        await self._do("change", "person", id_, custom_fields={self.note: note})

    async def write_late(self, id_: str, note: str, seconds: int) -> None:
        await self.write(id_, note)
        person = self._person(id_)
        person.updated -= seconds
        self._company.keep(person, person.emails)

    async def move(self, id_: str, address: str) -> None:
        await self._do("change", "person", id_, emails=[{"value": address, "primary": True}])

    async def delete(self, id_: str) -> None:
        await self._do("delete", "person", id_)

    async def merge(self, loser: str, winner: str) -> None:
        await self._do("merge", "person", loser, merge_with_id=int(winner))

    async def field(
        self,
        kind: Kind,
        *,
        of: str | None = None,  # noqa: ARG002 - there is one
        name: str = "Kept",
        options: Sequence[str] = (),
    ) -> str:
        types = {
            Kind.TEXT: "varchar", Kind.NUMBER: "double", Kind.DAY: "date", Kind.CHOICE: "enum", Kind.CHOICES: "set",
        }  # fmt: skip
        return self._custom(name, types[kind], *options) if kind in types else ""

    def _custom(self, name: str, type_: str, *options: str) -> str:
        return fields.make(self._company, "person", name, type_, [{"label": one} for one in options]).code

    def sees(self, id_: str, field: str) -> Value:
        if field == "marketing_status":
            return self._status(id_)
        known, value = self._company.fields["person"][field], self._person(id_).custom.get(field)
        options = known.options or {}
        if value is None or not options:
            return value
        return sorted(options[one] for one in value) if isinstance(value, list) else options[value]

    async def opt(self, id_: str, field: str, *, out: bool) -> None:
        if field == "marketing_status":
            await self._do("change", "person", id_, marketing_status="unsubscribed" if out else "subscribed")
            return
        options = {label: number for number, label in (self._company.fields["person"][field].options or {}).items()}
        await self._do("change", "person", id_, custom_fields={field: options["Yes" if out else "No"]})

    def is_opted_out(self, id_: str, field: str) -> bool:
        return self.sees(id_, field) in ("unsubscribed", "Yes")

    def _status(self, id_: str) -> str:
        person = self._person(id_)
        consent = self._company.consents.get((person.email or "").lower())
        return "no_consent" if consent is None else consent.status

    def _person(self, id_: str) -> Person:
        return self._company.persons[int(id_)]

    # --- activities ---------------------------------------------------------------------------------------------------

    async def call(self, *ids: str) -> str:
        participants = [{"person_id": int(one), "primary": at == 0} for at, one in enumerate(ids)]
        return await self._do(
            "create", "activity", subject="First call", type="call", done=True, participants=participants
        )

    async def rename_call(self, call: str, subject: str) -> None:
        await self._do("change", "activity", call, subject=subject)

    async def undo_call(self, call: str) -> None:
        await self._do("change", "activity", call, done=False)

    async def delete_call(self, call: str) -> None:
        await self._do("delete", "activity", call)

    # --- switches -----------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        return self.stand_in.clock

    @property
    def faults(self) -> Any:  # Any: as above
        return self.stand_in.faults

    def small_pages(self, rows: int) -> None:
        def smaller(path: str, query: str) -> str:
            if not path.endswith(("/persons", "/activities")):
                return query
            said = dict(parse_qsl(query, keep_blank_values=True))
            return urlencode({**said, "limit": min(int(said.get("limit", 100)), rows)})

        self.stage.query = smaller

    def lose_cursors(self) -> bool:
        self.turn(cursor_lifetime_s=0.001)
        self.later(5)
        return True

    def find_cursors(self) -> None:
        self.turn(cursor_lifetime_s=0.0)

    @property
    def quirks(self) -> Sequence[Mapping[str, Any]]:  # Any: as above
        return [
            {"omit_unset_fields": True}, {"list_deleted": True}, {"without_campaigns": True}, {"contact_sync": True},
        ]  # fmt: skip

    def hush(self) -> None:
        self.turn(quiet_marketing_status=True)

    def hide(self, field: str) -> bool:
        self.turn(without_campaigns=True)
        return field == "marketing_status"

    def forbid_fields(self) -> None:
        self.turn(custom_field_cap=1)

    def rotate(self) -> bool:
        self.turn(rotate_refresh_tokens=True)
        return True

    def be_busy(self) -> None:
        self.turn(daily_exhausted=True)

    def be_free(self) -> None:
        self.turn(daily_exhausted=False)

    def spent(self) -> int:
        return int(self.stand_in.state()["tokens"])

    def least(self, writes: int) -> int:
        return 5 * writes

    def count(self, table: str) -> int:
        records = self.stand_in.state()["records"]
        return int(records[{"people": "persons", "fields": "custom_fields", "hooks": "webhooks"}[table]])
