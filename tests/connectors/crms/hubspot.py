"""The stand-in HubSpot, for the contract."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from app.connectors.provider import Grant, Setup
from app.connectors.shapes import Kind, Value
from app.sandbox.hubspot import Hubspot as HubspotStandIn
from app.sandbox.hubspot import properties, webhooks
from app.sandbox.hubspot.portal import PUBLIC_APP
from app.sandbox.people import people
from app.sandbox.shapes import Clock
from tests.connectors.crms.crm import Crm, Json
from tests.connectors.given import Purse, Shelf
from tests.connectors.stage import Stage

_TYPES = {
    Kind.TEXT: ("string", "text"), Kind.NUMBER: ("number", "number"), Kind.BOOLEAN: ("bool", "booleancheckbox"),
    Kind.INSTANT: ("datetime", "date"), Kind.DAY: ("date", "date"), Kind.CHOICE: ("enumeration", "select"),
    Kind.CHOICES: ("enumeration", "checkbox"),
}  # fmt: skip
_HOOKED = ("email", "firstname", "lastname", "hs_email_optout", "note")


class Hubspot(Crm):
    kind = "hubspot"
    object = "contact"
    address = "email"
    called = "firstname+lastname"
    note = "note"
    unknown = "987654321"
    flow = "oauth"
    flows = ("oauth", "private_app")
    has_more_addresses = True
    addresses_are_unique = True
    longest_text = 65_536
    page = 100
    late_s = 240
    looked_up = 110
    many = 250
    says_deleted_calls = False
    kinds = {
        "email": Kind.TEXT, "lifecyclestage": Kind.CHOICE, "createdate": Kind.INSTANT, "hs_email_optout": Kind.BOOLEAN,
        "hs_email_bounce": Kind.NUMBER, "hubspot_owner_id": Kind.OTHER,
    }  # fmt: skip
    read_only = "hs_object_id"
    says_who_hooks = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.stand_in = HubspotStandIn()
        self._portal = self.stand_in.portal
        self._contacts = self._portal.tables["contacts"]
        # The contract opts people in again; that HubSpot may refuse it is tested beside.
        self.stand_in.faults.resubscribe_allowed = True
        stage.curtain(self.stand_in.app)
        self._make(self.note, Kind.TEXT)

    def setup(self, shelf: Shelf, purse: Purse, flow: str | None = None) -> Setup:
        flow = flow or self.flow
        known = self.stand_in.credentials(self.stage.url)
        choices = {"calls_in_10_s": 100_000, "searches_in_1_s": 100_000}
        if flow == "private_app":
            return Setup(flow, {"access_token": known["access_token"]}, shelf, purse, self.stage.url, choices)
        if not shelf.kept:
            shelf.kept.append(Grant("ended", known["refresh_token"], self.stage.url))
        keys = {name: known[name] for name in ("client_id", "client_secret")}
        return Setup(flow, keys, shelf, purse, self.stage.url, choices)

    def wrong(self, setup: Setup) -> Setup:
        keys = {name: f"wrong-{value}" for name, value in setup.credentials.items()}
        return Setup(setup.flow, keys, setup.keeper, setup.meter, setup.base_url, setup.choices)

    @property
    def secrets(self) -> Sequence[str]:
        known = self.stand_in.credentials("")
        names = ("client_secret", "app_client_secret", "access_token", "refresh_token", "developer_key")
        return [str(known[name]) for name in names]

    async def expire_tokens(self) -> None:
        await self.edit(do="expire", object="tokens")

    # --- people -------------------------------------------------------------------------------------------------------

    async def _do(self, do: str, kind: str, id_: str | None = None, **values: Any) -> str:  # Any: JSON
        return str((await self.edit(do=do, object=kind, id=id_, values=values)).get("id"))

    async def add(self, *addresses: str, name: str = "Ann Lee", note: str | None = None, of: str | None = None) -> str:
        first, _, last = name.rpartition(" ")
        values: Json = {"firstname": first, "lastname": last}
        if addresses:
            values["email"] = addresses[0]
        if addresses[1:]:
            values["hs_additional_emails"] = ";".join(addresses[1:])
        if note is not None:
            values[self.note] = note
        return await self._do("create", of or self.object, **values)

    def crowd(self, count: int) -> list[str]:
        known = set(self._contacts.live)
        # Those of an earlier crowd have their addresses for themselves.
        several = (one for one in people(count + len(known)) if one.email not in self._contacts.holders)
        self.stand_in.fill(one for one, _ in zip(several, range(count), strict=False))
        return [str(id_) for id_ in self._contacts.live if id_ not in known]

    async def write(self, id_: str, note: str) -> None:
        await self._do("change", self.object, id_, **{self.note: note})

    async def write_late(self, id_: str, note: str, seconds: int) -> None:
        await self.write(id_, note)
        record = self._contacts.live[int(id_)]
        self._contacts.put(record._replace(updated=record.updated - seconds * 1_000))

    async def move(self, id_: str, address: str) -> None:
        await self._do("change", self.object, id_, email=address)

    async def delete(self, id_: str) -> None:
        await self._do("delete", self.object, id_)

    async def restore(self, id_: str) -> bool:
        await self._do("restore", self.object, id_)
        return True

    async def merge(self, loser: str, winner: str) -> None:
        await self._do("merge", self.object, loser, into=winner)

    async def field(
        self,
        kind: Kind,
        *,
        of: str | None = None,  # noqa: ARG002 - there is one
        name: str = "Kept",
        options: Sequence[str] = (),
    ) -> str:
        if kind not in _TYPES:
            return ""
        return self._make(name.lower(), kind, options if kind in (Kind.CHOICE, Kind.CHOICES) else ())

    def _make(self, name: str, kind: Kind, options: Sequence[str] = ()) -> str:
        type_, field_type = _TYPES[kind]
        listed = [{"label": label, "value": f"option_{at}"} for at, label in enumerate(options)]
        said = {
            "name": name, "label": name, "type": type_, "fieldType": field_type, "groupName": "contactinformation",
            "options": listed,
        }  # fmt: skip
        return properties.make(self._portal, "contacts", said).name

    def sees(self, id_: str, field: str) -> Value:
        of, raw = self._portal.properties["contacts"][field], self._contacts.live[int(id_)].values.get(field)
        labels = {one.value: one.label for one in of.options}
        if raw is None:
            return None
        match of.type:
            case "bool":
                return raw == "true"
            case "number":
                return float(raw) if "." in raw else int(raw)
            case "datetime":
                return f"{raw[:19]}Z"
            case "enumeration":
                found = [labels[one] for one in raw.split(";")]
                return sorted(found) if of.field_type == "checkbox" else found[0]
        return raw

    async def opt(self, id_: str, field: str, *, out: bool) -> None:
        assert field == "hs_email_optout"
        await self._do("opt_out" if out else "opt_in", self.object, id_)

    def is_opted_out(self, id_: str, field: str) -> bool:
        assert field == "hs_email_optout"
        return self.sees(id_, field) is True

    # --- activities ---------------------------------------------------------------------------------------------------

    async def call(self, *ids: str) -> str:
        return await self._do(
            "create", "call", hs_call_title="First call", hs_call_status="COMPLETED", contacts=list(ids)
        )

    async def rename_call(self, call: str, subject: str) -> None:
        await self._do("change", "call", call, hs_call_title=subject)

    async def undo_call(self, call: str) -> None:
        await self._do("change", "call", call, hs_call_status="CANCELED")

    async def delete_call(self, call: str) -> None:
        await self._do("delete", "call", call)

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
        def lost(path: str, query: str) -> str:
            said = dict(parse_qsl(query, keep_blank_values=True))
            return urlencode({**said, "after": "lost"}) if path.endswith("/contacts") and "after" in said else query

        self.stage.query = lost
        return True

    def find_cursors(self) -> None:
        self.stage.query = lambda _path, query: query

    @property
    def quirks(self) -> Sequence[Mapping[str, Any]]:  # Any: as above
        return [{"shuffle_ties": True}, {"merged_are_archived": True}, {"search_lag_s": 20.0}]

    def hush(self) -> None:
        self.turn(quiet_opt_out=True)

    def forbid_fields(self) -> None:
        self.turn(property_cap=1)

    def hold_row(self, id_: str) -> bool:
        self.turn(locked_ids=[id_])
        return True

    def rotate(self) -> bool:
        self.turn(rotate_refresh_tokens=True)
        return True

    def be_busy(self) -> None:
        self.turn(daily_exhausted=True)

    def be_free(self) -> None:
        self.turn(daily_exhausted=False)

    def spent(self) -> int:
        return sum(count for call, count in self._portal.calls.items() if "/oauth/" not in call)

    def least(self, writes: int) -> int:
        return -(-writes // 100)

    def count(self, table: str) -> int:
        records = self.stand_in.state()["records"]
        return int(records[{"people": "contacts", "fields": "custom_properties", "hooks": "subscriptions"}[table]])

    def hook_by_hand(self) -> None:
        app = self._portal.apps[PUBLIC_APP]
        webhooks.set_up(self._portal, app, {"targetUrl": self.hook})
        for kind in ("creation", "deletion", "privacyDeletion", "merge", "restore"):
            webhooks.subscribe(self._portal, app, {"eventType": f"contact.{kind}", "active": True})
        for name in _HOOKED:
            said = {"eventType": "contact.propertyChange", "propertyName": name, "active": True}
            webhooks.subscribe(self._portal, app, said)
