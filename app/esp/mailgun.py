"""Mailgun's webhooks: one event a call, as JSON `{"signature": {...}, "event-data": {...}}`.

Hooks made before 2018 send a form instead, with the sender's own values merged among Mailgun's fields.
Sources: Mailgun's webhook, event and retry pages, public handlers.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from app.esp import signing, wire
from app.esp.shapes import (
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DEFERRED,
    DELIVERED,
    HARD,
    OPENED,
    SENT,
    SOFT,
    UNSUBSCRIBED,
    Fetch,
    Forged,
    Notice,
    Provider,
    Request,
    Said,
    Unread,
)

_EVENTS = {
    "accepted": SENT,
    "delivered": DELIVERED,
    "opened": OPENED,
    "clicked": CLICKED,
    "unsubscribed": UNSUBSCRIBED,
    "complained": COMPLAINED,
    "rejected": BLOCKED,
    "failed": BOUNCED,
}
_LEFT_OUT = {"stored", "list_uploaded", "list_member_uploaded", "list_member_upload_error", "email_validation"}
_OLD_NAMES = {"bounced": "failed", "dropped": "failed"}

_SUPPRESSED_CODES = {605, 606, 607, 625}
"""Mailgun's own: bounced, unsubscribed or complained before, and a list of poor quality. Nothing was sent."""
_CODES: dict[int, wire.Outcome] = {498: (BOUNCED, HARD), 499: (BOUNCED, SOFT), 602: (BOUNCED, SOFT)}
"""Mailgun's own: the domain has no mail server, its server could not be reached, too old."""
_KINDS: dict[str, wire.Outcome] = {"hard": (BOUNCED, HARD), "soft": (BOUNCED, SOFT)}
_REASONS: dict[str, wire.Outcome] = {
    "bounce": (BOUNCED, HARD),
    "old": (BOUNCED, SOFT),
    "greylisted": (BOUNCED, SOFT),
    "espblock": (BLOCKED, None),
}

_STAMP, _TOKEN, _SIGNATURE = "timestamp", "token", "signature"
# Mailgun tries for 8 hours, and does not say that it signs each try anew. The signature does not cover the event, so
# whoever came to know one could say anything with it: it shall not be good for longer than the tries take.
_WINDOW = timedelta(hours=9)


class _Mailgun:
    kind: str = "mailgun"
    title: str = "Mailgun"
    secret: str | None = "the HTTP webhook signing key"  # noqa: S105 - what it is

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:  # noqa: ARG002 - no need to
        """Hex HMAC-SHA256 over timestamp and token, which stand in the body."""
        signed = _signed(request.body)
        stamp, token, signature = (wire.text(signed.get(name)) for name in (_STAMP, _TOKEN, _SIGNATURE))
        if stamp is None or token is None or signature is None:
            raise Forged("the body has no timestamp, token and signature")
        signing.check_age(wire.instant(stamp), request, "the signature's timestamp", window=_WINDOW)
        message = (stamp + token).encode()
        signing.require(
            secrets, lambda secret: signing.is_signed(signature, message, [secret.encode()]), "the body's signature"
        )

    def read(self, request: Request) -> list[Said]:
        if _is_form(request.body):
            return list(_event(_modern(wire.pairs(request.body)), "", ""))
        return wire.each(request.body, _enveloped)


def _is_form(body: bytes) -> bool:
    return body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"[", b"")


def _signed(body: bytes) -> dict[str, Any]:  # Any: JSON
    if _is_form(body):
        # A sender's value of that name comes before Mailgun's: the last one holds.
        return dict(wire.pairs(body))
    try:
        return wire.part(wire.part(wire.json_of(body)).get("signature"))
    except ValueError as fault:
        raise Forged(str(fault)) from None


def _enveloped(item: dict[str, Any], pointer: str) -> Iterator[Said]:
    event = item.get("event-data")
    if not isinstance(event, dict):
        yield Unread(f"{pointer}/event-data", "expected an object")
        return
    yield from _event(event, f"{pointer}/event-data", wire.text(wire.part(item.get("signature")).get(_TOKEN)) or "")


def _modern(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """The event of an old hook's form in today's shape.

    The sender's values are merged among the fields, after Mailgun's; only beside its time are they before. What else
    of them there is cannot be told from fields that Mailgun may add, so they come from the message's own header.
    """
    last = dict(pairs)
    first = dict(reversed(pairs))
    name = first.get("event", "")
    return {
        "event": _OLD_NAMES.get(name, name),
        "severity": "permanent",
        # Old reasons tell only whether Mailgun had tried: hardfail, old.
        "reason": "old" if first.get("reason") == "old" else None,
        "recipient": first.get("recipient"),
        "timestamp": last.get(_STAMP),
        "delivery-status": {
            "code": first.get("code"),
            "enhanced-code": wire.codes(first.get("code"))[1],
            "message": first.get("error") or first.get("notification") or first.get("description"),
        },
        "message": {"headers": {"message-id": first.get("Message-Id") or first.get("message-id")}},
        "url": first.get("url"),
        "ip": first.get("ip"),
        "client-info": {"user-agent": first.get("user-agent")},
        "tags": [value for field, value in pairs if field in ("tag", "X-Mailgun-Tag")],
        "campaigns": [{"name": first.get("campaign-name")}],
        "mailing-list": {"address": first.get("mailing-list")},
        "user-variables": _variables(first.get("message-headers")),
    }


def _variables(headers: str | None) -> dict[str, Any]:
    try:
        listed = wire.listed(wire.json_of(headers or "[]"))
    except ValueError:
        return {}
    found: dict[str, Any] = {}
    for header in listed:
        if isinstance(header, list) and len(header) == 2 and header[0] == "X-Mailgun-Variables":
            found |= wire.part(wire.custom(header[1]))
    return found


def _event(event: dict[str, Any], pointer: str, token: str) -> Iterator[Said]:
    name = wire.text(event.get("event"))
    if name in _LEFT_OUT:
        return
    if name not in _EVENTS:
        yield wire.unknown(pointer, "event", name)
        return
    headers = wire.part(wire.part(event.get("message")).get("headers"))
    # A message that Mailgun refused has had no recipient of its own yet.
    email = wire.address(event.get("recipient")) or wire.address(headers.get("to"))
    if email is None:
        yield wire.nobody(pointer, "recipient")
        return
    status = wire.part(event.get("delivery-status"))
    code = wire.number(status.get("code"))
    diagnostic = wire.text(status.get("message")) or wire.text(status.get("description"))
    enhanced = wire.text(status.get("enhanced-code")) or wire.codes(diagnostic)[1]
    reason = wire.text(event.get("reason")) or wire.text(wire.part(event.get("reject")).get("reason"))
    type_, bounce, suppressed = _EVENTS[name], None, False
    if name == "failed":
        type_, bounce, suppressed = _failure(event, status, reason, (enhanced, code, diagnostic))
    at = wire.instant(event.get("timestamp"))
    message_id = wire.text(headers.get("message-id"))
    url = wire.text(event.get("url"))
    client = wire.part(event.get("client-info"))
    # Mailgun promises its ids to be unique within a day only; the token is another for each hook that is told.
    id_ = wire.text(event.get("id"))
    own = f"{id_} {at}" if id_ else token or None
    campaigns = [wire.part(one).get("name") for one in wire.listed(event.get("campaigns"))]
    yield Notice(
        type_,
        email,
        at,
        wire.event_id(own, name, email, at, message_id, url),
        wire.properties(
            bounce=bounce,
            status=enhanced,
            code=code,
            reason=reason,
            diagnostic=diagnostic,
            suppressed=suppressed or None,
            message_id=message_id,
            campaign=wire.text(campaigns[0]) if campaigns else None,
            list=wire.text(wire.part(event.get("mailing-list")).get("address")),
            subject=wire.text(headers.get("subject")),
            tags=wire.listed(event.get("tags")),
            url=url,
            user_agent=wire.text(client.get("user-agent")),
            ip=wire.text(event.get("ip")),
            machine=wire.text(client.get("bot")) is not None or None,
            custom=wire.part(event.get("user-variables")),
        ),
    )


def _failure(
    event: dict[str, Any],
    delivery: dict[str, Any],
    reason: str | None,
    words: tuple[str | None, int | None, str | None],
) -> tuple[str, str | None, bool]:
    """The event, hard or soft, and whether Mailgun had suppressed the address before."""
    code = words[1]
    if code in _SUPPRESSED_CODES or (reason or "").startswith("suppress-"):
        return BLOCKED, None, True
    if event.get("severity") == "temporary":
        return DEFERRED, None, False
    kind = wire.text(delivery.get("bounce-type")) or ""
    outcome = _KINDS.get(kind) or _CODES.get(code or 0) or _REASONS.get(reason or "")
    return *(outcome or wire.judged(*words)), False


PROVIDER: Provider = _Mailgun()
