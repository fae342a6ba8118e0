"""Which activities there were: of all, of one type, of one record."""

from collections.abc import Iterable

import orjson

from app.sandbox.copper import activities, changing, searching, showing
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Activity, Parent
from app.sandbox.copper.wire import Call, Json, Reply, Wrong, forbidden, ids, integer, not_found, read


def search(account: Account, call: Call) -> Reply:
    """What happened last comes first. There is no filter by the time of a change."""
    body = dict(call.object())
    rows = searching.page(account, call, body)
    asked = read({name: value for name, value in body.items() if value is not None}, _FILTERS)
    if asked.get("full_result") and not call.caller.is_admin:
        raise forbidden()
    return _page(account, call, asked, rows, body)


def of_record(account: Account, call: Call, kind: str) -> Reply:
    """`POST /people/{id}/activities` and its like."""
    record = account.somebody(kind, call.number())
    if record is None or not changing.is_visible(call.caller, record):
        raise not_found()
    body = dict(call.object())
    rows = searching.page(account, call, body)
    asked = read({name: value for name, value in body.items() if value is not None}, _FILTERS)
    return _page(account, call, {**asked, "parent": Parent(kind, record.id)}, rows, [kind, record.id, body])


def _page(account: Account, call: Call, asked: Json, rows: searching.Rows, question: object) -> Reply:
    account.activities.catch_up(account.millis(), account.lag_ms)
    index = account.activities.seen
    key = (orjson.dumps(question), call.caller.user_id, account.revision, account.faults.list_deleted_activities)

    def look() -> tuple[list[int], int]:
        found = [one.id for one in _candidates(account, asked) if _matches(one, asked)]
        visible = [number for number in found if activities.is_visible(account, call.caller, index.rows[number])]
        if asked.get("full_result"):
            # What shows on several records comes as often.
            visible = [number for number in visible for _ in _above(account, index.rows[number].parent)]
        return visible, len(found)

    low, high = asked.get("minimum_activity_date"), asked.get("maximum_activity_date")
    if call.caller.is_admin and asked.keys() <= _BOUNDS and not account.faults.list_deleted_activities:
        order = index.orders["activity_date"]
        start, stop = order.between(low, high)
        total = stop - start
        numbers = list(order.ids(max(start, stop - rows.stop), stop - rows.start))[::-1]
    else:
        found, total = index.found(key, look)
        numbers = found[rows.start : rows.stop]
    shown = [showing.activity(index.rows[number]) for number in numbers]
    return Reply(shown, {"X-PW-TOTAL": str(total + account.faults.total_over)})


def _candidates(account: Account, asked: Json) -> list[Activity]:
    """Newest first; deleted ones only where a switch says so."""
    index = account.activities.seen
    numbers: Iterable[int]
    if "parent" in asked:
        numbers = {number for parent in _below(account, asked["parent"]) for number in account.activities_of[parent]}
    elif account.faults.list_deleted_activities:
        numbers = index.rows
    else:
        order = index.orders["activity_date"]
        numbers = order.ids(*order.between(asked.get("minimum_activity_date"), asked.get("maximum_activity_date")))
    found = [index.rows[number] for number in numbers if number in index.rows]
    alive = [one for one in found if not one.is_deleted or account.faults.list_deleted_activities]
    return sorted(alive, key=lambda one: (-one.activity_date, -one.id))


def _below(account: Account, parent: Parent) -> list[Parent]:
    """Whose activities a record shows: a company's are also those of its people and opportunities.

    Source: the help centre, "How emails and logged activities sync between records".
    """
    if parent.type == "company":
        people = [Parent("person", one.id) for one in account.people.rows.values() if one.company_id == parent.id]
        deals = [Parent("opportunity", one.id) for one in account.opportunities.values() if one.company_id == parent.id]
        return [parent, *people, *deals]
    if parent.type == "opportunity" and parent.id in account.opportunities:
        contact = account.opportunities[parent.id].primary_contact_id
        return [parent] if contact is None else [parent, Parent("person", contact)]
    return [parent]


def _above(account: Account, parent: Parent) -> list[Parent]:
    """The records that show an activity of this one: a person's company does too."""
    person = account.people.rows.get(parent.id) if parent.type == "person" else None
    return [parent] if person is None or person.company_id is None else [parent, Parent("company", person.company_id)]


def _matches(one: Activity, asked: Json) -> bool:
    return (
        ("activity_types" not in asked or one.type in asked["activity_types"])
        and ("user_ids" not in asked or one.user_id in asked["user_ids"])
        and asked.get("minimum_activity_date", one.activity_date) <= one.activity_date
        and one.activity_date <= asked.get("maximum_activity_date", one.activity_date)
    )


def _types(value: object) -> frozenset[activities.Type]:
    if not isinstance(value, list):
        raise Wrong("must be an array of objects with id and category")
    return frozenset(activities.type_of(one) for one in value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong("must be a boolean")
    return value


_BOUNDS = frozenset(("minimum_activity_date", "maximum_activity_date"))
_FILTERS = {
    "parent": activities.parent_of,
    "activity_types": _types,
    "user_ids": ids,
    "minimum_activity_date": integer,
    "maximum_activity_date": integer,
    "full_result": _flag,
}
