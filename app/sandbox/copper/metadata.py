"""The account, its users, and the lists of what people and leads may be."""

from app.sandbox.copper import searching
from app.sandbox.copper.account import (
    ACCOUNT_ID,
    CONTACT_TYPES,
    CUSTOMER_SOURCES,
    LEAD_STATUSES,
    Account,
)
from app.sandbox.copper.records import User
from app.sandbox.copper.wire import Call, Invalid, Json, Reply, not_found, unrecognized

_LOSS_REASONS = {1: "Price", 2: "Features", 3: "Competitor", 4: "Other"}
_STAGES = {1_001: "Qualified", 1_002: "Follow-up", 1_003: "Presentation"}
_PIPELINE_ID = 501


def about(account: Account, _: Call) -> Reply:
    """More than the id and the name are in the schema of a public client, not in the documentation."""
    known: Json = {"id": ACCOUNT_ID, "name": account.name}
    if not account.faults.bare_account:
        east = account.faults.zone_offset_h
        # POSIX counts to the west.
        known["primary_timezone"] = "Etc/UTC" if east == 0 else f"Etc/GMT{-east:+d}"
        known["settings"] = {"setting_team_permissions_enabled": True, "setting_enable_leads": True}
    return Reply(known)


def me(account: Account, call: Call) -> Reply:
    return Reply(_user(account.users[call.caller.user_id]))


def user(account: Account, call: Call) -> Reply:
    found = account.users.get(call.number())
    if found is None:
        raise not_found()
    return Reply(_user(found))


def search_users(account: Account, call: Call) -> Reply:
    body = dict(call.object())
    rows = searching.page(account, call, body)
    problems = unrecognized(body, ("sort_by", "sort_direction"))
    if problems:
        raise Invalid(*problems)
    users = [_user(one) for one in account.users.values()]
    return Reply(users[rows.start : rows.stop], {"X-PW-TOTAL": str(len(users))})


def _user(one: User) -> Json:
    return {"id": one.id, "name": one.name, "email": one.email}


def _named(known: dict[int, str]) -> list[Json]:
    return [{"id": number, "name": name} for number, name in known.items()]


def contact_types(_: Account, __: Call) -> Reply:
    return Reply(_named(CONTACT_TYPES))


def lead_statuses(_: Account, __: Call) -> Reply:
    rows = enumerate(_named(LEAD_STATUSES), 1)
    return Reply([{**row, "order": order, "is_default": order == 1} for order, row in rows])


def customer_sources(_: Account, __: Call) -> Reply:
    return Reply(_named(CUSTOMER_SOURCES))


def loss_reasons(_: Account, __: Call) -> Reply:
    return Reply(_named(_LOSS_REASONS))


def pipelines(_: Account, __: Call) -> Reply:
    return Reply([{"id": _PIPELINE_ID, "name": "Sales", "stages": _named(_STAGES)}])


def pipeline_stages(_: Account, __: Call) -> Reply:
    return Reply([{**row, "pipeline_id": _PIPELINE_ID, "win_probability": None} for row in _named(_STAGES)])


def tags(account: Account, call: Call) -> Reply:
    """Of people and leads: the count of each, or the bare names."""
    found = sorted((name, count) for name, count in account.tags.items() if count > 0)
    if call.query.get("sort_by") == "count":
        found.sort(key=lambda one: -one[1])
    if call.query.get("tag_names_only") == "true":
        return Reply([name for name, _ in found])
    return Reply([{"name": name, "count": count} for name, count in found])
