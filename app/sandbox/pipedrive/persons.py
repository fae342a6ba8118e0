"""Writing persons: what a body may say, what it changes, and who is told."""

from dataclasses import replace
from typing import Any

from app.sandbox.pipedrive import consents, showing, values
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.records import Entry, Event, Person, Point
from app.sandbox.pipedrive.wire import Author, Json, Query, Refused, invalid, not_found, plain, refuse_unknown

_SYNCED = ("job_title", "im", "postal_address", "notes", "birthday")
_KNOWN = ("name", "owner_id", "org_id", "add_time", "emails", "phones", "visible_to", "label_ids", "marketing_status",
          "custom_fields", *_SYNCED)  # fmt: skip
_MOST_POINTS = 100


def read(company: Company, body: Json, *, is_new: bool) -> Json:
    """What a body of the second version changes: attribute to value. Raises Refused (400, 403); then nothing is."""
    refuse_unknown(body, _KNOWN if is_new else [name for name in _KNOWN if name != "add_time"])
    if is_new and "name" not in body:
        raise invalid("name", "is required")
    change: Json = {}
    for name, value in body.items():
        if name in _SYNCED and not company.faults.contact_sync:
            raise Refused(403, f"Field {name} is available only with contact sync")
        if name == "custom_fields":
            change["custom"] = _custom(company, value)
        else:
            attribute = {"add_time": "added"}.get(name, name)
            change[attribute] = _read_one(company, name, value)
    return change


def _read_one(company: Company, name: str, value: Any) -> Any:  # Any: JSON; as the person has it
    fault: str | None = None
    match name:
        case "name":
            fault = (
                None if isinstance(value, str) and 0 < len(value.strip()) <= 255 else "should be a string, not empty"
            )
        case "owner_id":
            fault = None if values.is_id(value) and value in company.users else "should be the id of a user"
        case "org_id":
            fault = None if value is None or _is_org(company, value) else "should be the id of an organization"
        case "visible_to":
            fault = None if values.is_id(value) and value in (1, 3, 5, 7) else "should be one of 1, 3, 5, 7"
        case "label_ids":
            if isinstance(value, list) and all(values.is_id(one) for one in value):
                return tuple(dict.fromkeys(value))
            fault = "should be a list of integers"
        case "emails" | "phones":
            return _points(name, value)
        case "marketing_status":
            fault = None if value in consents.STATUSES else f"should be one of {', '.join(consents.STATUSES)}"
        case "add_time":
            return _second(value)
        case "job_title":
            fault = None if value is None or isinstance(value, str) else "should be a string"
    if fault is not None:
        raise invalid(name, fault)
    return value


def _is_org(company: Company, value: object) -> bool:
    return values.is_id(value) and value in company.orgs


def _second(value: object) -> int:
    second = Query({"add_time": value} if isinstance(value, str) else {"add_time": "?"}).second("add_time")
    assert second is not None
    return second


def _points(name: str, given: object) -> tuple[Point, ...]:
    """One of several is primary: the first that says so, or else the first."""
    if not isinstance(given, list) or len(given) > _MOST_POINTS:
        raise invalid(name, "should be a list of objects")
    found: list[Point] = []
    for at, one in enumerate(given):
        if not isinstance(one, dict):
            raise invalid(f"{name}[{at}]", "should be an object")
        refuse_unknown(one, ("value", "primary", "label"), f"{name}[{at}].")
        value, primary, label = one.get("value"), one.get("primary", False), one.get("label", "work")
        if not isinstance(value, str) or not isinstance(primary, bool) or not isinstance(label, str):
            raise invalid(f"{name}[{at}]", "should have a value (string), primary (boolean) and label (string)")
        found.append(Point(value.strip(), primary, label))
    chosen = next((at for at, point in enumerate(found) if point.primary), 0)
    return tuple(point._replace(primary=at == chosen) for at, point in enumerate(found))


def _custom(company: Company, given: object) -> Json:
    if not isinstance(given, dict):
        raise invalid("custom_fields", "should be an object")
    for code, value in given.items():
        field = company.fields["person"].get(code)
        if field is None or not field.is_custom:
            raise invalid(f"custom_fields.{code[:60]}", "is not allowed")
        values.check(field, value, f"custom_fields.{code}")
    return given


def create(company: Company, body: Json, author: Author) -> Person:
    """Raises Refused (400, 403)."""
    wanted = read(company, body, is_new=True)
    now = company.now()
    wish = wanted.pop("marketing_status", None)
    person = Person(company.next_id("person"), wanted["name"], author.user_id, now, now)
    person.found_from_ms = company.millis()
    _set(person, wanted)
    person.added = min(person.added, now)
    company.keep(person)
    if wish is not None and not company.faults.without_campaigns:
        consents.ask(company, person, wish)
    _count(person, author)
    company.note(person.id, Entry(now, "add_time", None, plain(person.added), author))
    _tell(company, person, "create", author, None)
    return person


def change(company: Company, number: int, body: Json, author: Author, wish: str | None = None) -> Person:
    """Change what `body` names. What is the same afterwards is no change: it is not logged, nor told.

    `wish` is a marketing status that may be none of those that the API takes; without it, it is the body's.
    Raises Refused (400, 403, 404); then nothing was changed.
    """
    person = company.person(number)
    if person is None:
        raise not_found()
    wanted = read(company, body, is_new=False)
    wish = wanted.pop("marketing_status", wish)
    before = replace(person)
    _set(person, wanted)
    company.keep(person, before.emails)
    _count(person, author)
    status = None
    if wish is not None and not company.faults.without_campaigns:
        status = _status(company, person, wish, author)
    changed(company, person, before, author, status)
    return person


def _status(company: Company, person: Person, wish: str, author: Author) -> str | None:
    """The marketing status that was, if it is another now; who works in Pipedrive gets each one that they wish."""
    before = consents.status(company, person)
    did = (consents.ask if author.source == "api" else consents.force)(company, person, wish)
    return before if did else None


def changed(
    company: Company, person: Person, before: Person, author: Author, status: str | None = None, **meta: str
) -> None:
    """Stamp, log and tell what is not as it was; `status`: the marketing status that was, if that has changed."""
    old, new = showing.told(company, before), showing.told(company, person)
    previous: Json = {key: value for key, value in old.items() if key != "custom_fields" and value != new[key]}
    custom = {key: value for key, value in old["custom_fields"].items() if value != new["custom_fields"][key]}
    now = company.now()
    for key in previous:
        company.note(person.id, Entry(now, key, _logged(old[key]), _logged(new[key]), author))
    for key in custom:
        told = values.logged(before.custom.get(key)), values.logged(person.custom.get(key))
        company.note(person.id, Entry(now, key, *told, author))
    if custom:
        previous["custom_fields"] = custom
    if status is not None:
        company.note(person.id, Entry(now, "marketing_status", status, consents.status(company, person), author))
        if not company.faults.quiet_marketing_status:
            previous["marketing_status"] = status
    if not previous and not meta:
        return
    person.updated = now
    if person.emails != before.emails:
        person.found_from_ms = company.millis()
    company.keep(person, person.emails)
    _tell(company, person, "change", author, previous, **meta)


def delete(company: Company, number: int, author: Author, **meta: str) -> Person:
    """Mark as deleted; it is purged after 30 days. Raises Refused (404)."""
    person = company.person(number)
    if person is None:
        raise not_found()
    last = showing.told(company, person)
    person.is_deleted, person.updated = True, company.now()
    company.keep(person, person.emails)
    _count(person, author)
    company.deleted(company.persons, number)
    company.tell(Event("delete", "person", number, None, last, author, company.millis(), meta))
    return person


def merge(company: Company, number: int, other: int, author: Author) -> Person:
    """Merge a person into another, whose values win; addresses and activities of both stay. Raises Refused."""
    what, into = company.person(number), company.person(other)
    if what is None:
        raise not_found()
    if into is None or what is into:
        raise Refused(403, "Cannot merge with this person", "Object was not found.")
    before = replace(into)
    delete(company, number, author, merged_to_id=str(other))
    for name in ("emails", "phones"):
        kept = getattr(into, name)
        known = {point.value.lower() for point in kept}
        more = [point for point in getattr(what, name) if point.value.lower() not in known]
        both = (*kept, *(point._replace(primary=False) for point in more))
        setattr(
            into, name, tuple(point._replace(primary=at == 0) for at, point in enumerate(both)) if not kept else both
        )
    into.org_id = into.org_id or what.org_id
    into.custom = {**what.custom, **{key: value for key, value in into.custom.items() if value is not None}}
    for activity_id in list(company.activities_of.get(number, ())):
        activity = company.activities[activity_id]
        was = activity.participants
        activity.participants = tuple(dict.fromkeys(other if one == number else one for one in was))
        company.keep_activity(activity, was)
    for lead in company.leads.values():
        if lead.person_id == number:
            lead.person_id = other
    company.merged_into[number] = other
    company.keep(into, before.emails)
    _count(into, author)
    changed(company, into, before, author, merged_from_id=str(number))
    return into


def _set(person: Person, wanted: Json) -> None:
    for attribute, value in wanted.items():
        if attribute == "custom":
            # A new dictionary: the one before is compared with it.
            person.custom = {**person.custom, **value}
        elif attribute in Person.__slots__:
            setattr(person, attribute, value)


def _count(person: Person, author: Author) -> None:
    if author.source == "api":
        person.writes += 1


def _logged(value: Any) -> str | None:  # Any: of any attribute
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ",".join(str(one["value"]) for one in value)
    return values.logged(value)


def _tell(company: Company, person: Person, action: str, author: Author, previous: Json | None, **meta: str) -> None:
    if company.hooks:
        data = showing.told(company, person)
        company.tell(Event(action, "person", person.id, data, previous, author, company.millis(), meta))
