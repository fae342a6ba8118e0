"""The stand-in Copper, for the contract."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from app.connectors.provider import Grant, Setup
from app.connectors.shapes import Kind, Value
from app.sandbox.copper import Copper as CopperStandIn
from app.sandbox.copper.records import Definition, Lead, Person
from app.sandbox.people import people
from app.sandbox.shapes import Clock
from tests.connectors.crms.crm import Crm, Json
from tests.connectors.given import Purse, Shelf
from tests.connectors.stage import Stage

_BURNT = 100_000
_TYPES = {
    Kind.TEXT: "String", Kind.NUMBER: "Float", Kind.BOOLEAN: "Checkbox", Kind.DAY: "Date", Kind.CHOICE: "Dropdown",
    Kind.CHOICES: "MultiSelect",
}  # fmt: skip


def _item(field: str, value: object) -> Json:
    """A custom field as calls have it."""
    return {"custom_field_definition_id": int(field.removeprefix("cf_")), "value": value}


class Copper(Crm):
    kind = "copper"
    object = "person"
    address = "email"
    called = "name"
    unknown = "987654321"
    flow = "api_key"
    flows = ("api_key", "oauth")
    tokens_end = False
    has_more_addresses = True
    addresses_are_unique = True
    says_mergers = False
    page = 200
    late_s = 200
    many = 30
    says_deleted_calls = False
    kinds = {
        "name": Kind.TEXT, "email": Kind.TEXT, "tags": Kind.CHOICES, "contact_type": Kind.CHOICE,
        "date_created": Kind.INSTANT,
    }  # fmt: skip
    read_only = "email"
    says_who_hooks = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.stand_in = CopperStandIn()
        self._account = self.stand_in.account
        # There is a person 1 and a lead 1, but the contract knows somebody by the id alone.
        for _ in range(_BURNT):
            self._account.next_id("lead")
        self._choices: dict[str, Any] = {"requests_per_minute": 600_000}  # Any: JSON
        stage.curtain(self.stand_in.app)
        self.note = self._custom("Note", "String")
        self._calls: int | None = None

    def setup(self, shelf: Shelf, purse: Purse, flow: str | None = None) -> Setup:
        flow = flow or self.flow
        known = self.stand_in.credentials(self.stage.url)
        if flow == "api_key":
            keys = {name: known[name] for name in ("api_key", "user_email")}
        else:
            keys = {name: known[name] for name in ("client_id", "client_secret")}
            if not shelf.kept:
                shelf.kept.append(Grant(self.stand_in.access.grant()))
        return Setup(flow, keys, shelf, purse, self.stage.url, self._choices)

    def wrong(self, setup: Setup) -> Setup:
        keys = {name: f"wrong-{value}" for name, value in setup.credentials.items()}
        return Setup(setup.flow, keys, Shelf([Grant("wrong")]), setup.meter, setup.base_url, setup.choices)

    @property
    def secrets(self) -> Sequence[str]:
        known = self.stand_in.credentials("")
        return [str(known[name]) for name in ("client_secret", "api_key")]

    async def expire_tokens(self) -> None:
        """They never do."""
        self.later(100 * 86_400)

    # --- people -------------------------------------------------------------------------------------------------------

    async def _do(self, do: str, kind: str, id_: str | None = None, **values: Any) -> str:  # Any: JSON
        number = None if id_ is None else int(id_)
        return str((await self.edit(do=do, object=kind, id=number, values=values)).get("id"))

    async def add(self, *addresses: str, name: str = "Ann Lee", note: str | None = None, of: str | None = None) -> str:
        emails = [{"email": one, "category": "work"} for one in addresses]
        kind = of or self.object
        values: Json = {"name": name, **({"email": emails[0]} if kind == "lead" else {"emails": emails})}
        if note is not None:
            values["custom_fields"] = [_item(self.note, note)]
        return await self._do("create", kind, **values)

    def crowd(self, count: int) -> list[str]:
        known = set(self._account.people.rows)
        before = len(known)
        # Each time others, for no two people there have one address.
        self.stand_in.fill(list(people(before + count))[before:])
        return [str(id_) for id_ in self._account.people.rows if id_ not in known]

    async def write(self, id_: str, note: str) -> None:
        await self._do("change", self._kind(id_), id_, custom_fields=[_item(self.note, note)])

    async def write_late(self, id_: str, note: str, seconds: int) -> None:
        await self.write(id_, note)
        somebody = self._somebody(id_)
        self._account.keep(replace(somebody, date_modified=somebody.date_modified - seconds))

    async def move(self, id_: str, address: str) -> None:
        await self._do("change", "person", id_, emails=[{"email": address, "category": "work"}])

    async def delete(self, id_: str) -> None:
        await self._do("delete", self._kind(id_), id_)

    async def merge(self, loser: str, winner: str) -> None:
        await self._do("merge", "person", loser, into=int(winner))

    async def convert(self) -> tuple[str, str, str, str] | None:
        id_ = await self.add("converted@example.com", of="lead")
        self.later(60)
        made = await self.edit(do="convert", object="lead", id=int(id_), values={})
        return "lead", id_, "person", str(made["person"]["id"])

    async def field(
        self,
        kind: Kind,
        *,
        of: str | None = None,  # noqa: ARG002 - both have it
        name: str = "Kept",
        options: Sequence[str] = (),
    ) -> str:
        return self._custom(name, _TYPES[kind], *options) if kind in _TYPES else ""

    def _custom(self, name: str, type_: str, *options: str) -> str:
        account = self._account
        made = Definition(account.next_id("definition"), name, type_, ("person", "lead"), is_filterable=True)
        if options and type_ in ("Dropdown", "MultiSelect"):
            made.options = {account.next_id("option"): one for one in options}
        account.definitions[made.id] = made
        account.revision += 1
        return f"cf_{made.id}"

    def sees(self, id_: str, field: str) -> Value:
        number = int(field.removeprefix("cf_"))
        definition, value = self._account.definitions[number], self._somebody(id_).custom.get(number)
        options = definition.options or {}
        if value is None:
            return None
        if isinstance(value, list):
            return sorted(options[one] for one in value)
        if definition.data_type == "Date":
            return datetime.fromtimestamp(value, UTC).date().isoformat()
        found: Value = options[value] if options else value
        return found

    async def opt(self, id_: str, field: str, *, out: bool) -> None:
        await self._do("change", self._kind(id_), id_, custom_fields=[_item(field, out)])

    def is_opted_out(self, id_: str, field: str) -> bool:
        return self.sees(id_, field) is True

    def _kind(self, id_: str) -> str:
        return "lead" if int(id_) > _BURNT and id_ != self.unknown else "person"

    def _somebody(self, id_: str) -> Person | Lead:
        found = self._account.somebody(self._kind(id_), int(id_))
        assert found is not None
        return found

    # --- activities ---------------------------------------------------------------------------------------------------

    async def call(self, *ids: str) -> str:
        if self._calls is None:
            made = await self.edit(do="create", object="activity_type", values={"name": "Call"})
            self._calls = int(made["id"])
        return await self._do(
            "create",
            "activity",
            parent={"type": self._kind(ids[0]), "id": int(ids[0])},
            type={"category": "user", "id": self._calls},
            details="First call",
        )

    async def rename_call(self, call: str, subject: str) -> None:
        await self._do("change", "activity", call, details=subject)

    async def undo_call(self, call: str) -> None:
        """It was with the company, and not with that person."""
        await self._do("change", "activity", call, parent={"type": "company", "id": self._account.company("Acme")})

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
        self._choices["page_size"] = min(rows, self.page)

    def lose_cursors(self) -> bool:
        """It gives none, so there are none to be good."""
        return True

    @property
    def quirks(self) -> Sequence[Mapping[str, Any]]:  # Any: as above
        return [
            {"total_over": 3}, {"total_over": 60}, {"total_over": 60, "refuse_beyond": True}, {"empty_lists": True},
            {"reachable_rows": 10}, {"reachable_rows": 10, "refuse_beyond": True}, {"fetch_by_email_lags": True},
            {"list_deleted_activities": True}, {"activities_move_date": True}, {"zone_offset_h": -7},
        ]  # fmt: skip

    def forbid_fields(self) -> None:
        self.turn(field_refusal=403)

    def be_busy(self) -> None:
        self.turn(busy_next=1_000_000)

    def be_free(self) -> None:
        self.turn(busy_next=0)

    def spent(self) -> int:
        return int(self.stand_in.state()["requests"])

    def least(self, writes: int) -> int:
        return -(-writes // 10)

    def count(self, table: str) -> int:
        if table == "fields":
            # One for each object that has it.
            return sum(len({"person", "lead"} & {*one.available_on}) for one in self._account.definitions.values())
        return int(self.stand_in.state()["records"][{"people": "people", "hooks": "webhooks"}[table]])
