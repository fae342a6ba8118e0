"""Activities (second version) and their types (first version)."""

import re
from dataclasses import replace
from typing import Any

from app.sandbox.pipedrive import values
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.paging import page
from app.sandbox.pipedrive.records import Activity, Event, Kind
from app.sandbox.pipedrive.wire import (
    Author,
    Call,
    Json,
    Query,
    Refused,
    Reply,
    done,
    invalid,
    iso,
    not_found,
    paged,
    plain,
    refuse_unknown,
)

_ICONS = frozenset(
    ("task", "email", "meeting", "deadline", "call", "lunch", "calendar", "downarrow", "document", "smartphone",
     "camera", "scissors", "cogs", "bubble", "uparrow", "checkbox", "signpost", "shuffle", "addressbook", "linegraph",
     "picture", "car", "world", "search", "clip", "sound", "brush", "key", "padlock", "pricetag", "suitcase", "finish",
     "plane", "loop", "wifi", "truck", "cart", "bulb", "bell", "presentation")
)  # fmt: skip
_DURATION = re.compile(r"\d{1,3}:[0-5]\d(:[0-5]\d)?", re.ASCII)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 65_000


_CHECKS = {
    "subject": _is_text,
    "type": _is_text,
    "due_date": values.is_date,
    "due_time": values.is_time,
    "duration": lambda value: isinstance(value, str) and _DURATION.fullmatch(value) is not None,
    "busy": lambda value: isinstance(value, bool),
    "done": lambda value: isinstance(value, bool),
    "owner_id": values.is_id,
    "deal_id": values.is_id,
    "lead_id": _is_text,
    "org_id": values.is_id,
    "project_id": values.is_id,
    "location": lambda value: isinstance(value, dict) and _is_text(value.get("value")),
    "public_description": _is_text,
    "priority": values.is_id,
    "note": _is_text,
}
_NEVER_NULL = frozenset(("subject", "type", "busy", "done", "owner_id"))


def shown(activity: Activity, *, with_attendees: bool = False) -> Json:
    """The second version's."""
    persons = [{"person_id": person, "primary": at == 0} for at, person in enumerate(activity.participants)]
    row: Json = {
        "id": activity.id,
        "subject": activity.subject,
        "type": activity.type,
        "owner_id": activity.owner_id,
        "creator_user_id": activity.owner_id,
        "is_deleted": activity.is_deleted,
        "add_time": iso(activity.added),
        "update_time": iso(activity.updated),
        "deal_id": activity.deal_id,
        "lead_id": activity.lead_id,
        "person_id": activity.person_id,
        "org_id": activity.org_id,
        "project_id": activity.project_id,
        "due_date": activity.due_date,
        "due_time": activity.due_time,
        "duration": activity.duration,
        "busy": activity.busy,
        "done": activity.done,
        "marked_as_done_time": None if activity.done_at is None else iso(activity.done_at),
        "location": None if activity.location is None else {"value": activity.location},
        "participants": persons,
        "public_description": activity.public_description,
        "priority": activity.priority,
        "note": activity.note,
    }
    if with_attendees:
        row["attendees"] = activity.attendees
    return row


def first_version(activity: Activity) -> Json:
    done_at = None if activity.done_at is None else plain(activity.done_at)
    return {
        **{
            name: value for name, value in shown(activity).items() if name not in ("owner_id", "is_deleted", "priority")
        },
        "user_id": activity.owner_id,
        "active_flag": not activity.is_deleted,
        "busy_flag": activity.busy,
        "add_time": plain(activity.added),
        "update_time": plain(activity.updated),
        "marked_as_done_time": done_at or "",
    }


def _told(activity: Activity) -> Json:
    """What a webhook tells of an activity: not the participants."""
    row = shown(activity)
    due_time = None if activity.due_time is None else {"value": activity.due_time, "timezone_id": None}
    for name in ("participants", "busy", "is_deleted"):
        del row[name]
    return {**row, "busy_flag": activity.busy, "active_flag": not activity.is_deleted, "due_time": due_time}


def index(company: Company, call: Call) -> Reply:
    query = call.query
    with_attendees = _with_attendees(query)
    wanted: Json = {name: query.integer(name) for name in ("owner_id", "deal_id", "person_id", "org_id")}
    wanted |= {"lead_id": query.text("lead_id"), "done": query.flag("done")}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if query.integer("filter_id") is not None:
        raise Refused(404, "Filter not found", "Object was not found.")

    def keep(activity: Activity) -> bool:
        return all(getattr(activity, name) == value for name, value in wanted.items())

    found, following = page(company, query, company.activities, company.activity_orders, keep)
    return paged([shown(one, with_attendees=with_attendees) for one in found], following)


def _with_attendees(query: Query) -> bool:
    extra = query.listed("include_fields", 10)
    if set(extra) - {"attendees"}:
        raise invalid("include_fields", "should be attendees")
    return bool(extra)


def get(company: Company, call: Call) -> Reply:
    return done(shown(_known(company, call.number()), with_attendees=_with_attendees(call.query)))


def add(company: Company, call: Call) -> Reply:
    return done(shown(create(company, call.object(), call.author)))


def change(company: Company, call: Call) -> Reply:
    return done(shown(edit(company, call.number(), call.object(), call.author)))


def delete(company: Company, call: Call) -> Reply:
    return done({"id": remove(company, call.number(), call.author).id})


def create(company: Company, body: Json, author: Author) -> Activity:
    """Raises Refused (400)."""
    wanted = _read(company, body)
    kind = wanted.get("type") or next(kind.key for kind in company.kinds.values() if kind.is_active)
    named = company.kind(kind)
    assert named is not None
    now = company.now()
    activity = Activity(company.next_id("activity"), named.name, kind, author.user_id, now, now)
    _set(company, activity, wanted)
    _count(activity, author)
    company.keep_activity(activity)
    _tell(company, activity, "create", author, None)
    return activity


def edit(company: Company, number: int, body: Json, author: Author) -> Activity:
    """Raises Refused (400, 404)."""
    activity = _known(company, number)
    wanted = _read(company, body)
    before = replace(activity)
    _set(company, activity, wanted)
    _count(activity, author)
    old, new = _told(before), _told(activity)
    previous = {key: value for key, value in old.items() if value != new[key]}
    if previous or before.participants != activity.participants:
        activity.updated = company.now()
        company.keep_activity(activity, before.participants)
        _tell(company, activity, "change", author, previous)
    return activity


def remove(company: Company, number: int, author: Author) -> Activity:
    """Raises Refused (404)."""
    activity = _known(company, number)
    last = _told(activity)
    activity.is_deleted, activity.updated = True, company.now()
    company.keep_activity(activity, activity.participants)
    company.deleted(company.activities, number)
    company.tell(Event("delete", "activity", number, None, last, author, company.millis(), {}))
    return activity


def _known(company: Company, number: int) -> Activity:
    activity = company.activities.get(number)
    if activity is None or activity.is_deleted:
        raise not_found()
    return activity


def _read(company: Company, body: Json) -> Json:
    # The documentation calls `person_id` read-only, though the specification lists it.
    refuse_unknown(body, (*_CHECKS, "participants", "attendees"))
    for name, value in body.items():
        if name in ("participants", "attendees"):
            continue
        if value is None and name not in _NEVER_NULL:
            continue
        if not _CHECKS[name](value):
            raise invalid(name, "is not of the right type")
    wanted = dict(body)
    if "type" in body:
        kind = company.kind(body["type"])
        if kind is None or not kind.is_active:
            raise invalid("type", "is not a known type of activity")
    if body.get("owner_id", 7) not in company.users:
        raise invalid("owner_id", "should be the id of a user")
    if "participants" in body:
        wanted["participants"] = _participants(company, body["participants"])
    if "attendees" in body:
        attendees = body["attendees"]
        if not isinstance(attendees, list) or not all(isinstance(one, dict) for one in attendees):
            raise invalid("attendees", "should be a list of objects")
        wanted["attendees"] = tuple(attendees)
    if isinstance(body.get("location"), dict):
        wanted["location"] = body["location"]["value"]
    return wanted


def _participants(company: Company, given: object) -> tuple[int, ...]:
    """The primary one first."""
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise invalid("participants", "should be a list of objects")
    for at, one in enumerate(given):
        refuse_unknown(one, ("person_id", "primary"), f"participants[{at}].")
        number = one.get("person_id")
        if not values.is_id(number) or company.person(number) is None:
            raise invalid(f"participants[{at}].person_id", "should be the id of a person")
    first_the_primary = sorted(given, key=lambda one: one.get("primary") is not True)
    return tuple(dict.fromkeys(one["person_id"] for one in first_the_primary))


def _set(company: Company, activity: Activity, wanted: Json) -> None:
    for name, value in wanted.items():
        setattr(activity, name, value)
    if activity.done and activity.done_at is None:
        activity.done_at = company.now()
    if not activity.done:
        activity.done_at = None


def _count(activity: Activity, author: Author) -> None:
    if author.source == "api":
        activity.writes += 1


def _tell(company: Company, activity: Activity, action: str, author: Author, previous: Json | None) -> None:
    if company.hooks:
        data = _told(activity)
        company.tell(Event(action, "activity", activity.id, data, previous, author, company.millis(), {}))


# --- Types ------------------------------------------------------------------------------------------------------------


def kind_shown(kind: Kind, order: int) -> Json:
    return {
        "id": kind.id,
        "order_nr": order,
        "name": kind.name,
        "key_string": kind.key,
        "icon_key": kind.icon,
        "active_flag": kind.is_active,
        "color": kind.color,
        "is_custom_flag": kind.is_custom,
        "add_time": plain(kind.added),
        "update_time": plain(kind.updated),
    }


def kinds(company: Company, _: Call) -> Reply:
    return done([kind_shown(kind, at) for at, kind in enumerate(company.kinds.values(), 1)])


def add_kind(company: Company, call: Call) -> Reply:
    body = call.object()
    name, icon, color = body.get("name"), body.get("icon_key"), body.get("color")
    _check_kind(name, icon, color)
    key = re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_") or "type"
    while company.kind(key) is not None:
        key += "_"
    number, now = company.next_id("kind"), company.now()
    company.kinds[number] = Kind(number, str(name), key, str(icon), True, now, now, color)
    return done(kind_shown(company.kinds[number], number))


def change_kind(company: Company, call: Call) -> Reply:
    """A new name keeps the key."""
    kind, body = _kind(company, call), call.object()
    name, icon, color = body.get("name", kind.name), body.get("icon_key", kind.icon), body.get("color", kind.color)
    _check_kind(name, icon, color)
    kind.name, kind.icon, kind.color, kind.updated = name, icon, color, company.now()
    return done(kind_shown(kind, kind.id))


def delete_kind(company: Company, call: Call) -> Reply:
    """Activities of the type keep its key."""
    kind = _kind(company, call)
    kind.is_active, kind.updated = False, company.now()
    return done(kind_shown(kind, kind.id))


def _kind(company: Company, call: Call) -> Kind:
    kind = company.kinds.get(call.number())
    if kind is None:
        raise Refused(404, "Activity type not found", "Object was not found.")
    return kind


def _check_kind(name: Any, icon: Any, color: Any) -> None:  # Any: JSON
    if not isinstance(name, str) or not name.strip():
        raise Refused(400, "Name must be given")
    if not isinstance(icon, str) or icon not in _ICONS:
        raise Refused(400, "Icon key is not one of the known ones")
    if color is not None and not isinstance(color, str):
        raise Refused(400, "Color must be a string")
