"""Webhooks: making them, and what they are told. Nothing is signed: a secret comes back in each body.

Source: "Webhooks" and the Postman collection.
"""

from typing import Any
from urllib.parse import urlsplit

from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Event, Hook
from app.sandbox.copper.wire import Call, Invalid, Json, Problem, Reply, Wrong, not_found, read, text

_TYPES = ("lead", "person", "company", "opportunity", "project", "task", "activity_log")
_EVENTS = ("new", "update", "delete")
_MOST = 100


def index(account: Account, call: Call) -> Reply:
    return Reply([_shown(hook) for hook in account.hooks.values() if hook.key == call.caller.key])


def get(account: Account, call: Call) -> Reply:
    return Reply(_shown(_known(account, call)))


def add(account: Account, call: Call) -> Reply:
    body = call.object()
    missing = [Problem(name, "can't be blank", "blank") for name in ("target", "type", "event") if not body.get(name)]
    given = {name: value for name, value in body.items() if value not in (None, "")}
    wanted = read(given, {**_READERS, "target": lambda value: _target(account, value)}, missing)
    if len(account.hooks) >= _MOST:
        raise Invalid(Problem("base", f"no more than {_MOST} webhooks"))
    number = account.next_id("hook")
    hook = Hook(number, wanted["target"], wanted["type"], wanted["event"], call.caller.key, account.now())
    hook.secret, hook.headers = wanted.get("secret"), wanted.get("headers")
    account.hooks[number] = hook
    return Reply(_shown(hook))


def delete(account: Account, call: Call) -> Reply:
    hook = _known(account, call)
    del account.hooks[hook.id]
    return Reply({"id": hook.id})


def _known(account: Account, call: Call) -> Hook:
    """A webhook is its key's alone."""
    hook = account.hooks.get(call.number())
    if hook is None or hook.key != call.caller.key:
        raise not_found()
    return hook


def _shown(hook: Hook) -> Json:
    row: Json = {
        "id": hook.id,
        "target": hook.target,
        "type": hook.type,
        "event": hook.event,
        "secret": hook.secret,
        "created_at": hook.created_at,
    }
    return row if hook.headers is None else {**row, "headers": hook.headers}


def _target(account: Account, value: object) -> str:
    given = text(value)
    try:
        parts = urlsplit(given)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or (account.faults.secure_hooks_only and parts.scheme != "https"):
        raise Wrong("must be an https:// URL")
    return given


def _choice(known: tuple[str, ...]) -> Any:  # Any: a reader
    def check(value: object) -> str:
        if value not in known:
            raise Wrong("is not included in the list")
        return str(value)

    return check


def _hash(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise Wrong("must be a hash of strings")
    return value


_READERS = {"type": _choice(_TYPES), "event": _choice(_EVENTS), "secret": _hash, "headers": _hash}


def listening(account: Account, event: Event) -> list[Hook]:
    return [hook for hook in account.hooks.values() if (hook.type, hook.event) == (event.type, event.event)]


def message(hook: Hook, events: list[Event]) -> Json:
    """The body of a notification: one map of changes for all its ids, and the secret at the top level."""
    body: Json = {
        "ids": list(dict.fromkeys(event.id for event in events)),
        "type": hook.type,
        "event": hook.event,
        "subscription_id": hook.id,
        **(hook.secret or {}),
    }
    if hook.event == "update":
        body["updated_attributes"] = {name: value for event in events for name, value in (event.changes or {}).items()}
    return body
