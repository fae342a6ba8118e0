"""Activities: what happened with somebody. There is no subject, and nothing is planned or done."""

from dataclasses import replace
from typing import Any

from app.sandbox.copper import bulk, changing, showing
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Activity, Event, Parent
from app.sandbox.copper.wire import (
    Call,
    Caller,
    Json,
    Problem,
    Reply,
    Wrong,
    integer,
    not_found,
    optional_text,
    read,
)

_PARENTS = ("lead", "person", "company", "opportunity", "project", "task")
Type = tuple[str, int]


def known(account: Account, caller: Caller, number: int) -> Activity:
    """Deleted ones too. Raises Refused (404)."""
    activity = account.activities.rows.get(number)
    if activity is None or not is_visible(account, caller, activity):
        raise not_found()
    return activity


def get(account: Account, call: Call) -> Reply:
    return Reply(showing.activity(known(account, call.caller, call.number())))


def add(account: Account, call: Call) -> Reply:
    return Reply(showing.activity(create(account, call.caller, call.object())))


def change(account: Account, call: Call) -> Reply:
    return Reply(showing.activity(edit(account, call.caller, call.number(), call.object())))


def delete(account: Account, call: Call) -> Reply:
    return Reply(remove(account, call.caller, call.number()))


def add_many(account: Account, call: Call) -> Reply:
    def act(item: Json) -> Json:
        return showing.activity(create(account, call.caller, item))

    return Reply(bulk.each(account, call.object(), "activities", act))


# --- Writing ----------------------------------------------------------------------------------------------------------


def create(account: Account, caller: Caller, body: Json) -> Activity:
    """With an `activity_date` it may have happened at any time. Raises Invalid."""
    missing = [Problem(name, "can't be blank", "blank") for name in ("parent", "type") if not body.get(name)]
    wanted = read({name: value for name, value in body.items() if value is not None}, _readers(account), missing)
    now = account.now()
    activity = Activity(
        id=account.next_id("activity"),
        parent=wanted["parent"],
        type=wanted["type"],
        user_id=wanted.get("user_id", caller.user_id),
        details=wanted.get("details"),
        activity_date=wanted.get("activity_date", now),
        date_created=now,
        date_modified=now,
    )
    _keep(account, caller, activity, "new")
    _count_interaction(account, activity)
    return activity


def edit(account: Account, caller: Caller, number: int, body: Json) -> Activity:
    """As a PUT of other records, which for activities is not documented. Raises Invalid, and Refused (404)."""
    old = known(account, caller, number)
    if old.is_deleted:
        raise not_found()
    new = replace(old, **read(body, _readers(account)))
    if new != old:
        _keep(account, caller, new, "update")
    return new


def remove(account: Account, caller: Caller, number: int) -> Json:
    """A stub stays. Raises Refused (404)."""
    old = known(account, caller, number)
    if not old.is_deleted:
        _keep(account, caller, replace(old, is_deleted=True), "delete")
    return {"id": number, "is_deleted": True}


def _keep(account: Account, caller: Caller, activity: Activity, event: str) -> None:
    # In samples the time of a change is that at which it happened, however late it was written.
    is_true = account.faults.activity_dates_are_true
    activity.date_modified = account.now() if is_true else activity.activity_date
    account.keep_activity(activity)
    if caller.is_api:
        account.writes[("activity", activity.id)] += 1
    if account.faults.activities_move_date:
        _touch(account, activity.parent)
    if event == "new" or not account.faults.hooks_of_new_activities_only:
        account.tell(Event("activity_log", event, activity.id, None, account.millis()))


def _touch(account: Account, parent: Parent) -> None:
    record = account.somebody(*parent)
    if record is not None:
        account.keep(replace(record, date_modified=account.now()))


def _count_interaction(account: Account, activity: Activity) -> None:
    """Which is no update of the record: it moves no time, and tells nobody."""
    record = account.somebody(*activity.parent)
    if record is not None and account.types[activity.type].count_as_interaction:
        latest = max(record.date_last_contacted or 0, activity.activity_date)
        counted = record.interaction_count + 1
        account.keep(replace(record, interaction_count=counted, date_last_contacted=latest))


def _readers(account: Account) -> dict[str, Any]:  # Any: readers
    def parent(value: object) -> Parent:
        found = parent_of(value)
        rows: dict[str, Any] = {  # Any: records by their ids
            "person": account.people.rows, "lead": account.leads.rows, "company": account.companies,
            "opportunity": account.opportunities,
        }  # fmt: skip
        if found.id not in rows.get(found.type, {}):
            raise Wrong("is not known")
        return found

    def kind(value: object) -> Type:
        found = type_of(value)
        if found not in account.types or found[0] != "user" or account.types[found].is_disabled:
            raise Wrong("is not one that can be written")
        return found

    def user(value: object) -> int:
        if integer(value) not in account.users:
            raise Wrong("is not known")
        return integer(value)

    return {"parent": parent, "type": kind, "user_id": user, "details": optional_text, "activity_date": integer}


def parent_of(value: object) -> Parent:
    """Raises Wrong."""
    if not isinstance(value, dict) or value.keys() != {"id", "type"} or value["type"] not in _PARENTS:
        raise Wrong("must be an object with id and type")
    return Parent(value["type"], integer(value["id"]))


def type_of(value: object) -> Type:
    """Raises Wrong."""
    if not isinstance(value, dict) or not {"id", "category"} <= value.keys():
        raise Wrong("must be an object with id and category")
    return str(value["category"]), integer(value["id"])


def is_visible(account: Account, caller: Caller, activity: Activity) -> bool:
    record = account.somebody(*activity.parent)
    return record is None or changing.is_visible(caller, record)
