"""What Copper tells by webhooks, and having it tell us.

They are told at most once, up to 15 minutes late, up to 30 records at a time, and not signed: they are hints. What was
given as a secret stands among the rest of a call. There is one subscription for each object and event, and an account
may have 100. Source: "Webhooks" of Copper's developer documentation and help centre, August 2026.
"""

import hashlib
import hmac
from typing import Any

import orjson

from app.connectors.copper.calls import Api, Endpoint, Json, is_id
from app.connectors.copper.listed import LEAD, PERSON
from app.connectors.faults import Refused
from app.connectors.provider import Setup
from app.connectors.shapes import Hint, Key, Notice

LIST = Endpoint("GET", "/webhooks")
_MAKE = Endpoint("POST", "/webhooks", is_read=False)
_REMOVE = Endpoint("DELETE", "/webhooks")

_ACTIVITY = "activity_log"
_EVENTS = ("new", "update", "delete")
_NAME = "leadtally"


def secret(setup: Setup) -> str:
    """What our subscriptions are made with: the same for as long as the credentials are."""
    key = setup.credentials.get("api_key") or setup.credentials.get("client_secret") or ""
    return hmac.new(key.strip().encode(), b"Leadtally's webhooks of Copper", hashlib.sha256).hexdigest()[:32]


def read(body: bytes, known: str) -> Notice:
    """What a call says; of what does not concern us, nothing. `known` is our secret: a call that brings another one is
    none of ours; one of a subscription that was made by hand brings none. Raises ValueError."""
    said = orjson.loads(body)
    if not isinstance(said, dict) or not isinstance(said.get("type"), str) or said.get("event") not in _EVENTS:
        raise ValueError("the call is none of a webhook of Copper's")
    brought = said.get("secret")
    if brought is not None and not hmac.compare_digest(str(brought).encode(errors="replace"), known.encode()):
        raise ValueError("the call brings another secret than ours")
    ids = said.get("ids")
    if not isinstance(ids, list) or not all(is_id(one) for one in ids):
        raise ValueError("the call names no records")
    if said["type"] == _ACTIVITY:
        return Notice([], is_activity=True)
    if said["type"] not in (PERSON, LEAD):
        return Notice([])
    return Notice([Hint(Key(said["type"], str(one))) for one in ids])


async def subscribe(api: Api, objects: tuple[str, ...], url: str, known: str) -> str | None:
    """Make the webhooks that are not there; what to do about it, where Copper refuses. One for this address with
    another secret, such as from before the API key was changed, is made anew."""
    try:
        there = [hook for hook in await api.every(LIST) if hook.get("target") == url]
        for type_ in (*objects, _ACTIVITY):
            for event in _EVENTS:
                await _have(api, there, {"target": url, "type": type_, "event": event}, known)
    except Refused as fault:
        return (
            f"Copper refused it ({fault}). Its webhooks are made by its API alone, 100 at most, for addresses that "
            f"begin with https://, and this connection needs {(len(objects) + 1) * len(_EVENTS)} for {url}. Let an "
            "administrator's key be used, delete webhooks that nobody needs (GET and DELETE /webhooks), and test again."
        )
    return None


async def _have(api: Api, there: list[Json], wanted: Json, known: str) -> None:
    alike = [hook for hook in there if all(hook.get(name) == value for name, value in wanted.items())]
    if any(_secret_of(hook) in (known, None) for hook in alike):
        return
    try:
        for hook in alike:
            await api.one(_REMOVE.at(str(hook.get("id"))))
        await api.one(_MAKE, {**wanted, "secret": {"secret": known, "key": _NAME}})
    except Refused:
        # By one of Copper's pages, activities are told of only when they are new.
        if wanted["type"] != _ACTIVITY or wanted["event"] == _EVENTS[0]:
            raise


def _secret_of(hook: Json) -> Any:  # Any: JSON
    """None where it is not shown."""
    said = hook.get("secret")
    return said.get("secret") if isinstance(said, dict) else said
