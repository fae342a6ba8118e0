"""The stand-in Salesforce, for the contract."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.connectors.provider import Setup
from app.connectors.shapes import Kind, Value
from app.sandbox.people import people
from app.sandbox.salesforce import Salesforce as SalesforceStandIn
from app.sandbox.salesforce.wire import make_id
from app.sandbox.shapes import Clock
from tests.connectors.crms.crm import Crm, Json
from tests.connectors.given import Purse, Shelf
from tests.connectors.stage import Stage


class Salesforce(Crm):
    kind = "salesforce"
    object = "Contact"
    address = "Email"
    called = "Name"
    note = "Title"
    unknown = make_id("003", 9_999_999)
    flow = "client_credentials"
    flows = ("client_credentials", "jwt_bearer")
    page = 2_000
    late_s = 300
    looked_up = 700
    many = 2_000
    kinds = {
        "Email": Kind.TEXT, "Title": Kind.TEXT, "HasOptedOutOfEmail": Kind.BOOLEAN, "EmailBouncedDate": Kind.INSTANT,
        "LeadSource": Kind.CHOICE, "Birthdate": Kind.DAY, "AccountId": Kind.OTHER,
    }  # fmt: skip
    read_only = "SystemModstamp"
    says_who_hooks = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.stand_in = SalesforceStandIn()
        stage.curtain(self.stand_in.app)

    def setup(self, shelf: Shelf, purse: Purse, flow: str | None = None) -> Setup:
        flow = flow or self.flow
        login = self.stand_in.login
        keys = {"client_id": login.client_id}
        if flow == "jwt_bearer":
            known = self.stand_in.credentials(self.stage.url)
            keys |= {"username": known["username"], "private_key": known["private_key"]}
        else:
            keys["client_secret"] = login.client_secret
        return Setup(flow, keys, shelf, purse, self.stage.url)

    def wrong(self, setup: Setup) -> Setup:
        keys = {**setup.credentials}
        keys["username" if setup.flow == "jwt_bearer" else "client_secret"] = (
            f"wrong-{self.stand_in.login.client_secret}"
        )
        return Setup(setup.flow, keys, setup.keeper, setup.meter, setup.base_url)

    @property
    def secrets(self) -> Sequence[str]:
        return [self.stand_in.login.client_secret]

    async def expire_tokens(self) -> None:
        await self.edit(do="expire_tokens")

    # --- people -------------------------------------------------------------------------------------------------------

    async def add(self, *addresses: str, name: str = "Ann Lee", note: str | None = None, of: str | None = None) -> str:
        assert len(addresses) <= 1
        first, _, last = name.rpartition(" ")
        fields: Json = {"LastName": last, "FirstName": first or None, "Email": addresses[0] if addresses else None}
        if of == "Lead":
            fields["Company"] = "Acme"
        given = {key: value for key, value in {**fields, self.note: note}.items() if value is not None}
        return str((await self.edit(do="create", object=of or self.object, fields=given))["id"])

    def crowd(self, count: int) -> list[str]:
        known = set(self.stand_in.org.table(self.object).rows)
        # Every fourth is a lead.
        self.stand_in.fill(people(count + (count - 1) // 3))
        return [id_ for id_ in self.stand_in.org.table(self.object).rows if id_ not in known]

    async def write(self, id_: str, note: str) -> None:
        await self.edit(do="change", id=id_, fields={self.note: note})

    async def write_late(self, id_: str, note: str, seconds: int) -> None:
        await self.edit(do="late", id=id_, seconds=seconds, fields={self.note: note})

    async def move(self, id_: str, address: str) -> None:
        await self.edit(do="change", id=id_, fields={"Email": address})

    async def delete(self, id_: str) -> None:
        await self.edit(do="delete", id=id_)

    async def restore(self, id_: str) -> bool:
        await self.edit(do="undelete", id=id_)
        return True

    async def merge(self, loser: str, winner: str) -> None:
        await self.edit(do="merge", id=winner, losers=[loser])

    async def convert(self) -> tuple[str, str, str, str] | None:
        lead = await self.add("lead@example.com", of="Lead")
        return "Lead", lead, "Contact", str((await self.edit(do="convert", id=lead))["id"])

    async def field(self, kind: Kind, *, of: str | None = None, name: str = "Kept", options: Sequence[str] = ()) -> str:
        listed = {"valueSetDefinition": {"value": [{"fullName": one, "label": one} for one in options]}}
        metadata: dict[Kind, Json] = {
            Kind.TEXT: {"type": "Text", "length": 255},
            Kind.NUMBER: {"type": "Number", "precision": 18, "scale": 2},
            Kind.BOOLEAN: {"type": "Checkbox", "defaultValue": False},
            Kind.INSTANT: {"type": "DateTime"},
            Kind.DAY: {"type": "Date"},
            Kind.CHOICE: {"type": "Picklist", "valueSet": {"restricted": True, **listed}},
        }
        if kind not in metadata:
            return ""
        await self.edit(do="field", object=of or self.object, name=f"{name}__c", fields=metadata[kind])
        return f"{name}__c"

    def sees(self, id_: str, field: str) -> Value:
        row = self.stand_in.org.row(id_)
        assert row is not None
        of = self.stand_in.org.table_of(id_)
        assert of is not None
        value: Value = of.of.fields[field.lower()].read(row)
        if of.of.fields[field.lower()].type == "datetime" and value is not None:
            return str(value)[:19] + "Z"
        return value

    async def opt(self, id_: str, field: str, *, out: bool) -> None:
        await self.edit(do="change", id=id_, fields={field: out})

    def is_opted_out(self, id_: str, field: str) -> bool:
        assert field == "HasOptedOutOfEmail"
        return self.sees(id_, field) is True

    # --- activities ---------------------------------------------------------------------------------------------------

    async def call(self, *ids: str) -> str:
        fields = {"Subject": "First call", "TaskSubtype": "Call", "Status": "Completed"}
        return str((await self.edit(do="log", id=ids[0], object="Task", fields=fields))["id"])

    async def rename_call(self, call: str, subject: str) -> None:
        await self.edit(do="change", id=call, fields={"Subject": subject})

    async def undo_call(self, call: str) -> None:
        await self.edit(do="change", id=call, fields={"Status": "Not Started"})

    async def delete_call(self, call: str) -> None:
        await self.edit(do="delete", id=call)

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
        self.turn(lose_cursors=True)
        return True

    def find_cursors(self) -> None:
        self.turn(lose_cursors=False)

    @property
    def quirks(self) -> Sequence[Mapping[str, Any]]:  # Any: as above
        return [{"hide_limit_info": True}, {"no_history": True}]

    def hide(self, field: str) -> bool:
        self.turn(hidden_fields=[f"{self.object}.{field}"])
        return True

    def lock(self, field: str) -> bool:
        self.turn(read_only_fields=[f"{self.object}.{field}"])
        return True

    def forbid_fields(self) -> None:
        self.turn(no_customize=True)

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
        self.turn(fail_next=["busy"])

    def be_free(self) -> None:
        self.turn(fail_next=[])

    def spent(self) -> int:
        return self.stand_in.site.api.used

    def least(self, writes: int) -> int:
        # A bulk job is made, filled, closed, looked at and read: fewer calls than that only for fewer rows.
        return min(-(-writes // 200), 8)

    def count(self, table: str) -> int:
        if table == "hooks":
            return 0
        if table == "fields":
            return int(self.stand_in.state()["records"]["CustomField"])
        return sum(self.stand_in.state()["records"][name] for name in ("Contact", "Lead"))

    def hook_by_hand(self) -> None:
        self.turn(outbound_url=self.hook)
