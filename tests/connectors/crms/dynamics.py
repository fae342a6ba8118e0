"""The stand-in Dynamics 365, for the contract."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.connectors.provider import Setup
from app.connectors.shapes import Kind, Value
from app.sandbox.dynamics import Dynamics as DynamicsStandIn
from app.sandbox.dynamics.columns import CHOICES, Table
from app.sandbox.dynamics.wire import Ref
from app.sandbox.people import people
from app.sandbox.shapes import Clock
from tests.connectors.crms.crm import Crm, Json
from tests.connectors.given import Purse, Shelf
from tests.connectors.stage import Stage

_TABLES = ("contact", "lead")
_MULTIPLE = "Microsoft.Dynamics.CRM.UpdateMultiple"


class Dynamics(Crm):
    kind = "dynamics"
    object = "contact"
    address = "emailaddress1"
    called = "fullname"
    note = "jobtitle"
    unknown = "00000000-0000-4000-8000-000000000000"
    flow = "client_credentials"
    flows = ("client_credentials", "certificate")
    has_more_addresses = True
    page = 2_000
    late_s = 240
    looked_up = 120
    many = 2_000
    says_deleted_calls = False
    kinds = {
        "emailaddress1": Kind.TEXT, "jobtitle": Kind.TEXT, "donotbulkemail": Kind.BOOLEAN, "birthdate": Kind.DAY,
        "lastusedincampaign": Kind.INSTANT, "leadsourcecode": Kind.CHOICE, "creditlimit": Kind.NUMBER,
        "parentcustomerid": Kind.OTHER,
    }  # fmt: skip
    read_only = "modifiedon"
    says_who_hooks = False  # the key is in the address that is called

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.stand_in = DynamicsStandIn()
        stage.curtain(self.stand_in.app)

    def setup(self, shelf: Shelf, purse: Purse, flow: str | None = None) -> Setup:
        flow = flow or self.flow
        proofs = {
            "client_credentials": ("client_secret",),
            "certificate": ("certificate", "private_key"),
            "authorization_code": ("client_secret",),
        }[flow]
        known = self.stand_in.credentials(self.stage.url) if flow == "certificate" else {}
        known |= {"tenant_id": self.stand_in.login.tenant_id, "client_id": self.stand_in.login.client_id}
        known |= {"client_secret": self.stand_in.login.client_secret, "authority": self.stage.url}
        keys = {name: str(known[name]) for name in ("tenant_id", "client_id", "authority", *proofs)}
        return Setup(flow, keys, shelf, purse, self.stage.url)

    def wrong(self, setup: Setup) -> Setup:
        name = "private_key" if setup.flow == "certificate" else "client_secret"
        return replace(setup, credentials={**setup.credentials, name: f"wrong-{setup.credentials[name]}"})

    @property
    def secrets(self) -> Sequence[str]:
        return [self.stand_in.login.client_secret]

    async def expire_tokens(self) -> None:
        await self.edit(do="expire_tokens")

    # --- people -------------------------------------------------------------------------------------------------------

    async def add(self, *addresses: str, name: str = "Ann Lee", note: str | None = None, of: str | None = None) -> str:
        first, _, last = name.rpartition(" ")
        fields: Json = {f"emailaddress{at}": one for at, one in enumerate(addresses, start=1)}
        fields |= {"firstname": first or None, "lastname": last, self.note: note}
        return str((await self.edit(do="create", object=of or self.object, fields=fields))["id"])

    def crowd(self, count: int) -> list[str]:
        rows = self.stand_in.org.rows(self.object).by_id
        known = set(rows)
        # Every fourth is a lead.
        self.stand_in.fill(people(count + (count - 1) // 3))
        return [id_ for id_ in rows if id_ not in known]

    async def write(self, id_: str, note: str) -> None:
        await self.edit(do="change", id=id_, fields={self.note: note})

    async def write_late(self, id_: str, note: str, seconds: int) -> None:
        await self.edit(do="late", id=id_, fields={self.note: note}, seconds=seconds)

    async def move(self, id_: str, address: str) -> None:
        await self.edit(do="change", id=id_, fields={"emailaddress1": address})

    async def delete(self, id_: str) -> None:
        await self.edit(do="delete", id=id_)

    async def merge(self, loser: str, winner: str) -> None:
        await self.edit(do="merge", id=winner, loser=loser)

    async def convert(self) -> tuple[str, str, str, str] | None:
        lead = await self.add("lead@example.com", of="lead")
        return "lead", lead, "contact", str((await self.edit(do="qualify", id=lead))["id"])

    async def field(self, kind: Kind, *, of: str | None = None, name: str = "Kept", options: Sequence[str] = ()) -> str:
        types: dict[Kind, tuple[str, Json]] = {
            Kind.TEXT: ("String", {"MaxLength": 255}),
            Kind.NUMBER: ("Money", {"Precision": 2}),
            Kind.BOOLEAN: ("Boolean", {}),
            Kind.INSTANT: ("DateTime", {"Format": "DateAndTime"}),
            Kind.DAY: ("DateTime", {"Format": "DateOnly"}),
            Kind.CHOICE: ("Picklist", {}),
        }
        if kind not in types:
            return ""
        type_, fields = types[kind]
        body = {"object": of or self.object, "name": f"new_{name}", "type": type_, "fields": fields}
        return str((await self.edit(do="column", options=list(options), **body))["name"])

    def _table(self, id_: str) -> Table:
        [found] = [name for name in _TABLES if id_ in self.stand_in.org.rows(name).by_id]
        return self.stand_in.org.tables[found]

    def sees(self, id_: str, field: str) -> Value:
        of = self._table(id_)
        row, column = self.stand_in.org.row(Ref(of.name, id_)), of.columns[field]
        assert row is not None
        value: Value = column.read(row)
        if column.type in CHOICES:
            return next((one.label for one in column.options if one.value == value), None)
        return value

    async def opt(self, id_: str, field: str, *, out: bool) -> None:
        await self.edit(do="change", id=id_, fields={field: out})

    def is_opted_out(self, id_: str, field: str) -> bool:
        assert field == "donotbulkemail"
        return self.sees(id_, field) is True

    # --- activities ---------------------------------------------------------------------------------------------------

    async def call(self, *ids: str) -> str:
        return str((await self.edit(do="log", ids=list(ids), fields={"subject": "First call"}))["id"])

    async def rename_call(self, call: str, subject: str) -> None:
        await self.edit(do="change", object="phonecall", id=call, fields={"subject": subject})

    async def undo_call(self, call: str) -> None:
        await self.edit(do="change", object="phonecall", id=call, fields={"statecode": 0, "statuscode": 1})

    async def delete_call(self, call: str) -> None:
        await self.edit(do="delete", object="phonecall", id=call)

    # --- switches -----------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        return self.stand_in.clock

    @property
    def faults(self) -> Any:  # Any: as above
        return self.stand_in.faults

    def small_pages(self, rows: int) -> None:
        self.turn(page_rows=rows)

    def lose_cursors(self) -> bool:
        self.turn(lose_deltas=True, lose_cookies=True)
        return True

    def find_cursors(self) -> None:
        self.turn(lose_deltas=False, lose_cookies=False)

    @property
    def quirks(self) -> Sequence[Mapping[str, Any]]:  # Any: as above
        return [{"untracked": ["contact"]}, {"own_rows_only": True}]

    def hide(self, field: str) -> bool:
        self.turn(secured_columns=[f"{self.object}.{field}"])
        return True

    def lock(self, field: str) -> bool:
        of = self.stand_in.org.tables[self.object]
        of.add(replace(of.columns[field], may_update=False))
        return True

    def forbid_fields(self) -> None:
        self.turn(missing_privileges=["prvCreateAttribute"])

    def refuse(self, id_: str) -> bool:
        self.turn(refused_ids=[id_])
        return True

    def hold_row(self, id_: str) -> bool:
        self.turn(locked_ids=[id_])
        return True

    def rotate(self) -> bool:
        self.turn(rotate_refresh_tokens=True)
        return True

    def be_busy(self) -> None:
        self.turn(fail_next=["throttled"])

    def be_free(self) -> None:
        self.turn(fail_next=[])

    def spent(self) -> int:
        """Each call, each operation of a batch in place of it, and each row of a call for many."""
        api = self.stand_in.site.api
        plain = {name: count for name, count in api.calls.items() if not name.endswith(("$batch", _MULTIPLE))}
        return sum(plain.values()) + sum(rows for name, rows in api.rows.items() if name.endswith(_MULTIPLE))

    def least(self, writes: int) -> int:
        # Each row, and reading some hundred at a time what they hold by then.
        return writes + -(-writes // 100)

    def count(self, table: str) -> int:
        state = self.stand_in.state()
        if table == "hooks":
            return int(state["records"]["serviceendpoint"])
        if table == "fields":
            return int(state["columns"])
        return sum(int(state["records"][name]) for name in _TABLES)
