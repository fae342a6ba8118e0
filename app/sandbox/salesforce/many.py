"""sObject Collections: many records in one call, each with a result of its own. Source: Salesforce's REST pages."""

from collections.abc import Callable
from itertools import groupby
from typing import Any

from app.sandbox.salesforce import checks
from app.sandbox.salesforce.fields import Object
from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.records import as_read, fields_named, may_duplicate
from app.sandbox.salesforce.wire import Call, Json, Refusal, Reply, long_id, not_found
from app.sandbox.salesforce.writing import Ambiguous, Transaction, results

_MOST = 200
_MOST_CHUNKS = 10
_MOST_READ, _MOST_READ_BY_URL = 2_000, 800
_ROLLED_BACK = "Record rolled back because not all records were valid and the request was using AllOrNone header"

Outcome = tuple[str | Refusal, bool | None]
"""An id or why not; and whether it was created, where that is told."""


class Many:
    def __init__(self, org: Org) -> None:
        self._org = org

    def create(self, call: Call) -> Reply:
        def create(transaction: Transaction, of: Object, values: Json) -> Outcome:
            if "id" in {name.lower() for name in values}:
                raise Refusal("INVALID_FIELD", "cannot specify Id in an insert call", fields=["Id"])
            return transaction.create(of, values), None

        return self._each(call, create)

    def update(self, call: Call) -> Reply:
        def update(transaction: Transaction, of: Object, values: Json) -> Outcome:
            id_, rest = _split(values)
            transaction.update(of, id_, rest)
            return id_, None

        return self._each(call, update)

    def upsert(self, call: Call) -> Reply:
        of = self._org.object(call.parts[2])
        by = None if of is None else self._org.field(of, call.parts[3])
        if of is None or by is None or not (by.external_id or by.type == "id"):
            raise not_found("Provided external ID field does not exist or is not accessible: " + call.parts[3])

        def upsert(transaction: Transaction, named: Object, values: Json) -> Outcome:
            if named is not of:
                raise Refusal("INVALID_TYPE", f"records are of type {of.name} in this call", fields=[])
            try:
                return transaction.upsert(of, by, values, checks.from_json)
            except Ambiguous as several:
                raise several.as_refusal() from None

        return self._each(call, upsert)

    def delete(self, call: Call) -> Reply:
        ids = [one for one in call.query.get("ids", "").split(",") if one]
        self._check_count(len(ids))
        is_all = call.query.get("allOrNone", "false").lower() == "true"

        def delete(transaction: Transaction, text: str) -> Outcome:
            id_ = long_id(text)
            if id_ is None:
                raise Refusal("MALFORMED_ID", f"malformed id {text}", fields=[])
            table = self._org.table_of(id_)
            if table is None:
                raise Refusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[])
            transaction.delete(table.of, id_)
            return id_, None

        return self._run(call, ids, delete, all_or_none=is_all)

    def read(self, call: Call) -> Reply:
        """By GET with `ids` and `fields` in the address, or by POST with both in the body."""
        of = self._org.object(call.parts[2])
        if of is None:
            raise not_found()
        if call.method == "GET":
            ids: Any = [one for one in call.query.get("ids", "").split(",") if one]
            names: Any = [one for one in call.query.get("fields", "").split(",") if one]
            most = _MOST_READ_BY_URL
        else:
            body = call.object()
            ids, names, most = body.get("ids"), body.get("fields"), _MOST_READ
        if not _are_texts(ids) or not _are_texts(names):
            raise Refusal("JSON_PARSER_ERROR", "ids and fields are lists of texts")
        if len(ids) > most:
            raise Refusal(
                "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {most} records into this call"
            )
        fields = fields_named(self._org, of, names)
        rows = self._org.table(of.name).rows
        found = []
        for text in ids:
            id_ = long_id(text)
            if id_ is None:
                raise Refusal("MALFORMED_ID", f"malformed id {text}")
            row = rows.get(id_)
            found.append(None if row is None or row.get("IsDeleted") else as_read(of, row, fields, call.url()))
        return Reply(body=found, rows=len(ids))

    # --- parts --------------------------------------------------------------------------------------------------------

    def _each(self, call: Call, write: Callable[[Transaction, Object, Json], Outcome]) -> Reply:
        body = call.object()
        records, is_all = body.get("records"), body.get("allOrNone", False)
        if not isinstance(records, list) or not isinstance(is_all, bool) or not all(map(_is_typed, records)):
            raise Refusal("JSON_PARSER_ERROR", "records is a list of objects with attributes.type; allOrNone a boolean")
        self._check_count(len(records))
        if sum(1 for _ in groupby(record["attributes"]["type"] for record in records)) > _MOST_CHUNKS:
            raise Refusal("INVALID_INPUT", f"cannot have more than {_MOST_CHUNKS} chunks in a single operation")

        def one(transaction: Transaction, record: Json) -> Outcome:
            of = self._org.object(record["attributes"]["type"])
            if of is None:
                message = f"sObject type '{record['attributes']['type']}' is not supported."
                raise Refusal("INVALID_TYPE", message, fields=[])
            return write(transaction, of, {name: value for name, value in record.items() if name != "attributes"})

        return self._run(call, records, one, all_or_none=is_all)

    def _run(
        self, call: Call, items: list[Any], write: Callable[[Transaction, Any], Outcome], *, all_or_none: bool
    ) -> Reply:
        """Any: what `write` takes."""
        transaction = Transaction(self._org, call.user_id, may_duplicate=may_duplicate(call))
        outcomes: list[Outcome] = []
        for item in items:
            try:
                outcomes.append(write(transaction, item))
            except Refusal as fault:
                # What is not of the field's type spoils the whole call, as with any JSON that cannot be read.
                if fault.code == "JSON_PARSER_ERROR":
                    transaction.undo()
                    raise
                outcomes.append((fault, None))
        if all_or_none and any(isinstance(outcome, Refusal) for outcome, _ in outcomes):
            transaction.undo()
            back = Refusal("ALL_OR_NONE_OPERATION_ROLLED_BACK", _ROLLED_BACK, fields=[])
            outcomes = [(outcome if isinstance(outcome, Refusal) else back, None) for outcome, _ in outcomes]
        transaction.commit()
        body = [results(outcome, created=created) for outcome, created in outcomes]
        return Reply(body=body, rows=len(items))

    def _check_count(self, count: int) -> None:
        if count > _MOST:
            message = f"record limit reached. cannot submit more than {_MOST} records into this call"
            raise Refusal("EXCEEDED_MAX_RECORDS", message)
        if not count:
            raise Refusal("REQUIRED_FIELD_MISSING", "records is missing or empty")


def _split(values: Json) -> tuple[str, Json]:
    """A record's id, under any spelling of `id`, and its other fields."""
    said = next((value for name, value in values.items() if name.lower() == "id"), None)
    if said is None:
        raise Refusal("MISSING_ARGUMENT", "Id not specified in an update call", fields=["Id"])
    id_ = long_id(said)
    if id_ is None:
        raise Refusal("MALFORMED_ID", f"malformed id {said}", fields=["Id"])
    return id_, {name: value for name, value in values.items() if name.lower() != "id"}


def _is_typed(record: object) -> bool:
    if not isinstance(record, dict):
        return False
    said = record.get("attributes")
    return isinstance(said, dict) and isinstance(said.get("type"), str)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
