"""The org: its users, its objects and records, and who may see what."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from app.sandbox.salesforce import objects
from app.sandbox.salesforce.faults import Faults
from app.sandbox.salesforce.fields import Field, Object
from app.sandbox.salesforce.table import Table
from app.sandbox.salesforce.wire import Json, Refusal, Row, make_id, stamp
from app.sandbox.shapes import Clock

ORG_ID = make_id("00D", 4_711)
INTEGRATION, ADMIN, SALES, SECOND_TOOL = (make_id("005", number) for number in (1, 2, 3, 4))
"""The users: of the API, two humans, and another vendor's tool."""
USERNAME = "integration@example.com"
_USERS = (
    (INTEGRATION, USERNAME, "Integration", "User"),
    (ADMIN, "admin@example.com", "Ada", "Admin"),
    (SALES, "sales@example.com", "Sam", "Sales"),
    (SECOND_TOOL, "marketing-tool@example.com", "Marketing", "Tool"),
)
# Field history tracks these; an admin may choose twenty.
TRACKED = frozenset({"Email", "HasOptedOutOfEmail", "EmailBouncedReason", "LastName", "OwnerId", "Status"})


Written = tuple[Table, str, Row | None]
"""A record that was written: its table, its id, and what it was before; None if it is new."""


class Org:
    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.clock = clock
        self.faults = faults
        self.objects = objects.standard()
        self.tooling = objects.custom_fields()
        self._tables = {name: Table(one) for name, one in self.objects.items()}
        self._tables["customfield"] = Table(self.tooling)
        self._by_prefix = {table.of.prefix: table for table in self._tables.values()}
        self.writes: Counter[str] = Counter()
        """How often each record was written by the API."""
        self.attempts = 0
        """How many records were tried to be written."""
        self.fields_changed_at = clock()
        self.changed: list[tuple[Object, Row]] = []
        """People whose change waits to be told as an outbound message."""
        self._journal: list[Written] | None = None
        self._numbers: Counter[str] = Counter()
        self._ungranted: set[tuple[str, str]] = set()
        self._grants: dict[tuple[str, str], bool] = {}
        self._lag: dict[tuple[str, str], int] = {}
        for id_, username, first, last in _USERS:
            at = stamp(clock())
            self.table("User").put(
                {
                    "Id": id_, "Username": username, "FirstName": first, "LastName": last, "Email": username,
                    "IsActive": True, **_made(at, ADMIN),
                }
            )  # fmt: skip
        self._numbers["005"] = len(_USERS)

    def now(self) -> datetime:
        return self.clock()

    def stamp(self) -> str:
        """What is written now is stamped with this."""
        return stamp(self.clock() - timedelta(seconds=max(0, min(self.faults.late_s, 10**8))))

    def new_id(self, prefix: str) -> str:
        self._numbers[prefix] += 1
        return make_id(prefix, self._numbers[prefix])

    def note(self, written: Written) -> None:
        """Remember what a record was, in case it has to be so again."""
        if self._journal is not None:
            self._journal.append(written)

    @contextlib.contextmanager
    def revocable(self) -> Iterator[Callable[[], None]]:
        """Gives a function that takes back what was noted inside."""
        outer, self._journal = self._journal, []
        noted = self._journal
        yield lambda: restore(noted)
        self._journal = outer

    # --- objects and fields -------------------------------------------------------------------------------------------

    def object(self, name: str) -> Object | None:
        found = self.objects.get(name.lower())
        if found is not None and found.name.endswith("History") and self.faults.no_history:
            return None
        return found

    def table(self, name: str) -> Table:
        """The records of an object that there is."""
        return self._tables[name.lower()]

    def table_of(self, id_: str) -> Table | None:
        """The records among which one of this id would be."""
        return self._by_prefix.get(id_[:3])

    def row(self, id_: str) -> Row | None:
        table = self.table_of(id_)
        return None if table is None else table.rows.get(id_)

    def may_read(self, of: Object, field: Field) -> bool:
        if f"{of.name}.{field.name}" in self.faults.hidden_fields:
            return False
        return (of.name, field.name) not in self._ungranted or (of.name, field.name) in self._grants

    def may_edit(self, of: Object, field: Field) -> bool:
        if not self.may_read(of, field) or f"{of.name}.{field.name}" in self.faults.read_only_fields:
            return False
        return (of.name, field.name) not in self._ungranted or self._grants[of.name, field.name]

    def field(self, of: Object, name: str) -> Field | None:
        """A field that the user of the API may read, by its name in any case."""
        found = of.fields.get(name.lower())
        return found if found is not None and self.may_read(of, found) else None

    def readable(self, of: Object) -> Iterator[Field]:
        return (field for field in of.fields.values() if self.may_read(of, field))

    def described(self, of: Object) -> list[Field]:
        """The readable fields, but for new ones that describe does not know yet; each call may bring them nearer."""
        known = []
        for field in self.readable(of):
            left = self._lag.get((of.name, field.name), 0)
            if left > 0:
                self._lag[of.name, field.name] = left - 1
                self.fields_changed_at = self.now()
            else:
                known.append(field)
        return known

    def add_field(self, of: Object, field: Field, *, granted: bool, by: str) -> str:
        """Add a custom field; its id. Without `granted` nobody sees it until a permission set says so."""
        of.add(field)
        if field.indexed:
            self.table(of.name).index(field.name)
        if not granted:
            self._ungranted.add((of.name, field.name))
        if self.faults.describe_lag:
            self._lag[of.name, field.name] = self.faults.describe_lag
        self.fields_changed_at = self.now()
        name = field.name.removesuffix("__c")
        namespace, _, local = name.rpartition("__")
        row: Row = {
            "Id": self.new_id("00N"), "DeveloperName": local, "TableEnumOrId": of.name,
            "FullName": f"{of.name}.{field.name}", "ManageableState": "unmanaged", **_made(self.stamp(), by),
        }  # fmt: skip
        if namespace:
            row["NamespacePrefix"] = namespace
        self.table("CustomField").put(row)
        return str(row["Id"])

    def grant(self) -> None:
        """Read anew which custom fields the permission sets open to the user of the API."""
        sets = {
            row["PermissionSetId"] for row in self.live("PermissionSetAssignment") if row["AssigneeId"] == INTEGRATION
        }
        self._grants = {}
        for row in self.live("FieldPermissions"):
            object_name, _, name = row["Field"].partition(".")
            if row["ParentId"] in sets and row.get("PermissionsRead"):
                may_edit = self._grants.get((object_name, name), False) or bool(row.get("PermissionsEdit"))
                self._grants[object_name, name] = may_edit
        self.fields_changed_at = self.now()

    def live(self, name: str) -> Iterable[Row]:
        return [row for row in self.table(name).rows.values() if not row.get("IsDeleted")]

    def state(self) -> Json:
        return {
            "records": {
                table.of.name: sum(1 for row in table.rows.values() if not row.get("IsDeleted"))
                for table in self._tables.values()
            },
            "writes": {
                "records": len(self.writes),
                "total": self.writes.total(),
                "most": max(self.writes.values(), default=0),
            },
        }


def _made(at: str, by: str) -> dict[str, Any]:  # Any: JSON
    """The fields that say who made a record, and when."""
    return {
        "CreatedDate": at, "CreatedById": by, "LastModifiedDate": at, "LastModifiedById": by, "SystemModstamp": at,
    }  # fmt: skip


def audit(at: str, by: str, old: Row | None) -> Row:
    """The fields that say who wrote a record, and when, after a write of `old`."""
    if old is None:
        return _made(at, by)
    return {"LastModifiedDate": at, "LastModifiedById": by, "SystemModstamp": at}


def restore(written: list[Written]) -> None:
    """Make records what they were, the last written first."""
    for table, id_, old in reversed(written):
        if old is not None:
            table.put(old)
        elif id_ in table.rows:
            table.remove(id_)
    written.clear()


def unknown_column(name: str, of: Object) -> Refusal:
    return Refusal("INVALID_FIELD", f"No such column '{name}' on sobject of type {of.name}")
