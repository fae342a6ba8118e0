"""Writing records: what may be said, what it changes, and who is told."""

from collections.abc import Iterable, Mapping

from app.sandbox.hubspot import values as kinds
from app.sandbox.hubspot.catalog import BOUNCES, ObjectType, opted_out_of
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.records import Author, Entry, Event, Record
from app.sandbox.hubspot.table import Table, addresses
from app.sandbox.hubspot.values import Unfit
from app.sandbox.hubspot.wire import Refused, invalid, not_json

Values = Mapping[str, str]
_MOST_ENTRIES = 20


def checked(portal: Portal, of: ObjectType, given: object, *, by_human: bool = False) -> dict[str, str]:
    """What a body's `properties` change; empty text clears. Raises Refused (400); then nothing is changed."""
    if not isinstance(given, dict):
        raise not_json("some of required attributes are not set [properties]")
    known = portal.properties[of.name]
    changes: dict[str, str] = {}
    faults: list[tuple[str, Unfit]] = []
    for name, value in given.items():
        one = known.get(name)
        if one is not None and one.unseen > 0:
            one.unseen -= 1
            one = None
        if one is None or one.is_archived:
            faults.append((name, Unfit("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')))
        elif one.is_read_only and not (by_human and name in (*BOUNCES, "hs_additional_emails")):
            what = f'"{name}" is a read only property; its value cannot be set.'
            faults.append((name, Unfit("READ_ONLY_VALUE", what)))
        else:
            try:
                changes[name] = kinds.taken(one, value)
            except Unfit as fault:
                faults.append((name, fault))
    if faults:
        raise kinds.refusal(faults)
    return changes


def check_conflict(portal: Portal, of: ObjectType, changes: Values, own: int | None = None) -> None:
    """Raises Refused (409) if another contact has the address."""
    if not of.is_contact:
        return
    for address in filter(None, (changes.get("email", ""), *changes.get("hs_additional_emails", "").split(";"))):
        holder = portal.tables["contacts"].holders.get(address)
        if holder is not None and holder != own:
            raise Refused(409, f"Contact already exists. Existing ID: {holder}", "CONFLICT")


def create(portal: Portal, of: ObjectType, given: Values, author: Author) -> Record:
    """Make a record of checked values. Raises Refused (400, 409)."""
    if not of.is_contact and not given.get("hs_timestamp"):
        what = "Error creating the object. Some required properties were not set."
        raise invalid(what, context={"properties": ["hs_timestamp"]})
    check_conflict(portal, of, given)
    at = portal.stamp()
    known = {name: value for name, value in given.items() if value}
    if of.is_contact:
        known = {**_said_by(portal, known.get("email", "")), **known}
    record = Record(portal.next_id("object"), at, at, known, author)
    portal.tables[of.name].put(record)
    _tell(portal, of, "creation", record.id, author, changeFlag="CREATED")
    for name, value in known.items():
        _tell_change(portal, of, record, name, value, author)
    return record


def change(portal: Portal, of: ObjectType, record: Record, given: Values, author: Author) -> Record:
    """Set checked values. Raises Refused (409)."""
    if of.is_contact and "email" in given:
        given = _of_new_address(portal, record, given)
    check_conflict(portal, of, given, record.id)
    return put(portal, of, record, given, author)


def put(
    portal: Portal, of: ObjectType, record: Record, given: Values, author: Author, *, quiet: bool = False
) -> Record:
    """Set values that need no check. `quiet`: neither the time of the last change moves, nor is anybody told."""
    changes = {name: value for name, value in given.items() if record.values.get(name, "") != value}
    at = portal.stamp()
    if not changes:
        if portal.faults.idle_writes_move_time:
            record = record._replace(updated=at)
            portal.tables[of.name].put(record)
        return record
    values, history = dict(record.values), dict(record.history)
    for name, value in changes.items():
        history[name] = (*record.entries(name)[1 - _MOST_ENTRIES :], Entry(at, value, author))
        if value:
            values[name] = value
        else:
            values.pop(name, None)
    changed = record._replace(values=values, history=history, updated=record.updated if quiet else at)
    portal.tables[of.name].put(changed)
    if not quiet:
        for name, value in changes.items():
            _tell_change(portal, of, changed, name, value, author)
    return changed


def archive(portal: Portal, of: ObjectType, record: Record, author: Author) -> None:
    portal.tables[of.name].archive(record._replace(archived=portal.stamp()))
    _tell(portal, of, "deletion", record.id, author, changeFlag="DELETED")


def restore(portal: Portal, of: ObjectType, number: int, author: Author) -> Record:
    """Take back that a record was archived. Raises Refused (400, 409)."""
    table = portal.tables[of.name]
    record = table.archived.get(number)
    if record is None or record.survivor is not None:
        raise invalid("There is no such archived object")
    check_conflict(portal, of, record.values)
    back = record._replace(archived=None, updated=portal.stamp())
    table.put(back)
    _tell(portal, of, "restore", number, author, changeFlag="RESTORED")
    return back


def purge(portal: Portal, of: ObjectType, number: int, author: Author) -> None:
    """Forget somebody for good, be they archived or not."""
    table = portal.tables[of.name]
    if number in table.live:
        table.drop(number)
    table.drop_archived(number)
    for other in portal.links.pop((of.name, number), {}):
        portal.links[other].pop((of.name, number), None)
    _tell(portal, of, "privacyDeletion", number, author, changeFlag="PERMANENTLY_DELETED")


def merge(portal: Portal, of: ObjectType, primary: Record, other: Record, author: Author) -> Record:
    """The primary's values win, the other's fill what it has not; whose address it was becomes an additional one."""
    if primary.id == other.id:
        raise invalid("Cannot merge an object into itself")
    table, at = portal.tables[of.name], portal.stamp()
    # What was said of e-mail hangs on the address, and the primary one stays.
    filled = {
        name: value
        for name, value in other.values.items()
        if name not in primary.values and not name.startswith("hs_email_optout")
    }
    values = {**filled, **primary.values}
    own = dict.fromkeys([*addresses(primary), *addresses(other)])
    own.pop(values.get("email", ""), None)
    values["hs_additional_emails"] = ";".join(own)
    before = filter(None, (primary.values.get("hs_merged_object_ids"), other.values.get("hs_merged_object_ids")))
    losers = [primary, other] if portal.faults.merge_makes_new_record else [other]
    values["hs_merged_object_ids"] = ";".join([*before, *(str(one.id) for one in losers)])
    values = {name: value for name, value in values.items() if value}
    number = primary.id if len(losers) == 1 else portal.next_id("object")
    history = {**{name: other.entries(name) for name in filled}, **primary.history}
    for one in losers:
        table.archive(one._replace(archived=at, survivor=number))
        table.merged[one.id] = number
    survivor = Record(number, primary.created, at, values, primary.creator, history)
    table.put(survivor)
    for one in losers:
        _move_links(portal, of, one.id, number)
    more = {
        "primaryObjectId": primary.id,
        "mergedObjectIds": [other.id],
        "newObjectId": number,
        "numberOfPropertiesMoved": len(filled),
    }
    portal.tell(Event(of.name, "merge", number, author, portal.millis(), more))
    return survivor


def follow_consent(portal: Portal, address: str, author: Author) -> None:
    """What an address said of e-mail shows with the contact whose primary address it is."""
    record = portal.contact_of(address)
    if record is not None and record.values.get("email") == address:
        of = portal.tables["contacts"].of
        put(portal, of, record, _said_by(portal, address), author, quiet=portal.faults.quiet_opt_out)


def _of_new_address(portal: Portal, record: Record, given: Values) -> Values:
    """With a new primary address goes what it said of e-mail; it is no additional one any more."""
    address = given["email"]
    if address == record.values.get("email", ""):
        return given
    unsaid = {name: "" for name in record.values if name.startswith("hs_email_optout")}
    more = [one for one in record.values.get("hs_additional_emails", "").split(";") if one != address]
    return {**unsaid, **_said_by(portal, address), "hs_additional_emails": ";".join(more), **given}


def _said_by(portal: Portal, address: str) -> dict[str, str]:
    consent = portal.consents.get(address)
    if consent is None:
        return {}
    said = {"hs_email_optout": "true" if consent.of_all is not None and consent.of_all.is_out else "false"}
    for topic, standing in consent.by_topic.items():
        said[opted_out_of(topic)] = "true" if standing.is_out else "false"
    return said


def link(portal: Portal, one: tuple[str, int], other: tuple[str, int]) -> None:
    portal.links[one][other] = portal.links[other][one] = None


def unlink(portal: Portal, one: tuple[str, int], others: Iterable[tuple[str, int]]) -> None:
    for other in others:
        portal.links[one].pop(other, None)
        portal.links[other].pop(one, None)


def _move_links(portal: Portal, of: ObjectType, loser: int, survivor: int) -> None:
    linked = list(portal.links.get((of.name, loser), ()))
    unlink(portal, (of.name, loser), linked)
    for other in linked:
        link(portal, (of.name, survivor), other)


def find(portal: Portal, table: Table, number: int) -> Record | None:
    """A record that is there; by the id of one that was merged, the survivor, unless that is forgotten."""
    if portal.faults.forget_merged and number in table.merged:
        return None
    return table.find(number)


def _tell(portal: Portal, of: ObjectType, kind: str, number: int, author: Author, **more: object) -> None:
    portal.tell(Event(of.name, kind, number, author, portal.millis(), more))


def _tell_change(portal: Portal, of: ObjectType, record: Record, name: str, value: str, author: Author) -> None:
    more = {"propertyName": name, "propertyValue": value}
    portal.tell(Event(of.name, "propertyChange", record.id, author, portal.millis(), more, name))
