"""Postmark's webhooks: one event a call, a JSON object whose `RecordType` tells its kind.

Sources: Postmark's webhook and bounce pages, its own client's list of bounce types, public handlers.
"""

from collections.abc import Iterator
from typing import Any

from app.esp import signing, wire
from app.esp.shapes import (
    AUTO_REPLIED,
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DELIVERED,
    FAILED,
    HARD,
    OPENED,
    RESUBSCRIBED,
    SOFT,
    UNSUBSCRIBED,
    Notice,
    Provider,
    Request,
    Said,
)

_EVENTS = {"Delivery": DELIVERED, "Open": OPENED, "Click": CLICKED}
_JUDGED_BY_TYPE = {"Bounce", "SpamComplaint"}
_CHANGE = "SubscriptionChange"
_INBOUND = "Inbound"

_TYPES: dict[str, wire.Outcome] = {
    "HardBounce": (BOUNCED, HARD),
    "BadEmailAddress": (BOUNCED, HARD),
    "SoftBounce": (BOUNCED, SOFT),
    "Transient": (BOUNCED, SOFT),
    "DnsError": (BOUNCED, SOFT),
    "Blocked": (BLOCKED, None),
    "DMARCPolicy": (BLOCKED, None),
    "VirusNotification": (BLOCKED, None),
    # A filter took the message for spam; nobody complained.
    "SpamNotification": (BLOCKED, None),
    "ManuallyDeactivated": (BLOCKED, None),
    "SpamComplaint": (COMPLAINED, None),
    "Unsubscribe": (UNSUBSCRIBED, None),
    "Subscribe": (RESUBSCRIBED, None),
    "AutoResponder": (AUTO_REPLIED, None),
    "AddressChange": (AUTO_REPLIED, None),
    "ChallengeVerification": (AUTO_REPLIED, None),
    "SMTPApiError": (FAILED, None),
    "TemplateRenderingFailed": (FAILED, None),
}
_SUPPRESSED = {"ManuallyDeactivated"}
_LEFT_OUT = {"OpenRelayTest", "Unconfirmed", "InboundError"}
_SUPPRESSIONS: dict[str, wire.Outcome] = {
    "ManualSuppression": (UNSUBSCRIBED, None),
    "HardBounce": (BOUNCED, HARD),
    "SpamComplaint": (COMPLAINED, None),
}
"""Why an address was suppressed: the same fact that a bounce or complaint reports, for who asked for this alone."""

_TIMES = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")


class _Postmark(signing.Unsigned):
    kind: str = "postmark"
    title: str = "Postmark"

    def read(self, request: Request) -> list[Said]:
        return wire.each(request.body, _event)


def _event(item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    name = wire.text(item.get("RecordType"))
    if name == _INBOUND or (name is None and "FromFull" in item):
        return
    type_word = wire.text(item.get("Type"))
    if name in _JUDGED_BY_TYPE and type_word in _LEFT_OUT:
        return
    outcome = _outcome(name, type_word, item)
    if outcome is None:
        yield wire.unknown(pointer, "RecordType", name)
        return
    email = wire.address(item.get("Email")) or wire.address(item.get("Recipient"))
    if email is None:
        yield wire.nobody(pointer, "Email" if name in _JUDGED_BY_TYPE else "Recipient")
        return
    type_, bounce = outcome
    details = wire.text(item.get("Details"))
    code, status = wire.codes(details)
    at = wire.instant(next((item[field] for field in _TIMES if item.get(field)), None))
    message_id = wire.text(item.get("MessageID"))
    url = wire.text(item.get("OriginalLink"))
    is_change = name == _CHANGE
    reason = wire.text(item.get("SuppressionReason")) if is_change else type_word
    yield Notice(
        type_,
        email,
        at,
        wire.event_id(wire.text(item.get("ID")), f"{name} {reason}", email, at, message_id, url),
        wire.properties(
            bounce=bounce,
            status=status,
            code=code,
            reason=reason,
            diagnostic=details or wire.text(item.get("Description")),
            suppressed=type_word in _SUPPRESSED or None,
            message_id=message_id,
            list=wire.text(item.get("MessageStream")) if is_change else None,
            subject=wire.text(item.get("Subject")),
            tags=wire.listed(item.get("Tag")),
            url=url,
            user_agent=wire.text(item.get("UserAgent")),
            ip=wire.text(wire.part(item.get("Geo")).get("IP")),
            custom=wire.part(item.get("Metadata")),
        ),
    )


def _outcome(name: str | None, type_word: str | None, item: dict[str, Any]) -> wire.Outcome | None:
    """The event, and hard or soft; None if it is none that we know."""
    if name in _EVENTS:
        return _EVENTS[name], None
    if name == "SpamComplaint" and type_word is None:
        return COMPLAINED, None
    if name in _JUDGED_BY_TYPE:
        # Unknown, and whatever they add: the server's words decide.
        details = wire.text(item.get("Details")) or wire.text(item.get("Description"))
        return _TYPES.get(type_word or "") or wire.judged(None, None, details)
    if name == _CHANGE:
        if not wire.truth(item.get("SuppressSending")):
            return RESUBSCRIBED, None
        return _SUPPRESSIONS.get(wire.text(item.get("SuppressionReason")) or "", (UNSUBSCRIBED, None))
    return None


PROVIDER: Provider = _Postmark()
