"""Webhooks of the second version: making them, and what they are told."""

from urllib.parse import urlsplit

from app.sandbox.pipedrive.company import COMPANY_ID, Company
from app.sandbox.pipedrive.records import Event, Hook
from app.sandbox.pipedrive.values import is_id
from app.sandbox.pipedrive.wire import Call, Json, Refused, Reply, fine

_ACTIONS = ("create", "change", "delete", "*")
_ENTITIES = ("activity", "deal", "lead", "note", "organization", "person", "pipeline", "product", "stage", "user", "*")
_MOST = 40
"""Of one user."""


def index(company: Company, call: Call) -> Reply:
    hooks = [_shown(hook) for hook in company.hooks.values() if _sees(call, hook)]
    return Reply({"status": "ok", "success": True, "data": hooks})


def add(company: Company, call: Call) -> Reply:
    body = call.object()
    user_id = body.get("user_id") or call.caller.user_id
    errors = _errors(company, body)
    if errors:
        raise _faulty(400, errors)
    if sum(hook.user_id == user_id for hook in company.hooks.values()) >= _MOST:
        raise _faulty(422, {"general": [f"no more than {_MOST} webhooks of one user"]})
    hook = Hook(
        company.next_id("hook") + 370,
        body["subscription_url"],
        body["event_action"],
        body["event_object"],
        body["name"],
        body.get("version") or "2.0",
        user_id,
        company.millis(),
        call.caller.client_id,
        body.get("http_auth_user"),
        body.get("http_auth_password"),
    )
    company.hooks[hook.id] = hook
    return Reply({"status": "ok", "success": True, "data": _shown(hook)}, 201)


def _errors(company: Company, body: Json) -> dict[str, list[str]]:
    errors = {
        name: [f"is not one of {', '.join(known)}"]
        for name, known in (("event_action", _ACTIONS), ("event_object", _ENTITIES))
        if body.get(name) not in known
    }
    if not _is_url(body.get("subscription_url")):
        errors["subscription_url"] = ["invalid or non-reachable URL"]
    if not isinstance(body.get("name"), str) or not body["name"].strip():
        errors["name"] = ["must be given"]
    # The stand-in speaks 2.0 only, which is what Pipedrive makes of a webhook that names no version.
    if body.get("version") not in (None, "2.0"):
        errors["version"] = ["is not 2.0"]
    user_id = body.get("user_id")
    if user_id is not None and not (is_id(user_id) and user_id in company.users):
        errors["user_id"] = ["not found"]
    for name in ("http_auth_user", "http_auth_password"):
        if not isinstance(body.get(name), str | None):
            errors[name] = ["must be a string"]
    return errors


def _is_url(value: object) -> bool:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def delete(company: Company, call: Call) -> Reply:
    hook = company.hooks.get(call.number())
    if hook is None:
        raise _faulty(404, {"id": ["not found"]})
    if not _sees(call, hook):
        fault = Refused(403, "Forbidden")
        fault.body = {"success": False, "message": "Forbidden"}
        raise fault
    del company.hooks[hook.id]
    return Reply({"status": "ok", "success": True})


def _faulty(status: int, errors: dict[str, list[str]]) -> Refused:
    fault = Refused(status, "webhook")
    fault.body = {"status": "error", "success": False, "errors": errors}
    return fault


def _sees(call: Call, hook: Hook) -> bool:
    """An app sees its own only."""
    return call.caller.client_id is None or call.caller.client_id == hook.client_id


def _shown(hook: Hook) -> Json:
    return {
        "id": hook.id,
        "company_id": COMPANY_ID,
        "owner_id": hook.user_id,
        "user_id": hook.user_id,
        "event_action": hook.action,
        "event_object": hook.entity,
        "subscription_url": hook.url,
        "version": hook.version,
        "is_active": 1,
        "add_time": fine(hook.added_ms),
        "remove_time": None,
        "type": "general" if hook.client_id is None else "application",
        "http_auth_user": hook.user,
        "last_delivery_time": None if hook.last_delivery_ms is None else fine(hook.last_delivery_ms),
        "last_http_status": hook.last_status,
        "admin_id": hook.user_id,
        "name": hook.name,
    }


def listening(company: Company, event: Event) -> list[Hook]:
    """Who is told of an event; whoever is banned at the time never is."""
    return [
        hook
        for hook in company.hooks.values()
        if hook.entity in (event.entity, "*")
        and hook.action in (event.action, "*")
        and hook.banned_until_ms <= event.at_ms
    ]


def message(company: Company, hook: Hook, event: Event) -> Json:
    """The body of a delivery; its `meta.attempt` is the first."""
    number = company.next_id("message")
    meta = {
        "action": event.action,
        "entity": event.entity,
        "company_id": str(COMPANY_ID),
        "correlation_id": company.uuid(f"correlation {number}"),
        "entity_id": str(event.id),
        "id": company.uuid(f"message {number}"),
        "is_bulk_edit": False,
        "timestamp": fine(event.at_ms),
        "type": "general" if hook.client_id is None else "application",
        "user_id": str(event.author.user_id),
        "version": hook.version,
        "webhook_id": str(hook.id),
        "webhook_owner_id": str(hook.user_id),
        "change_source": event.author.source,
        "attempt": 1,
        "host": f"{company.name}.pipedrive.com",
        "permitted_user_ids": [str(user) for user in company.users],
        **event.meta,
    }
    return {"meta": meta, "data": event.data, "previous": event.previous}
