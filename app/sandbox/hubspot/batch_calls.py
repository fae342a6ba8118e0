"""Calls for up to a hundred objects: partial answers are 207, what no row can be done with is 400 for all."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from app.sandbox.hubspot import showing, writing
from app.sandbox.hubspot.object_calls import associated, author, found, table_of, to_write
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.records import Record
from app.sandbox.hubspot.table import Table
from app.sandbox.hubspot.wire import Call, Json, Refused, Reply, as_object, invalid, iso, not_json, text_of, texts_of

_TRACE = "objectWriteTraceId"

Values = Mapping[str, str]
Job = tuple[Json, Callable[[], Json]]
"""What a row is called in errors, and what does it."""


def read(portal: Portal, call: Call) -> Reply:
    table = table_of(portal, call)
    inputs = call.inputs(known=("inputs", "properties", "propertiesWithHistory", "idProperty"))
    body = call.object()
    asked = showing.view(portal, table.of, texts_of(body, "properties"), texts_of(body, "propertiesWithHistory"))
    id_property = _id_property(body)
    rows: dict[int, Json] = {}
    missing: list[str] = []
    for one in inputs:
        id_ = text_of(as_object(one), "id")
        record = (
            _archived(portal, table, id_) if call.query.flag("archived") else found(portal, table, id_, id_property)
        )
        if record is None:
            missing.append(id_)
        else:
            rows[record.id] = showing.shown(record, asked)
    return answer(portal, list(rows.values()), [_missing(table, missing)] if missing else [])


def create(portal: Portal, call: Call) -> Reply:
    """Where each row has a trace id, the others are made although one cannot be; else none is."""
    table, by = table_of(portal, call), author(portal, call)
    inputs = [as_object(one, ("properties", "associations", _TRACE)) for one in call.inputs()]
    traces = [one.get(_TRACE) for one in inputs]
    is_traced = bool(inputs) and all(isinstance(one, str) for one in traces) and len(set(traces)) == len(traces)

    def make(row: Json) -> Json:
        values = writing.checked(portal, table.of, row.get("properties"))
        others = associated(portal, row)
        made = writing.create(portal, table.of, values, by)
        for other in others:
            writing.link(portal, (table.of.name, made.id), other)
        portal.writes[table.of.name][made.id] += 1
        trace = {_TRACE: row[_TRACE]} if is_traced else {}
        return {**showing.shown(made, showing.view(portal, table.of, values)), **trace}

    if not is_traced:
        _check_new(portal, table, inputs)
        return answer(portal, [make(row) for row in inputs], [], 201)
    return _each(portal, [({_TRACE: [one[_TRACE]]}, partial(make, one)) for one in inputs], 201)


def _check_new(portal: Portal, table: Table, inputs: list[Json]) -> None:
    """Raises Refused (400, 409) if any of these cannot be made."""
    new: set[str] = set()
    for row in inputs:
        values = writing.checked(portal, table.of, row.get("properties"))
        associated(portal, row)
        writing.check_conflict(portal, table.of, values)
        if not table.of.is_contact and not values.get("hs_timestamp"):
            raise invalid("Some required properties were not set.", context={"properties": ["hs_timestamp"]})
        address = values.get("email", "")
        if address in new:
            raise Refused(409, "Duplicate email addresses found in the batch", "CONFLICT")
        new |= {address} - {""}


def update(portal: Portal, call: Call) -> Reply:
    """An id that is unknown is told; one property that is unknown, or a value that cannot be, fails all."""
    table, by = table_of(portal, call), author(portal, call)
    inputs = [as_object(one, ("id", "idProperty", "properties", _TRACE)) for one in call.inputs()]
    if any(one.get("idProperty") not in (None, "", "hs_object_id") for one in inputs):
        raise invalid(f"Unable to perform update/upsert by non-unique {table.of.id} property")
    ids = [text_of(one, "id") for one in inputs]
    _refuse_twice(ids)
    changes = [writing.checked(portal, table.of, one.get("properties")) for one in inputs]
    records = [to_write(portal, table, id_) for id_ in ids]
    missing = [id_ for id_, record in zip(ids, records, strict=True) if record is None]
    if not portal.faults.partial_conflicts:
        _check_conflicts(portal, table, [(one.id, given) for one, given in zip(records, changes, strict=True) if one])

    def write(number: int, values: Values) -> Json:
        changed = writing.change(portal, table.of, table.live[number], values, by)
        portal.writes[table.of.name][changed.id] += 1
        return showing.shown(changed, showing.view(portal, table.of, values))

    jobs: list[Job] = [
        ({"ids": [id_]}, partial(write, record.id, values))
        for id_, record, values in zip(ids, records, changes, strict=True)
        if record is not None
    ]
    return _each(portal, jobs, 200, [_missing(table, missing)] if missing else [])


def _check_conflicts(portal: Portal, table: Table, changes: Iterable[tuple[int | None, Values]]) -> None:
    """Raises Refused (409) if one gets an address that another has, or is to get."""
    new: dict[str, int | None] = {}
    for number, values in changes:
        writing.check_conflict(portal, table.of, values, number)
        address = values.get("email", "") if table.of.is_contact else ""
        if address and address in new:
            raise Refused(409, "Duplicate email addresses found in the batch", "CONFLICT")
        new[address] = number


def upsert(portal: Portal, call: Call) -> Reply:
    """By address: whom it is, is changed; who is not there, is made."""
    table, by = table_of(portal, call), author(portal, call)
    inputs = [as_object(one, ("id", "idProperty", "properties", _TRACE)) for one in call.inputs()]
    if not table.of.is_contact or any(one.get("idProperty") != "email" for one in inputs):
        raise invalid(f"Unable to perform update/upsert by non-unique {table.of.id} property")
    ids = [text_of(one, "id").lower() for one in inputs]
    _refuse_twice(ids)

    def write(number: int | None, values: Values) -> Json:
        if number is None:
            kept = writing.create(portal, table.of, values, by)
        else:
            kept = writing.change(portal, table.of, table.live[number], values, by)
        portal.writes[table.of.name][kept.id] += 1
        return {**showing.shown(kept, showing.view(portal, table.of, values)), "new": number is None}

    jobs: list[Job] = []
    changes: list[tuple[int | None, Values]] = []
    for id_, one in zip(ids, inputs, strict=True):
        given, record = one.get("properties"), to_write(portal, table, id_, "email")
        # Who is found by an additional address keeps the primary one.
        own = {"email": id_} if record is None and isinstance(given, dict) else {}
        values = writing.checked(portal, table.of, {**own, **given} if isinstance(given, dict) else given)
        number = None if record is None else record.id
        changes.append((number, values))
        jobs.append(({"ids": [id_]}, partial(write, number, values)))
    if not portal.faults.partial_conflicts:
        _check_conflicts(portal, table, changes)
    return _each(portal, jobs, 200)


def archive(portal: Portal, call: Call) -> Reply:
    table, by = table_of(portal, call), author(portal, call)
    ids = [text_of(as_object(one), "id") for one in call.inputs()]
    for record in {one.id: one for one in (to_write(portal, table, id_) for id_ in ids) if one is not None}.values():
        writing.archive(portal, table.of, record, by)
    return Reply(None, 204)


def answer(portal: Portal, rows: list[Json], errors: list[Json], status: int = 200) -> Reply:
    at = iso(portal.millis())
    body: Json = {"status": "COMPLETE", "results": rows, "startedAt": at, "completedAt": at}
    if errors:
        body |= {"numErrors": len(errors), "errors": errors}
    return Reply(body, 207 if errors else status, len(rows))


def fault(category: str, message: str, context: Json, **more: Any) -> Json:  # Any: JSON
    """One of a batch's errors."""
    return {
        "status": "error", "category": category, "message": message, "context": context, "errors": [], "links": {},
        **more,
    }  # fmt: skip


def _each(portal: Portal, jobs: Iterable[Job], status: int, errors: Iterable[Json] = ()) -> Reply:
    done: list[Json] = []
    told = list(errors)
    for context, job in jobs:
        try:
            done.append(job())
        except Refused as refused:
            told.append(fault(refused.category or "", refused.message, {**context, **_names(refused)}))
    return answer(portal, done, told, status)


def _names(refused: Refused) -> Json:
    """The properties that were refused."""
    names = [name for one in refused.more.get("errors", ()) for name in one["context"].get("propertyName", ())]
    return {"propertyName": names} if names else {}


def _missing(table: Table, ids: list[str]) -> Json:
    kind = table.of.singular.upper()
    what = f"Could not get some {kind} objects, they may be deleted or not exist. Check that ids are valid."
    return fault("OBJECT_NOT_FOUND", what, {"ids": ids})


def _refuse_twice(ids: list[str]) -> None:
    twice = sorted({id_ for id_ in ids if ids.count(id_) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise invalid(f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique")


def _id_property(body: Json) -> str | None:
    given = body.get("idProperty")
    if not isinstance(given, str | None):
        raise not_json("Cannot deserialize value of 'idProperty'")
    return given


def _archived(portal: Portal, table: Table, id_: str) -> Record | None:
    record = table.archived.get(int(id_)) if id_.isdecimal() else None
    return record if record is not None and (record.survivor is None or portal.faults.merged_are_archived) else None
