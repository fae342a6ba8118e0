"""How rows are made, changed and deleted: every check, and all that a write sets off."""

import contextlib
from typing import Any

from app.sandbox.dynamics import parties as activity_parties
from app.sandbox.dynamics import values as checks
from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.org import INTEGRATION, SYSTEM, Event, Org, audit
from app.sandbox.dynamics.rows import Rows
from app.sandbox.dynamics.tables import PEOPLE
from app.sandbox.dynamics.wire import Json, Ref, Refusal, Row, no_row

_CLOSED = "0x80040203"
_DEADLOCK = "Generic SQL error. Sql Number: 1205 Transaction was deadlocked on lock resources with another process."
_DUPLICATE = "A record was not created or updated because a duplicate of the current record already exists."
_KEY_TAKEN = "A record with matching key values already exists."
_STATES = ("statecode", "statuscode")


class Transaction:
    """Writes of one user at one instant. What was written can be read at once, and taken back until the commit.

    Each write raises Refusal where the API would refuse it; the caller then takes all back.
    """

    def __init__(
        self,
        org: Org,
        user: str,
        *,
        root: str = "",
        tag: str | None = None,
        finds_duplicates: bool = False,
        passes_plugins: bool = False,
    ) -> None:
        """`root` is the service root, below which addresses of rows may be given; `tag` what webhooks are told."""
        self.org = org
        self.user = user
        self._root = root
        self._tag = tag
        self._finds_duplicates = finds_duplicates
        self._passes_plugins = passes_plugins
        self._by = Ref("systemuser", user)
        self._behalf: Ref | None = None
        self._depth = 1
        self.at = org.stamp()
        self._written: list[tuple[Rows, str, Row | None]] = []
        self._events: list[Event] = []

    def create(self, of: Table, body: Json, id_: str | None = None) -> str:
        """The new row's id."""
        self._check_writable("Create", of)
        new, parties = checks.read_body(self.org, of, body, self._root)
        self._check_columns(of, new, creating=True)
        id_ = id_ or new.get(of.primary_id) or self.org.new_id(of.name)
        if id_ in self.org.rows(of.name).by_id:
            raise Refusal("0x80040237", _KEY_TAKEN, 412)
        for column in of.columns.values():
            if column.default is not None and column.may_create:
                new.setdefault(column.name, column.default)
        if "ownerid" in of.columns:
            new.setdefault("ownerid", self._by)
        if of.is_activity:
            new["activitytypecode"] = of.name
        _settle_state(of, new, {})
        self._check_keys(of, new, id_)
        self._check_duplicates(of, new, id_)
        self._check_lock("")
        created = audit(self.at, self._by, None, self._behalf)
        if new.get("overriddencreatedon"):
            created["createdon"] = f"{new['overriddencreatedon']}T00:00:00Z"
        self._keep(of, id_, {of.primary_id: id_, **new, **created}, None)
        self._tell("Create", of, id_, new)
        if of.is_activity:
            activity_parties.settle(self, of, id_, parties or [])
        return str(id_)

    def update(self, of: Table, id_: str, body: Json, *, etag: str | None = None) -> None:
        """With an `etag` only if the row still has it."""
        self._check_writable("Write", of)
        old = self.standing(of, id_, etag)
        new, parties = checks.read_body(self.org, of, body, self._root)
        if new.get(of.primary_id) == id_:
            del new[of.primary_id]
        self._check_columns(of, new, creating=False)
        is_closed = of.name == "lead" and old.get("statecode", 0) != 0 and not new.keys() & set(_STATES)
        if is_closed and self.user == INTEGRATION and not self.org.faults.closed_leads_writable:
            raise Refusal(_CLOSED, "The lead is qualified or disqualified, and cannot be changed.")
        if id_ in self.org.faults.refused_ids:
            raise Refusal("0x80040265", "A plug-in of your administrator refuses this change.")
        _settle_state(of, new, old)
        if of.is_activity and new.get("statecode") == 1 and "actualend" not in new:
            new["actualend"] = old.get("actualend", self.at)
        self._check_keys(of, {**old, **new}, id_)
        self._check_duplicates(of, new, id_)
        self._check_lock(id_)
        self.write(of, id_, new)
        if of.is_activity and (parties is not None or "regardingobjectid" in new or "ownerid" in new):
            activity_parties.settle(self, of, id_, parties)

    def delete(self, of: Table, id_: str, *, etag: str | None = None) -> None:
        self._check_writable("Delete", of)
        old = self.standing(of, id_, etag)
        self._check_lock(id_)
        if of.is_activity:
            activity_parties.settle(self, of, id_, [], is_gone=True)
        self.erase(of, id_)
        self._tell("Delete", of, id_, old)

    def standing(self, of: Table, id_: str, etag: str | None = None) -> Row:
        """Raises Refusal if there is no such row, or it has another version."""
        row = self.org.rows(of.name).by_id.get(id_)
        if row is None:
            raise no_row(of.name, id_, "")
        if etag is not None and etag != f'W/"{row["versionnumber"]}"':
            message = "The version of the existing record doesn't match the RowVersion property provided."
            raise Refusal("0x80060882", message, 412)
        return row

    # --- beside all checks --------------------------------------------------------------------------------------------

    def write(self, of: Table, id_: str, new: Row) -> None:
        """Set columns, whatever may be said against it; None clears one."""
        old = self.org.rows(of.name).by_id[id_]
        merged = {name: value for name, value in {**old, **new}.items() if value is not None}
        merged.pop("modifiedonbehalfby", None)
        self._keep(of, id_, {**merged, **audit(self.at, self._by, old, self._behalf)}, old)
        self._tell("Update", of, id_, new)

    def add(self, of: Table, new: Row) -> str:
        id_ = self.org.new_id(of.name)
        self._keep(of, id_, {of.primary_id: id_, **new, **audit(self.at, self._by, None)}, None)
        return id_

    def erase(self, of: Table, id_: str) -> None:
        rows = self.org.rows(of.name)
        self._written.append((rows, id_, rows.by_id[id_]))
        rows.remove(id_, self.org.next_version())

    def undo(self) -> None:
        """Take all back."""
        for rows, id_, old in reversed(self._written):
            if old is not None:
                rows.restore(id_, old)
            elif id_ in rows.by_id:
                rows.remove(id_, None)
        self._written, self._events = [], []

    def commit(self) -> None:
        """Let happen what writes set off: calls of webhooks, a plug-in's own writes."""
        written, self._written = self._written, []
        is_ours = self.user == INTEGRATION and self._depth == 1
        if is_ours:
            self.org.writes.update({id_ for rows, id_, _ in written if rows.of.name != "activityparty"})
        self.org.events += self._events
        self._events = []
        if is_ours and self.org.faults.plugin_sets and not self._passes_plugins:
            people = dict.fromkeys((rows.of.name, id_) for rows, id_, _ in written if rows.of.is_person)
            self._run_plugin([one for one in people if one[1] in self.org.rows(one[0]).by_id])

    def _run_plugin(self, people: list[tuple[str, str]]) -> None:
        is_us = self.org.faults.plugin_is_us
        own = Transaction(self.org, INTEGRATION if is_us else SYSTEM, tag=self._tag)
        own._depth = 2
        own._behalf = None if is_us else Ref("systemuser", INTEGRATION)
        for name, id_ in people:
            of = self.org.tables[name]
            with contextlib.suppress(Refusal):
                new = {
                    column: checks.kept(of, of.columns[column], value)
                    for column, value in self.org.faults.plugin_sets.items()
                    if column in of.columns
                }
                own.write(of, id_, new)
        own.commit()

    # --- checks -------------------------------------------------------------------------------------------------------

    def _check_columns(self, of: Table, new: Row, *, creating: bool) -> None:
        for name in new:
            column = of.columns[name]
            if not (column.may_create if creating else column.may_update):
                raise Refusal(
                    "0x80040216" if creating else "0x80048d19", f"Attribute '{name}' of '{of.name}' cannot be set."
                )
            if self.user == INTEGRATION and self.org.is_locked(of, column):
                raise Refusal(
                    "0x8004f508",
                    f"Caller user with Id {self.user} may not write the secured attribute '{name}'.",
                    403,
                )

    def _check_writable(self, verb: str, of: Table) -> None:
        """Raises Refusal where nobody can, or our role may not."""
        if of.is_fixed:
            raise Refusal("0x80040800", f"The '{verb}' method does not support entities of type '{of.name}'.")
        self.org.check(self.user, verb, of)

    def _check_keys(self, of: Table, new: Row, own_id: str) -> None:
        for key in of.keys.values():
            if any(new.get(name) is None for name in key.columns):
                continue
            rows = self.org.rows(of.name)
            for id_ in rows.having(key.columns[0], new[key.columns[0]]):
                row = rows.by_id[id_]
                if id_ != own_id and all(row.get(name) == new[name] for name in key.columns):
                    raise Refusal(
                        "0x80040237",
                        f"{_KEY_TAKEN} Entity Key {key.label} requires that its attributes are unique.",
                        412,
                    )

    def _check_duplicates(self, of: Table, new: Row, own_id: str) -> None:
        address = new.get("emailaddress1")
        if of.name not in PEOPLE or not address or not self.org.faults.duplicate_rule or not self._finds_duplicates:
            return
        rows = self.org.rows(of.name)
        same = (id_ for id_ in rows.having("emailaddress1", address) if id_ != own_id)
        if any(rows.by_id[id_].get("statecode", 0) == 0 for id_ in same):
            raise Refusal("0x80040333", _DUPLICATE, 412)

    def _check_lock(self, id_: str) -> None:
        faults = self.org.faults
        self.org.attempts += 1
        if id_ in faults.locked_ids or (faults.lock_every > 0 and self.org.attempts % faults.lock_every == 0):
            raise Refusal("0x80044150", _DEADLOCK, 500)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _keep(self, of: Table, id_: str, row: Row, old: Row | None) -> None:
        rows = self.org.rows(of.name)
        kept = {name: value for name, value in row.items() if value is not None}
        rows.put(id_, {**kept, "versionnumber": self.org.next_version()})
        self._written.append((rows, id_, old))

    def _tell(self, message: str, of: Table, id_: str, changed: Row) -> None:
        at = self.org.now()
        self._events.append(Event(message, of.name, id_, changed, self.user, at, self._depth, self._tag))


def _settle_state(of: Table, new: Row, old: Row) -> None:
    """A state brings its first reason, and a reason has to belong to its state. Raises Refusal."""
    if "statecode" not in of.columns or not (new.keys() & set(_STATES) or not old):
        return
    state: Any = new.get("statecode", old.get("statecode", 0))  # Any: a number
    reasons = of.columns["statuscode"].options
    if new.get("statuscode") is None and (not old or "statecode" in new):
        new["statuscode"] = next((one.value for one in reasons if one.state == state), reasons[0].value)
    reason = new.get("statuscode", old.get("statuscode"))
    if not any(one.value == reason and one.state == state for one in reasons):
        raise Refusal("0x80048408", f"{reason} is not a valid status code for state code {state} on {of.name}.")
