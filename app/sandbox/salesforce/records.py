"""The calls for one object or record: describe, read, create, change, upsert, delete, and what changed.

Source: Salesforce's REST pages on sObject Basic Information, Describe, Rows, Get Updated and Get Deleted.
"""

from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from app.sandbox.salesforce import checks
from app.sandbox.salesforce.fields import Field, Object, describe_field, describe_object
from app.sandbox.salesforce.org import Org, unknown_column
from app.sandbox.salesforce.paths import attributes
from app.sandbox.salesforce.wire import Call, Json, Refusal, Reply, Row, instant, long_id, not_found, stamp
from app.sandbox.salesforce.writing import Transaction, having

_FURTHEST_UPDATED, _FURTHEST_DELETED = timedelta(days=30), timedelta(days=15)
_MOST_IDS = 600_000


class Records:
    def __init__(self, org: Org) -> None:
        self._org = org

    def list_objects(self, call: Call) -> Reply:
        described = [
            describe_object(one, call.url()) for name, one in self._org.objects.items() if self._org.object(name)
        ]
        return Reply(body={"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": described})

    def about(self, call: Call) -> Reply:
        of = self._object(call)
        return Reply(body={"objectDescribe": describe_object(of, call.url()), "recentItems": []})

    def describe(self, call: Call) -> Reply:
        of = self._object(call)
        changed_at = self._org.fields_changed_at.replace(microsecond=0)
        fields = self._org.described(of)
        headers = {"Last-Modified": format_datetime(changed_at, usegmt=True)}
        if _is_known(call.headers.get("if-modified-since"), changed_at):
            return Reply(304, headers=headers)
        body = {
            **describe_object(of, call.url()),
            "actionOverrides": [],
            "childRelationships": [],
            "fields": [describe_field(one, may_edit=self._org.may_edit(of, one)) for one in fields],
            "namedLayoutInfos": [],
            "networkScopeFieldName": None,
            "recordTypeInfos": [],
            "sobjectDescribeOption": "FULL",
            "supportedScopes": [{"label": "All", "name": "everything"}],
        }
        return Reply(body=body, headers=headers)

    def read(self, call: Call) -> Reply:
        of = self._object(call)
        return self._read(call, of, self._standing(of, call.parts[2]))

    def read_by(self, call: Call) -> Reply:
        of = self._object(call)
        by = self._external(of, call.parts[2])
        found = self._found(call, of, by)
        if isinstance(found, Reply):
            return found
        return self._read(call, of, self._standing(of, found))

    def create(self, call: Call) -> Reply:
        of = self._object(call)
        transaction = self._transaction(call)
        id_ = transaction.create(of, _values(call.object()))
        transaction.commit()
        return Reply(201, {"id": id_, "success": True, "errors": []}, rows=1)

    def update(self, call: Call) -> Reply:
        of = self._object(call)
        self._write(call, of, self._known(of, call.parts[2]), _values(call.object()))
        return Reply(204, rows=1)

    def upsert(self, call: Call) -> Reply:
        of = self._object(call)
        by = self._external(of, call.parts[2])
        values = _values(call.object())
        if by.type != "id" and any(name.lower() == by.name.lower() for name in values):
            message = f"The {by.name} field should not be specified in the sobject data."
            raise Refusal("INVALID_FIELD", message)
        found = self._found(call, of, by, or_none=True)
        if isinstance(found, Reply):
            return found
        if found is None:
            if call.query.get("updateOnly", "").lower() == "true":
                raise not_found()
            transaction = self._transaction(call)
            id_ = transaction.create(of, {**values, by.name: call.parts[3]}, _lenient(by))
            transaction.commit()
            return Reply(201, {"id": id_, "success": True, "errors": [], "created": True}, rows=1)
        self._write(call, of, found, values)
        return Reply(200, {"id": found, "success": True, "errors": [], "created": False}, rows=1)

    def delete(self, call: Call) -> Reply:
        of = self._object(call)
        self._delete(call, of, self._known(of, call.parts[2]))
        return Reply(204, rows=1)

    def delete_by(self, call: Call) -> Reply:
        of = self._object(call)
        found = self._found(call, of, self._external(of, call.parts[2]))
        if isinstance(found, Reply):
            return found
        self._delete(call, of, found)
        return Reply(204, rows=1)

    def updated(self, call: Call) -> Reply:
        of, start, covered = self._window(call, _FURTHEST_UPDATED)
        rows = self._org.table(of.name).changed((start, ""), (covered, ""))
        ids = [row["Id"] for row in rows if "IsDeleted" not in row]
        if len(ids) > _MOST_IDS:
            raise Refusal("EXCEEDED_ID_LIMIT", "the number of ids exceeds the limit; ask for a shorter time")
        return Reply(body={"ids": ids, "latestDateCovered": covered}, rows=len(ids))

    def deleted(self, call: Call) -> Reply:
        of, start, covered = self._window(call, _FURTHEST_DELETED)
        rows = self._org.table(of.name).changed((start, ""), (covered, ""))
        gone = [{"id": row["Id"], "deletedDate": row["SystemModstamp"]} for row in rows if "IsDeleted" in row]
        midnight = self._org.now().replace(hour=0, minute=0, second=0, microsecond=0)
        earliest = stamp(midnight - _FURTHEST_DELETED)
        body = {"deletedRecords": gone, "earliestDateAvailable": earliest, "latestDateCovered": covered}
        return Reply(body=body, rows=len(gone))

    # --- parts --------------------------------------------------------------------------------------------------------

    def _object(self, call: Call) -> Object:
        found = self._org.object(call.parts[1])
        if found is None:
            raise not_found()
        return found

    def _known(self, of: Object, text: str) -> str:
        id_ = long_id(text)
        if id_ is None or id_ not in self._org.table(of.name).rows:
            raise not_found()
        return id_

    def _standing(self, of: Object, text: str) -> Row:
        row = self._org.table(of.name).rows[self._known(of, text)]
        if row.get("IsDeleted"):
            raise not_found()
        return row

    def _external(self, of: Object, name: str) -> Field:
        field = self._org.field(of, name)
        if field is None or not (field.external_id or field.type == "id"):
            raise not_found("Provided external ID field does not exist or is not accessible: " + name)
        return field

    def _found(self, call: Call, of: Object, by: Field, *, or_none: bool = False) -> Any:
        """The id of the record with this external id; a reply of 300 where several have it. Any: or None, if asked."""
        try:
            value = checks.from_cell(by, call.parts[3])
        except Refusal:
            raise not_found() from None
        found = [] if value is None else having(self._org, of, by, value)
        if len(found) > 1:
            return Reply(300, [call.url("sobjects", of.name, id_) for id_ in found])
        if found:
            return found[0]
        if not or_none or by.type == "id":
            raise not_found()
        return None

    def _read(self, call: Call, of: Object, row: Row) -> Reply:
        fields = list(self._org.readable(of))
        if "fields" in call.query:
            fields = fields_named(self._org, of, call.query["fields"].split(","))
        return Reply(body=as_read(of, row, fields, call.url()), rows=1)

    def _transaction(self, call: Call) -> Transaction:
        return Transaction(self._org, call.user_id, may_duplicate=may_duplicate(call))

    def _write(self, call: Call, of: Object, id_: str, values: Json) -> None:
        transaction = self._transaction(call)
        transaction.update(of, id_, values)
        transaction.commit()

    def _delete(self, call: Call, of: Object, id_: str) -> None:
        transaction = self._transaction(call)
        transaction.delete(of, id_)
        transaction.commit()

    def _window(self, call: Call, furthest: timedelta) -> tuple[Object, str, str]:
        """The object, the start, and up to when the reply tells everything: a whole minute."""
        of = self._object(call)
        start, end = (instant(call.query.get(name, "")) for name in ("start", "end"))
        now = self._org.now()
        if start is None or end is None:
            raise Refusal("INVALID_REPLICATION_DATE", "start and end are instants: 2026-10-20T10:00:00Z")
        if start >= end or start < now - furthest:
            raise Refusal("INVALID_REPLICATION_DATE", f"start is before end, and within {furthest.days} days of now")
        covered = min(end, now).replace(second=0, microsecond=0)
        return of, stamp(start), stamp(covered)


def may_duplicate(call: Call) -> bool:
    return "allowsave=true" in call.headers.get("sforce-duplicate-rule-header", "").replace(" ", "").lower()


def fields_named(org: Org, of: Object, names: list[str]) -> list[Field]:
    """Raises Refusal: INVALID_FIELD."""
    fields = []
    for name in names:
        field = org.field(of, name.strip())
        if field is None:
            raise unknown_column(name.strip(), of)
        fields.append(field)
    return fields


def as_read(of: Object, row: Row, fields: list[Field], base: str) -> Json:
    own = {field.name: field.read(row) for field in fields}
    return {"attributes": attributes(of.name, row["Id"], base), **own, "Id": row["Id"]}


def _values(body: Json) -> Json:
    return {name: value for name, value in body.items() if name != "attributes"}


def _lenient(by: Field) -> Any:  # Any: a reader of values, see writing.Read
    """The external id comes from the path, as text, whatever its type."""
    return lambda field, value: checks.from_cell(field, value) if field == by else checks.from_json(field, value)


def _is_known(header: str | None, changed_at: datetime) -> bool:
    if header is None:
        return False
    try:
        return parsedate_to_datetime(header) >= changed_at
    except (TypeError, ValueError):
        return False
