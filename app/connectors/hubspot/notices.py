"""What HubSpot tells by webhooks, and how an administrator sets them up.

A call holds a list of events; they may be late, twice, out of order or lost: they are hints. Subscriptions belong to an
app, not to an account, and no token of an account may make them: private apps have them in their settings, others in
the developer's. So all accounts that installed an app tell the same address, and `choices` may say `portal_id`: events
of any other account are passed over.

A call is signed with the app's client secret, the third version over method, address, body and time; the first, over
the body alone, is believed where it comes alone. Without a client secret, which a private app's connection need not
give, nothing is checked but the secret in the address. Source: HubSpot's documentation of webhooks, its clients,
October 2026.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import orjson

from app import clock
from app.connectors.hubspot.fields import BOUNCED, CONTACT, EMAIL, FIRST_NAME, LAST_NAME, OPT_OUT
from app.connectors.hubspot.values import instant_of
from app.connectors.shapes import Call, Hint, Key, Notice

_V3, _V1, _TIME = "x-hubspot-signature-v3", "x-hubspot-signature", "x-hubspot-request-timestamp"
_STALE = timedelta(minutes=5)
_MOST = 1_000
"""Events in a call; HubSpot sends a hundred at most."""
_CONTACTS, _ACTIVITIES = "0-1", ("0-48", "0-47", "0-49", "0-18", "0-27")


def read(call: Call, secret: str | None, portal: str | None) -> Notice:
    """What a call says; of what does not concern us, nothing. Raises ValueError."""
    if secret is not None:
        _check(call, secret)
    events = orjson.loads(call.body)
    if not isinstance(events, list) or not 0 < len(events) <= _MOST:
        raise ValueError("the call holds no list of events, or too many")
    hints: dict[Hint, None] = {}
    is_activity = False
    for event in events:
        kind = event.get("subscriptionType") if isinstance(event, dict) else None
        if not isinstance(kind, str) or "portalId" not in event:
            raise ValueError("what the call holds is no event")
        if portal is not None and str(event["portalId"]) != portal:
            continue
        of = event.get("objectTypeId")
        if kind.startswith("contact.") or (kind.startswith("object.") and of == _CONTACTS):
            hints |= dict.fromkeys(_hints(event))
        elif kind.startswith("object.") and of in _ACTIVITIES:
            is_activity = True
    return Notice(list(hints), is_activity)


def _hints(event: Mapping[str, Any]) -> Iterator[Hint]:  # Any: JSON
    """Of a merge also those who went into another, and into whom: since 2025 that may be a third."""
    into, merged = event.get("newObjectId", event.get("primaryObjectId")), event.get("mergedObjectIds")
    if str(event.get("subscriptionType")).endswith(".merge") and into is not None:
        lost = [event.get("primaryObjectId"), *(merged if isinstance(merged, list) else ())]
        for one in lost:
            if one is not None and str(one) != str(into):
                yield Hint(_key(one), _key(into))
        yield Hint(_key(into))
    else:
        yield Hint(_key(event.get("objectId")))


def _key(said: object) -> Key:
    id_ = str(said)
    if isinstance(said, bool) or not (id_.isascii() and id_.isdigit()) or len(id_) > 19:
        raise ValueError("an event names no contact")
    return Key(CONTACT, id_)


def _check(call: Call, secret: str) -> None:
    """Raises ValueError."""
    key, said = secret.strip().encode(), call.headers.get(_V3)
    if said is not None:
        stamp = call.headers.get(_TIME, "")
        at = instant_of(stamp) if stamp.isdigit() else None
        if at is None or abs(clock.now() - at) > _STALE:
            raise ValueError("the call is signed for another time")
        signed = b"POST" + call.url.encode() + call.body + stamp.encode()
        right = b64encode(hmac.digest(key, signed, "sha256"))
    else:
        said = call.headers.get(_V1, "")
        right = hashlib.sha256(key + call.body).hexdigest().encode()
    if not hmac.compare_digest(right, said.encode()):
        raise ValueError("the call is not signed by HubSpot for this app")


def recipe(url: str, *, is_private: bool) -> str:
    """For an administrator."""
    where = (
        "1. HubSpot > Settings > Integrations > Private Apps > the app > Edit > Webhooks."
        if is_private
        else "1. The app's developer account > Apps > the app > Webhooks; its target URL is one for all accounts."
    )
    properties = ", ".join((EMAIL, FIRST_NAME, LAST_NAME, OPT_OUT, BOUNCED))
    return "\n".join(
        (
            "Changes are looked for every few minutes. To be told of them at once, as an administrator of the app:",
            where,
            f"2. Target URL: {url}",
            "3. Create subscriptions for contacts: created, deleted, deleted for privacy, merged, restored.",
            f"4. And one for each property that is mapped and that people change, at least: {properties}.",
            "5. Activate them all. Of activities that are told beside, such as calls, no property matters.",
        )
    )
