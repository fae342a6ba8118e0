"""HubSpot: a JSON list of changes to its records. What e-mail did to a contact shows in properties of the contact.

A change names the contact by HubSpot's id alone, so a notice has that as `user_id` and no address. Only changes of
contacts' properties are read: creations, merges, deletions, privacy deletions too, and other objects are left out.
Sources: HubSpot's pages on webhooks, generic webhooks and request validation, its Python client's signature tests,
property lists of public accounts.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from app.esp import signing, wire
from app.esp.shapes import (
    BLOCKED,
    BOUNCED,
    HARD,
    RESUBSCRIBED,
    UNSUBSCRIBED,
    UPDATED,
    Fetch,
    Forged,
    Notice,
    Provider,
    Request,
    Said,
    Unread,
)

_FACTS: dict[tuple[str, bool | None], wire.Outcome] = {
    ("hs_email_optout", True): (UNSUBSCRIBED, None),
    ("hs_email_optout", False): (RESUBSCRIBED, None),
    ("hs_email_hard_bounce_reason_enum", True): (BOUNCED, HARD),
    ("hs_email_hard_bounce_reason", True): (BOUNCED, HARD),
    ("hs_email_bad_address", True): (BOUNCED, HARD),
    ("hs_email_quarantined", True): (BLOCKED, None),
    ("hs_email_is_ineligible", True): (BLOCKED, None),
}
"""A property, and whether it was set: any other change is one of the contact's traits. `hs_email_bounce` is among them:
it counts bounces of either kind."""
_FOR_REASON: dict[tuple[str, str | None], wire.Outcome] = {
    ("hs_email_hard_bounce_reason_enum", "HUBSPOT_GLOBAL_BOUNCE"): (BLOCKED, None),
    ("hs_email_hard_bounce_reason", "HUBSPOT_GLOBAL_BOUNCE"): (BLOCKED, None),
}
"""A reason that repeats what the address did in other accounts: HubSpot did not try."""

_CONTACT_TYPE_ID = "0-1"
_CHANGE = "propertyChange"
_LEFT_OUT = {"creation", "deletion", "privacyDeletion", "merge", "restore", "associationChange", "newMessage"}

_V3, _OLD, _VERSION = "X-HubSpot-Signature-v3", "X-HubSpot-Signature", "X-HubSpot-Signature-Version"
_STAMP = "X-HubSpot-Request-Timestamp"
# As HubSpot asks. It tries for a day, so that each try must be signed anew.
_WINDOW = timedelta(minutes=5)
_ESCAPES = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
"""HubSpot signs the address with these undone, and no others."""


class _HubSpot:
    kind: str = "hubspot"
    title: str = "HubSpot"
    secret: str | None = "the app's client secret"  # noqa: S105 - what it is

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:  # noqa: ARG002 - no need to
        """Version 3: HMAC-SHA256 over method, address, body and time. Where HubSpot sends no such signature, version 1:
        SHA-256 over secret and body, or 2: over secret, method, address and body.

        The old versions cover no time. A replay repeats ids that are known, so that it changes nothing.
        """
        body, call = request.body, (request.method + request.url).encode(errors="replace")
        if request.headers.get(_V3.lower()) or not request.headers.get(_OLD.lower()):
            signature = signing.header(request, _V3)
            stamp = signing.header(request, _STAMP)
            signing.check_age(wire.instant(stamp), request, _STAMP, window=_WINDOW)
            url = _ESCAPES.sub(lambda escape: unquote(escape[0]), request.url)
            message = (request.method + url).encode(errors="replace") + body + stamp.encode(errors="replace")
            signing.require(
                secrets, lambda key: signing.is_signed(signature, message, [key.encode()], form_="base64"), _V3
            )
            return
        digest = signing.from_hex(signing.header(request, _OLD)) or b""
        signed = {"v1": body, "v2": call + body}.get(signing.header(request, _VERSION).lower())
        if signed is None:
            raise Forged(f"{_VERSION} is neither v1 nor v2")
        signing.require(
            secrets, lambda key: hmac.compare_digest(digest, hashlib.sha256(key.encode() + signed).digest()), _OLD
        )

    def read(self, request: Request) -> list[Said]:
        return wire.each(request.body, _change)


def _change(item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    name = wire.text(item.get("subscriptionType"))
    object_, _, change = (name or "").partition(".")
    if change not in (_CHANGE, *_LEFT_OUT):
        yield wire.unknown(pointer, "subscriptionType", name)
        return
    is_contact = object_ == "contact" or (object_ == "object" and item.get("objectTypeId") == _CONTACT_TYPE_ID)
    if change != _CHANGE or not is_contact:
        return
    object_id, property_ = wire.text(item.get("objectId")), wire.text(item.get("propertyName"))
    if object_id is None or property_ is None:
        field = "objectId" if object_id is None else "propertyName"
        yield Unread(f"{pointer}/{field}", "missing")
        return
    value = item.get("propertyValue")
    words, is_set = wire.text(value), wire.truth(value)
    if is_set is None and words is not None:
        is_set = True
    type_, bounce = _FOR_REASON.get((property_, words)) or _FACTS.get((property_, is_set)) or (UPDATED, None)
    at = wire.instant(item.get("occurredAt"))
    user_id = f"hubspot:{object_id}"
    yield Notice(
        type_,
        None,
        at,
        # HubSpot does not promise that `eventId` is unique, nor that a later attempt repeats it.
        wire.event_id(None, type_, user_id, at, wire.text(item.get("portalId")), property_, words or is_set),
        wire.properties(
            bounce=bounce,
            reason=(words if wire.truth(value) is None else property_) if type_ != UPDATED else None,
            suppressed=type_ == BLOCKED or None,
            traits={property_: value} if type_ == UPDATED else None,
        ),
        user_id,
    )


PROVIDER: Provider = _HubSpot()
