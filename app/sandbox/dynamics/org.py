"""The environment: its users, its tables and rows, and who may do what."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from app.sandbox.dynamics import tables
from app.sandbox.dynamics.columns import Column, Table
from app.sandbox.dynamics.faults import Faults
from app.sandbox.dynamics.rows import Rows
from app.sandbox.dynamics.wire import Json, Ref, Row, make_id, no_privilege, no_segment, stamp
from app.sandbox.shapes import Clock

ORGANIZATION = "4ef5b371-e89e-e711-8122-000d3aa2331c"
BUSINESS_UNIT = "38e0dbe4-131b-e111-ba7e-78e7d1620f5e"
INTEGRATION, ADMIN, SALES, SYSTEM = (f"75c2dd8{n}-e89e-e711-8122-000d3aa2331c" for n in (5, 6, 7, 8))
"""The users: of the API, two humans, and the one as whom plug-ins run."""
APPLICATION = "832d86c8-61d2-4f0e-9a0f-3f7a2b1c9d4e"
"""The id of the app, unless another is given."""
_USERS = (
    (INTEGRATION, "integration@example.com", "#", "Integration"),
    (ADMIN, "admin@example.com", "Ada", "Admin"),
    (SALES, "sales@example.com", "Sam", "Sales"),
    (SYSTEM, "system@example.com", "", "SYSTEM"),
)
MESSAGES = ("Create", "Update", "Delete")
MANY = ("CreateMultiple", "UpdateMultiple", "UpsertMultiple")
_FIRST_VERSION = 915_000
DEFAULT_PUBLISHER = "d21aab71-79e7-11dd-8874-00188b01e34f"
DEFAULT_SOLUTION = "fd140aaf-4df4-11dd-bd17-0019b9312238"


class Event(NamedTuple):
    """Something that was written, as webhooks tell it."""

    message: str
    table: str
    id: str
    changed: Row
    """What was written, with nulls."""
    user: str
    at: datetime
    depth: int
    tag: str | None
    """The caller's own word for it."""


class Org:
    def __init__(self, clock: Clock, faults: Faults, application: str) -> None:
        self.clock = clock
        self.faults = faults
        self.tables = tables.standard()
        self.by_set = {table.set_name: table for table in self.tables.values()}
        pointers = Rows(self.tables["activitypointer"])
        self._rows = {name: Rows(table, pointers if table.is_activity else None) for name, table in self.tables.items()}
        self._rows["activitypointer"] = pointers
        self.version = _FIRST_VERSION
        """Counts all writes; each row has that of its last."""
        self.writes: Counter[str] = Counter()
        """How often each row was written by the API."""
        self.attempts = 0
        """How many rows were tried to be written."""
        self.events: list[Event] = []
        """What waits to be told to webhooks."""
        self.columns_made_at: dict[tuple[str, str], datetime] = {}
        self._numbers: Counter[str] = Counter()
        self._furnish(application)

    # --- time, versions and ids ---------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return self.clock()

    def stamp(self) -> str:
        """What is written now is stamped with this."""
        return stamp(self.clock() - timedelta(seconds=max(0, min(self.faults.late_s, 10**8))))

    def next_version(self) -> int:
        self.version += 1
        return self.version

    def new_id(self, table: str) -> str:
        of = self.tables[table]
        # An activity's id is one among those of all activities.
        kind = 4200 if of.is_activity else of.code
        self._numbers[str(kind)] += 1
        return make_id(self._numbers[str(kind)], kind)

    # --- tables and rows ----------------------------------------------------------------------------------------------

    def is_there(self, table: Table) -> bool:
        """Whether it is part of what is installed."""
        if table.name in ("lead", "opportunity"):
            return not self.faults.no_leads
        if table.name.startswith("msdynmkt_"):
            return self.faults.consents
        return True

    def by_name(self, name: str) -> Table | None:
        found = self.tables.get(name)
        return found if found is not None and self.is_there(found) else None

    def table(self, set_name: str) -> Table:
        """By the name that addresses have. Raises Refusal."""
        found = self.by_set.get(set_name)
        if found is None or not self.is_there(found):
            raise no_segment(set_name)
        return found

    def rows(self, table: str) -> Rows:
        """By its logical name."""
        return self._rows[table]

    def row(self, ref: Ref) -> Row | None:
        found = self._rows.get(ref.table)
        return None if found is None else found.by_id.get(ref.id)

    def put(self, table: str, values: Row, at: str | None = None, by: str = ADMIN) -> str:
        """Add a row beside all checks, as if it had always been there; its id."""
        of = self.tables[table]
        id_ = str(values.get(of.primary_id) or self.new_id(table))
        row = {of.primary_id: id_, **values, **audit(at or self.stamp(), Ref("systemuser", by), None)}
        self._rows[table].put(id_, {**row, "versionnumber": self.next_version()})
        return id_

    def columns(self, table: Table) -> Iterator[Column]:
        """Those that a caller may read."""
        return (column for column in table.columns.values() if column.may_read)

    def is_hidden(self, table: Table, column: Column) -> bool:
        return f"{table.name}.{column.name}" in self.faults.secured_columns

    def is_locked(self, table: Table, column: Column) -> bool:
        return self.is_hidden(table, column) or f"{table.name}.{column.name}" in self.faults.read_only_columns

    def changed_columns(self, table: Table) -> None:
        table.columns_changed_at = self.next_version()

    def check(self, user: str, verb: str, table: Table) -> None:
        """Raises Refusal if the user's role lacks `prvVerbTable`; only that of the API's user can."""
        subject = "Activity" if table.is_activity or table.name == "activitypointer" else table.schema_name
        self.check_privilege(user, f"prv{verb}{subject}", table.name)

    def check_privilege(self, user: str, privilege: str, table: str) -> None:
        if user == INTEGRATION and privilege in self.faults.missing_privileges:
            raise no_privilege(user, privilege, table)

    def prefixes(self) -> set[str]:
        """What custom names may begin with."""
        of = self.tables["publisher"]
        prefix = of.columns["customizationprefix"]
        return {str(self.read(of, prefix, row)) for row in self._rows["publisher"].by_id.values()}

    def read(self, table: Table, column: Column, row: Row) -> Any:  # Any: JSON, or a Ref
        """A column's value as the API has it now, switches included."""
        if table.name == "organization" and column.name == "languagecode":
            return self.faults.language
        if table.name == "organization" and column.name == "expirechangetrackingindays":
            return int(self.faults.tracking_days)
        if column.name == "customizationprefix" and row.get("publisherid") == DEFAULT_PUBLISHER:
            return self.faults.prefix
        if column.name == "primaryobjecttypecode" and row.get("name") in MANY:
            return None if row[column.name] in self.faults.no_multiple else row[column.name]
        if self.is_hidden(table, column):
            return None
        return column.read(row)

    def state(self) -> Json:
        return {
            "records": {name: len(rows.by_id) for name, rows in self._rows.items()},
            "writes": {
                "records": len(self.writes),
                "total": self.writes.total(),
                "most": max(self.writes.values(), default=0),
            },
            "columns": sum(column.custom for table in self.tables.values() for column in table.columns.values()),
        }

    def _furnish(self, application: str) -> None:
        for id_, address, first, last in _USERS:
            user: Row = {
                "systemuserid": id_, "domainname": address, "internalemailaddress": address, "firstname": first,
                "lastname": last, "fullname": f"{first} {last}".strip(),
            }  # fmt: skip
            if id_ == INTEGRATION:
                user["applicationid"] = application
            self.put("systemuser", user)
        self.put("organization", {"organizationid": ORGANIZATION, "name": "acme"})
        publisher = {
            "publisherid": DEFAULT_PUBLISHER, "uniquename": "DefaultPublisheracme",
            "friendlyname": "Default Publisher for acme", "customizationprefix": "new",
            "customizationoptionvalueprefix": 10_000,
        }  # fmt: skip
        self.put("publisher", publisher)
        self.put(
            "solution",
            {
                "solutionid": DEFAULT_SOLUTION, "uniquename": "Default", "friendlyname": "Default Solution",
                "version": "1.0", "publisherid": Ref("publisher", DEFAULT_PUBLISHER),
            },
        )  # fmt: skip
        for message in (*MESSAGES, *MANY):
            found = Ref("sdkmessage", self.put("sdkmessage", {"name": message}))
            for table in self.tables.values():
                if table.takes_many if message in MANY else table.is_person or table.is_activity:
                    row = {"name": message, "primaryobjecttypecode": table.name, "sdkmessageid": found}
                    self.put("sdkmessagefilter", row)


def audit(at: str, by: Ref, old: Row | None, behalf: Ref | None = None) -> Row:
    """The columns that say who wrote a row, and when, after a write of `old`."""
    changed: Row = {"modifiedon": at, "modifiedby": by}
    if behalf is not None:
        changed["modifiedonbehalfby"] = behalf
    return changed if old is not None else {"createdon": at, "createdby": by, **changed}
