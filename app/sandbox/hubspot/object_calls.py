"""Calls for one object, or a list of them."""

from itertools import islice
from urllib.parse import urlencode

from app.sandbox.hubspot import catalog, showing, writing
from app.sandbox.hubspot.catalog import ObjectType
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.records import Author, Record
from app.sandbox.hubspot.table import Table
from app.sandbox.hubspot.wire import (
    MAX_PAGE,
    Call,
    Json,
    Refused,
    Reply,
    as_object,
    invalid,
    not_found,
    not_json,
    number_of,
    text_of,
)

_MOST_WITH_HISTORY = 50


def table_of(portal: Portal, call: Call) -> Table:
    """Raises Refused (400)."""
    return portal.tables[type_named(call.path["type"]).name]


def type_named(name: str) -> ObjectType:
    of = catalog.BY_NAME.get(name)
    if of is None:
        raise Refused(400, f"Unable to infer object type from: {name[:60]}", None)
    return of


def author(portal: Portal, call: Call) -> Author:
    app = portal.apps[call.caller.app_id]
    return Author("INTEGRATION", str(app.id), None, app.name)


def number(portal: Portal, table: Table, id_: str, id_property: str | None) -> int | None:
    """The record's number; None if there can be none. Raises Refused (400)."""
    if id_property in (None, "", "hs_object_id"):
        return number_of(id_)
    if id_property != "email" or not table.of.is_contact:
        raise invalid(f"Unable to perform the request by non-unique {table.of.id} property")
    record = portal.contact_of(id_)
    if record is None:
        return None
    is_primary = record.values.get("email") == id_.lower()
    return record.id if is_primary or not portal.faults.id_property_primary_only else None


def found(portal: Portal, table: Table, id_: str, id_property: str | None = None) -> Record | None:
    """A record that is there. Raises Refused (400)."""
    at = number(portal, table, id_, id_property)
    return None if at is None else writing.find(portal, table, at)


def to_write(portal: Portal, table: Table, id_: str, id_property: str | None = None) -> Record | None:
    """A record that may be written. Raises Refused (400, 423)."""
    record = found(portal, table, id_, id_property)
    if record is not None and table.of.is_contact and str(record.id) in portal.faults.locked_ids:
        raise Refused(423, "The resource is locked. Wait at least two seconds before trying again.", "LOCKED")
    if portal.faults.refuse_merged_writes and number_of(id_) in table.merged:
        return None
    return record


def index(portal: Portal, call: Call) -> Reply:
    """Sorted by id; a page goes on after the last id of the one before, whatever was changed since."""
    table, query = table_of(portal, call), call.query
    history = query.listed("propertiesWithHistory")
    limit = query.limit(10, _MOST_WITH_HISTORY if history else MAX_PAGE)
    if portal.faults.page_rows:
        limit = min(limit, portal.faults.page_rows)
    asked = showing.view(portal, table.of, query.listed("properties"), history)
    archived, after = query.flag("archived"), query.integer("after", 0)
    there = (one for one in table.after(after, archived=archived) if _is_listed(portal, one))
    page = list(islice(there, limit + 1))
    linked = query.listed("associations")
    rows = [{**showing.shown(one, asked), **links(portal, table.of, one, linked)} for one in page[:limit]]
    body: Json = {"results": rows}
    if len(page) > limit:
        last = str(page[limit - 1].id)
        body["paging"] = {"next": {"after": last, "link": _link(call, limit, last)}}
    return Reply(body, rows=len(rows))


def get(portal: Portal, call: Call) -> Reply:
    table, query = table_of(portal, call), call.query
    asked = showing.view(portal, table.of, query.listed("properties"), query.listed("propertiesWithHistory"))
    if query.flag("archived"):
        record = table.archived.get(number_of(call.path["id"]) or 0)
        record = record if record is not None and _is_listed(portal, record) else None
    else:
        record = found(portal, table, call.path["id"], query.text("idProperty"))
    if record is None:
        raise not_found()
    linked = query.listed("associations")
    return Reply({**showing.shown(record, asked), **links(portal, table.of, record, linked)}, rows=1)


def create(portal: Portal, call: Call) -> Reply:
    table, body = table_of(portal, call), call.object(("properties", "associations"))
    values = writing.checked(portal, table.of, body.get("properties"))
    others = associated(portal, body)
    made = writing.create(portal, table.of, values, author(portal, call))
    for other in others:
        writing.link(portal, (table.of.name, made.id), other)
    portal.writes[table.of.name][made.id] += 1
    return Reply(showing.shown(made, showing.view(portal, table.of, values)), 201, 1)


def change(portal: Portal, call: Call) -> Reply:
    table, body = table_of(portal, call), call.object(("properties",))
    record = to_write(portal, table, call.path["id"], call.query.text("idProperty"))
    if record is None:
        raise not_found()
    values = writing.checked(portal, table.of, body.get("properties"))
    changed = writing.change(portal, table.of, record, values, author(portal, call))
    portal.writes[table.of.name][changed.id] += 1
    return Reply(showing.shown(changed, showing.view(portal, table.of, values)), rows=1)


def archive(portal: Portal, call: Call) -> Reply:
    """Also of what is not there: it is not there afterwards."""
    table = table_of(portal, call)
    record = to_write(portal, table, call.path["id"])
    if record is not None:
        writing.archive(portal, table.of, record, author(portal, call))
    return Reply(None, 204)


def merge(portal: Portal, call: Call) -> Reply:
    table, body = table_of(portal, call), call.object(("primaryObjectId", "objectIdToMerge"))
    if not table.of.is_contact:
        raise invalid(f"Merging objects of type {table.of.id} is not supported")
    both = [to_write(portal, table, text_of(body, name)) for name in ("primaryObjectId", "objectIdToMerge")]
    primary, other = both
    if primary is None or other is None:
        raise not_found()
    survivor = writing.merge(portal, table.of, primary, other, author(portal, call))
    return Reply(showing.shown(survivor, showing.view(portal, table.of, ())), rows=1)


def purge(portal: Portal, call: Call) -> Reply:
    """`gdpr-delete`: of an address that nobody has, nothing is to be done."""
    table, body = table_of(portal, call), call.object(("objectId", "idProperty"))
    id_property = body.get("idProperty")
    if not table.of.is_contact:
        raise not_found()
    at = number(portal, table, text_of(body, "objectId"), id_property if isinstance(id_property, str) else None)
    if at is not None and not portal.faults.forget_merged:
        at = table.survivor(at)
    if at is not None and (at in table.live or at in table.archived):
        writing.purge(portal, table.of, at, author(portal, call))
    elif id_property != "email":
        raise not_found()
    return Reply(None, 204)


def associated(portal: Portal, body: Json) -> list[tuple[str, int]]:
    """What a new object is to be associated with. Raises Refused (400)."""
    given = body.get("associations") or []
    if not isinstance(given, list):
        raise not_json("Cannot deserialize value of 'associations'")
    found_: list[tuple[str, int]] = []
    for one in given:
        asked = as_object(one, ("to", "types"))
        types = asked.get("types")
        first = types[0] if isinstance(types, list) and types and isinstance(types[0], dict) else {}
        of = next((of for of in catalog.TYPES if first.get("associationTypeId") in _both(of)), None)
        id_ = number_of(text_of(as_object(asked.get("to")), "id"))
        if of is None or id_ is None:
            raise invalid("Invalid association type or object id")
        name = "contacts" if first["associationTypeId"] == of.to_contact else of.name
        if writing.find(portal, portal.tables[name], id_) is None:
            raise Refused(400, f"Object {id_} of type {name} does not exist", "OBJECT_NOT_FOUND")
        found_.append((name, portal.tables[name].survivor(id_)))
    return found_


def _both(of: ObjectType) -> tuple[int, ...]:
    return () if of.is_contact else (of.to_contact, of.from_contact)


def links(portal: Portal, of: ObjectType, record: Record, asked: list[str]) -> Json:
    """The associations of a record with objects of the asked types."""
    said: Json = {}
    for name in asked:
        other = type_named(name)
        kind = f"{of.singular}_to_{other.singular}"
        ids = [number for type_, number in portal.links.get((of.name, record.id), ()) if type_ == other.name]
        if ids:
            said[other.name] = {"results": [{"id": str(one), "type": kind} for one in ids]}
    return {"associations": said} if said else {}


def _is_listed(portal: Portal, record: Record) -> bool:
    return record.survivor is None or portal.faults.merged_are_archived


def _link(call: Call, limit: int, after: str) -> str:
    kept: list[tuple[str, str]] = [("limit", str(limit)), ("after", after)]
    query = call.query
    kept += [("properties", ",".join(names)) for names in (query.listed("properties"),) if names]
    kept += [("archived", "true")] if query.flag("archived") else []
    return f"{call.base_url}{call.url_path}?{urlencode(kept)}"
