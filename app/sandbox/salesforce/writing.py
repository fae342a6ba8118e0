"""How records are made, changed and deleted: every check, and all that a write sets off."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.sandbox.salesforce import checks
from app.sandbox.salesforce.fields import Field, Object
from app.sandbox.salesforce.org import INTEGRATION, SECOND_TOOL, TRACKED, Org, Written, audit, restore, unknown_column
from app.sandbox.salesforce.table import Table
from app.sandbox.salesforce.wire import Json, Refusal, Row

Values = Mapping[str, Any]
"""By field name, in any case. Any: JSON."""
Read = Callable[[Field, Any], Any]
"""`checks.from_json` or `checks.from_cell`. Any: JSON."""
_PEOPLE = ("Lead", "Contact")
_OPT_OUT = "HasOptedOutOfEmail"


class Transaction:
    """Writes of one user at one instant. What was written can be read at once, and taken back until the commit.

    Each write raises Refusal where the API would refuse the record; then the record is as it was.
    """

    def __init__(self, org: Org, user_id: str, *, may_duplicate: bool = False) -> None:
        self._org = org
        self._user = user_id
        self._at = org.stamp()
        self._may_duplicate = may_duplicate
        self._written: list[Written] = []
        self._flips: list[tuple[Object, str]] = []
        self._says_who_may = False

    def create(self, of: Object, values: Values, read: Read = checks.from_json) -> str:
        """The new record's id."""
        if not of.createable:
            raise Refusal("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type cannot be inserted: {of.label}")
        new = self._cleaned(of, values, read, creating=True)
        for field in of.fields.values():
            if field.default is not None:
                new.setdefault(field.name, field.default)
            elif field.name == "OwnerId":
                new.setdefault("OwnerId", self._user)
        absent = [field.name for field in of.fields.values() if field.required and field.name not in new]
        if absent:
            raise checks.missing(absent)
        self._check_duplicates(of, new)
        self._check_lock("")
        id_ = self._org.new_id(of.prefix)
        self._put(of, {"Id": id_} | new, None)
        return id_

    def update(self, of: Object, id_: str, values: Values, read: Read = checks.from_json) -> None:
        old = self._standing(of, id_)
        if old.get("IsConverted"):
            raise Refusal("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", fields=[])
        new = self._cleaned(of, values, read, creating=False)
        if id_ in self._org.faults.refused_ids:
            raise Refusal(
                "FIELD_CUSTOM_VALIDATION_EXCEPTION", "A validation rule of your admin refuses this", fields=[]
            )
        self._check_unique(of, new, id_)
        self._check_lock(id_)
        merged = {name: value for name, value in {**old, **new}.items() if value is not None and value is not False}
        if self._org.faults.email_change_clears_bounce and merged.get("Email") != old.get("Email"):
            merged.pop("EmailBouncedDate", None)
            merged.pop("EmailBouncedReason", None)
        self._put(of, merged, old)

    def delete(self, of: Object, id_: str) -> None:
        if not of.deletable:
            raise Refusal("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", fields=[])
        old = self._standing(of, id_)
        self._check_lock(id_)
        self._put(of, {**old, "IsDeleted": True}, old)

    def upsert(self, of: Object, by: Field, values: Values, read: Read) -> tuple[str, bool]:
        """Write the record whose external id `by` has the value that `values` name. Its id, and whether it is new.

        Raises Ambiguous if several have it.
        """
        value = next((value for name, value in values.items() if name.lower() == by.name.lower()), None)
        if value is None or value == "":
            raise Refusal("MISSING_ARGUMENT", f"{by.name} not specified", fields=[])
        found = having(self._org, of, by, read(by, value))
        if len(found) > 1:
            raise Ambiguous(found)
        if found:
            rest = {name: one for name, one in values.items() if by.type != "id" or name.lower() != "id"}
            self.update(of, found[0], rest, read)
            return found[0], False
        if by.type == "id":
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[])
        return self.create(of, values, read), True

    def undo(self) -> None:
        """Take all back."""
        restore(self._written)
        self._flips = []

    def commit(self) -> None:
        """Let happen what writes set off: access granted, messages sent, another tool's answer."""
        if self._says_who_may:
            self._org.grant()
        faults = self._org.faults
        if self._user == INTEGRATION:
            self._org.writes.update({id_ for table, id_, _ in self._written if table.of.updateable})
        if faults.outbound_url and not (faults.outbound_mutes_us and self._user == INTEGRATION):
            written = dict.fromkeys((table, id_) for table, id_, _ in self._written if table.of.name in _PEOPLE)
            self._org.changed += [(table.of, table.rows[id_]) for table, id_ in written]
        for of, id_ in self._flips:
            table = self._org.table(of.name)
            row = table.rows[id_]
            other = {**row, _OPT_OUT: not row.get(_OPT_OUT, False), **audit(self._org.stamp(), SECOND_TOOL, row)}
            table.put({name: value for name, value in other.items() if value is not False})
        self._written = []
        self._flips = []

    # --- checks -------------------------------------------------------------------------------------------------------

    def _cleaned(self, of: Object, values: Values, read: Read, *, creating: bool) -> Row:
        cleaned: Row = {}
        for name, value in values.items():
            field = of.fields.get(name.lower())
            if field is None:
                raise unknown_column(name, of)
            allowed = field.createable if creating else field.updateable
            if not allowed or not self._org.may_edit(of, field):
                raise Refusal(
                    "INVALID_FIELD_FOR_INSERT_UPDATE",
                    f"Unable to create/update fields: {field.name}. Please check the security settings of this field "
                    "and verify that it is read/write for your profile or permission set.",
                    fields=[field.name],
                )
            kept = read(field, value)
            if field.refers_to and kept is not None:
                self._check_reference(field, kept)
            if creating and (kept is None or kept is False):
                continue
            cleaned[field.name] = kept
        return cleaned

    def _check_reference(self, field: Field, id_: str) -> None:
        table = self._org.table_of(id_)
        if table is None or table.of.name not in field.refers_to:
            message = f"{field.label}: id value of incorrect type: {id_}"
            raise Refusal("FIELD_INTEGRITY_EXCEPTION", message, fields=[field.name])
        row = table.rows.get(id_)
        if row is None or row.get("IsDeleted"):
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[field.name])

    def _check_duplicates(self, of: Object, new: Row) -> None:
        self._check_unique(of, new, "")
        if of.name == "FieldPermissions":
            object_name, _, name = str(new["Field"]).partition(".")
            found = self._org.objects.get(object_name.lower())
            if found is None or name.lower() not in found.fields or found.name != new["SobjectType"]:
                message = f"Field Name: bad value for restricted picklist field: {new['Field']}"
                raise Refusal("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, fields=["Field"])
        for field, other in _PAIRS.get(of.name, ()):
            for id_ in self._org.table(of.name).having(field, new[field]):
                row = self._org.table(of.name).rows[id_]
                if row.get(other) == new.get(other) and not row.get("IsDeleted"):
                    raise _duplicate(field, id_)
        if of.name in _PEOPLE and self._org.faults.duplicate_rule and not self._may_duplicate and "Email" in new:
            objects = (self._org.objects[name.lower()] for name in _PEOPLE)
            if any(having(self._org, one, one.fields["email"], new["Email"]) for one in objects):
                raise Refusal("DUPLICATES_DETECTED", "Use one of these records?", fields=[])

    def _check_unique(self, of: Object, new: Row, own_id: str) -> None:
        for name, value in new.items():
            field = of.fields[name.lower()]
            if field.unique and value is not None:
                for id_ in having(self._org, of, field, value):
                    if id_ != own_id:
                        raise _duplicate(name, id_)

    def _check_lock(self, id_: str) -> None:
        org = self._org
        org.attempts += 1
        if id_ in org.faults.locked_ids or (org.faults.lock_every > 0 and org.attempts % org.faults.lock_every == 0):
            message = f"unable to obtain exclusive access to this record or 1 records: {id_}"
            raise Refusal("UNABLE_TO_LOCK_ROW", message, fields=[])

    def _standing(self, of: Object, id_: str) -> Row:
        if not of.updateable:
            raise Refusal("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", fields=[])
        row = self._org.table(of.name).rows.get(id_)
        if row is None:
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[])
        if row.get("IsDeleted"):
            raise Refusal("ENTITY_IS_DELETED", "entity is deleted", status=404, fields=[])
        return row

    # --- what follows -------------------------------------------------------------------------------------------------

    def _put(self, of: Object, new: Row, old: Row | None) -> None:
        """Keep a record that is to be written, with what follows from it."""
        self._follow(of, new, old)
        row = {**new, **audit(self._at, self._user, old)}
        table = self._org.table(of.name)
        self._keep(table, row, old)
        if of.name in _PEOPLE:
            self._keep_history(of, row, old)
            is_ours = self._user == INTEGRATION and old is not None
            if is_ours and self._org.faults.opt_out_flips_back and row.get(_OPT_OUT) != (old or {}).get(_OPT_OUT):
                self._flips.append((of, row["Id"]))
        elif of.name in ("FieldPermissions", "PermissionSetAssignment"):
            self._says_who_may = True

    def _follow(self, of: Object, new: Row, old: Row | None) -> None:
        if of.name in _PEOPLE and self._user == INTEGRATION and not new.get("IsDeleted"):
            for name, value in self._org.faults.flow_sets.items():
                field = of.fields.get(name.lower())
                if field is not None and field.updateable:
                    with contextlib.suppress(Refusal):
                        new[field.name] = checks.from_json(field, value)
        elif of.name == "Task" and new.get("Status") == "Completed" and "CompletedDateTime" not in new:
            new["CompletedDateTime"] = self._at
        elif of.name == "CampaignMember" and new.get("Status") == "Responded":
            new.setdefault("FirstRespondedDate", self._at[:10])
        elif of.name == "Event" and "StartDateTime" in new:
            new.setdefault("ActivityDate", str(new["StartDateTime"])[:10])
        who = new.get("WhoId")
        if of.name in ("Task", "Event") and who is not None and old is None:
            table = self._org.table_of(who)
            person = None if table is None else table.rows.get(who)
            if table is not None and person is not None:
                # The person counts as unchanged: no new stamp.
                latest = max(person.get("LastActivityDate", ""), new.get("ActivityDate") or self._at[:10])
                table.put({**person, "LastActivityDate": latest})

    def _keep_history(self, of: Object, new: Row, old: Row | None) -> None:
        if self._org.faults.no_history or old is None:
            return
        history = self._org.objects[f"{of.name.lower()}history"]
        for name in sorted(TRACKED & (old.keys() | new.keys())):
            field = of.fields.get(name.lower())
            if field is None or old.get(name) == new.get(name):
                continue
            row: Row = {
                "Id": self._org.new_id(history.prefix), f"{of.name}Id": new["Id"], "Field": name,
                "OldValue": field.read(old), "NewValue": field.read(new), "CreatedDate": self._at,
                "CreatedById": self._user,
            }  # fmt: skip
            table = self._org.table(history.name)
            self._keep(table, {key: value for key, value in row.items() if value is not None}, None)

    def _keep(self, table: Table, row: Row, old: Row | None) -> None:
        table.put(row)
        self._written.append((table, row["Id"], old))
        self._org.note((table, row["Id"], old))


class Ambiguous(Exception):
    """Several records have the external id. `ids` are theirs."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__(f"{len(ids)} records")
        self.ids = ids

    def as_refusal(self) -> Refusal:
        """Where a record has no reply of its own."""
        message = f"external id: more than one record found for external id field: [{', '.join(self.ids)}]"
        return Refusal("DUPLICATE_EXTERNAL_ID", message, fields=[])


def having(org: Org, of: Object, field: Field, value: Any) -> list[str]:  # Any: JSON
    """The ids of the records, not deleted, with this value of an indexed field or this id."""
    table = org.table(of.name)
    ids: Iterable[str] = [value] if field.type == "id" else table.having(field.name, value)
    standing = [id_ for id_ in ids if id_ in table.rows and not table.rows[id_].get("IsDeleted")]
    if field.case_sensitive:
        return [id_ for id_ in standing if table.rows[id_].get(field.name) == value]
    return standing


def results(outcome: str | Refusal, *, created: bool | None = None) -> Json:
    """One record's result among several: its id, or why it was refused."""
    if isinstance(outcome, Refusal):
        return {"success": False, "errors": [outcome.as_row()]}
    made: Json = {"id": outcome, "success": True, "errors": []}
    return made if created is None else {**made, "created": created}


_PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "FieldPermissions": (("Field", "ParentId"),),
    "PermissionSetAssignment": (("AssigneeId", "PermissionSetId"),),
}
"""Of each of these no two have the same."""


def _duplicate(field: str, id_: str) -> Refusal:
    message = f"duplicate value found: {field} duplicates value on record with id: {id_}"
    return Refusal("DUPLICATE_VALUE", message, fields=[])
