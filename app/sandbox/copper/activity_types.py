"""Types of activities: an id means something only with its category."""

from app.sandbox.copper.account import ACCOUNT_ID, Account
from app.sandbox.copper.records import ActivityType
from app.sandbox.copper.wire import Call, Json, Problem, Reply, Wrong, not_found, read, text


def index(account: Account, _: Call) -> Reply:
    """By category; what was removed stays, as `is_disabled`."""
    return Reply(
        {
            category: [_shown(kind) for kind in account.types.values() if kind.category == category]
            for category in ("user", "system")
        }
    )


def custom(account: Account, _: Call) -> Reply:
    return Reply([_custom(kind) for kind in account.types.values() if kind.custom_id is not None])


def get(account: Account, call: Call) -> Reply:
    number = call.number()
    for kind in account.types.values():
        if kind.custom_id == number:
            return Reply(_custom(kind))
    raise not_found()


def add(account: Account, call: Call) -> Reply:
    return Reply(_custom(make(account, call.object())))


def make(account: Account, body: Json) -> ActivityType:
    """Raises Invalid."""
    missing = [] if body.get("name") else [Problem("name", "can't be blank", "blank")]
    wanted = read(body, {"name": _name, "icon_type": text}, missing)
    kind = ActivityType(account.next_id("type"), "user", wanted["name"], count_as_interaction=False)
    kind.icon = wanted.get("icon_type")
    # Whether it is listed under the id that it is made with is not documented.
    kind.custom_id = account.next_id("custom type") if account.faults.other_type_ids else kind.id
    account.types[(kind.category, kind.id)] = kind
    return kind


def disable(account: Account, number: int) -> Json:
    """Somebody removes a custom type: no new activity has it, and it is still to be searched by."""
    kind = account.types.get(("user", number))
    if kind is None or kind.custom_id is None:
        raise not_found()
    kind.is_disabled = True
    return _custom(kind)


def _name(value: object) -> str:
    if not text(value).strip():
        raise Wrong("can't be blank")
    return text(value)


def _shown(kind: ActivityType) -> Json:
    return {
        "id": kind.id,
        "category": kind.category,
        "name": kind.name,
        "is_disabled": kind.is_disabled,
        "count_as_interaction": kind.count_as_interaction,
    }


def _custom(kind: ActivityType) -> Json:
    return {
        "id": kind.custom_id,
        "company_id": ACCOUNT_ID,
        "icon_type": kind.icon,
        "is_disabled": kind.is_disabled,
        "is_interaction": kind.count_as_interaction,
        "name": kind.name,
        "is_default_task_type": None,
    }
