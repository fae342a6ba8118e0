"""What every change of a person or a lead entails: who may see it, its time, and who is told."""

from typing import TypeVar

from app.sandbox.copper import showing
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Activity, Event, Lead, Parent, Person, Somebody
from app.sandbox.copper.wire import Caller, Json

Record = TypeVar("Record", Person, Lead)

PROPERTY_CHANGED = ("system", 1)


def kind(record: Person | Lead) -> str:
    """As parents of activities, webhooks and custom fields call it."""
    return "person" if isinstance(record, Person) else "lead"


def is_visible(caller: Caller, record: Somebody) -> bool:
    """What a user may not see is missing in silence, by whatever call."""
    return caller.is_admin or record.assignee_id in (None, caller.user_id)


def make(account: Account, caller: Caller, record: Record) -> Record:
    account.keep(record)
    _count(account, caller, record)
    _tell(account, record, "new", None)
    return record


def change(account: Account, caller: Caller, old: Record, new: Record) -> Record:
    """Put `new` in place of `old`, with the time of the change if there is one."""
    _count(account, caller, new)
    if new == old and not account.faults.idle_writes_move_date:
        return old
    new.date_modified = account.now()
    account.keep(new)
    if account.hooks or account.faults.property_activities:
        changes = _changes(account, old, new)
        _tell(account, new, "update", changes)
        if account.faults.property_activities:
            _log(account, caller, new, changes)
    return new


def remove(account: Account, caller: Caller, record: Person | Lead) -> Json:
    """For good: there is no trace but for webhooks."""
    account.drop(record)
    _count(account, caller, record)
    _tell(account, record, "delete", None)
    return {"id": record.id, "is_deleted": True}


def _changes(account: Account, old: Person | Lead, new: Person | Lead) -> Json:
    """What `updated_attributes` tells. How custom fields look there is not documented."""
    rows = showing.Showing(account)
    was, now = rows.row(old), rows.row(new)
    changes = {
        name: [was[name], value]
        for name, value in now.items()
        if value != was[name] and name not in ("custom_fields", "date_modified")
    }
    before = [one for one in was["custom_fields"] if one not in now["custom_fields"]]
    after = [one for one in now["custom_fields"] if one not in was["custom_fields"]]
    return {**changes, **({"custom_fields": [before, after]} if before or after else {})}


def _count(account: Account, caller: Caller, record: Person | Lead) -> None:
    if caller.is_api:
        account.writes[(kind(record), record.id)] += 1


def _tell(account: Account, record: Person | Lead, event: str, changes: Json | None) -> None:
    account.tell(Event(kind(record), event, record.id, changes, account.millis()))


def _log(account: Account, caller: Caller, record: Person | Lead, changes: Json) -> None:
    now = account.now()
    for name, (was, is_) in changes.items():
        account.keep_activity(
            Activity(
                id=account.next_id("activity"),
                parent=Parent(kind(record), record.id),
                type=PROPERTY_CHANGED,
                user_id=caller.user_id,
                details=name,
                activity_date=now,
                date_created=now,
                date_modified=now,
                old_value=was,
                new_value=is_,
            )
        )
