"""What Pipedrive tells by webhooks of version 2.0, and having it tell us.

They are not signed, may be late, twice, out of order or lost: they are hints. Of a merge both sides tell; of an
activity its participants are not told. Source: Pipedrive's guide for webhooks v2 and OpenAPI document of the first
version, August 2026.
"""

from typing import Any

import orjson

from app.connectors.faults import Refused
from app.connectors.pipedrive.calls import Api, Endpoint, Json, refused
from app.connectors.pipedrive.fields import PERSON
from app.connectors.shapes import Hint, Key, Notice

LIST = Endpoint("GET", "/v1/webhooks", 10, "admin")
_MAKE = Endpoint("POST", "/v1/webhooks", 10, "admin")
_REMOVE = Endpoint("DELETE", "/v1/webhooks", 6, "admin")

_ACTIVITY = "activity"
_OBJECTS = (PERSON, _ACTIVITY)
_NAME = "Leadtally"


def read(body: bytes) -> Notice:
    """What a call says; of what does not concern us, nothing. Raises ValueError."""
    said = orjson.loads(body)
    meta = said.get("meta") if isinstance(said, dict) else None
    if not isinstance(meta, dict) or not isinstance(meta.get("entity"), str):
        raise ValueError("the call is none of a webhook of version 2.0")  # noqa: TRY004 - what was sent is wrong
    if meta["entity"] == _ACTIVITY:
        return Notice([], is_activity=True)
    if meta["entity"] != PERSON:
        return Notice([])
    person, into, of = _key(meta.get("entity_id")), _key(meta.get("merged_to_id")), _key(meta.get("merged_from_id"))
    if person is None:
        raise ValueError("the call names no person")
    hints = [Hint(person, into)]
    if of is not None:
        hints.append(Hint(of, person))
    return Notice(hints)


def _key(said: Any) -> Key | None:  # Any: JSON
    id_ = str(said)
    return Key(PERSON, id_) if not isinstance(said, bool) and id_.isascii() and id_.isdigit() else None


async def subscribe(api: Api, url: str, user: str, password: str) -> str | None:
    """Make the webhooks that are not there; how by hand, where Pipedrive refuses. One for this address that signs in
    as somebody else is made anew: its password is not shown."""
    try:
        there = await _there(api)
        for object_ in _OBJECTS:
            known = [hook for hook in there if _is_for(hook, url, object_)]
            if any(hook.get("http_auth_user") == user for hook in known):
                continue
            for hook in known:
                await api.call(_REMOVE.at(str(hook.get("id"))))
            await _make(api, object_, url, user, password)
    except Refused as fault:
        return (
            f"Pipedrive refused it ({fault}). In Pipedrive, as an administrator: 1. open Tools and apps, Webhooks, "
            f'Create new webhook. 2. Choose the event action "*" and the event object "{PERSON}", version 2.0, and '
            "give the address, the user and the password of this connection. 3. Make a second one for the event "
            f'object "{_ACTIVITY}". A user may have 40; those that nobody needs can be deleted there.'
        )
    return None


async def _there(api: Api) -> list[Json]:
    reply = await api.call(LIST)
    if not reply.is_success:
        raise refused(reply)
    data = reply.json().get("data")
    return [hook for hook in data if isinstance(hook, dict)] if isinstance(data, list) else []


def _is_for(hook: Json, url: str, object_: str) -> bool:
    is_alive = hook.get("is_active") not in (0, False)
    is_whole = hook.get("event_action") == "*" and hook.get("event_object") == object_
    return is_alive and is_whole and hook.get("subscription_url") == url


async def _make(api: Api, object_: str, url: str, user: str, password: str) -> None:
    said = {
        "subscription_url": url,
        "event_action": "*",
        "event_object": object_,
        "name": f"{_NAME}: {object_}",
        "version": "2.0",
        "http_auth_user": user,
        "http_auth_password": password,
    }
    reply = await api.call(_MAKE, json=said)
    if not reply.is_success:
        raise refused(reply)
