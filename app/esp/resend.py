"""Resend: a JSON object, one event each, signed as Svix does.

An event of a message to several people does not say which of them it is about: it cannot be read.
Sources: Resend's pages on webhooks and on bounces, the Standard Webhooks specification, public handlers.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from app.esp import signing, wire
from app.esp.shapes import (
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DEFERRED,
    DELIVERED,
    FAILED,
    HARD,
    OPENED,
    SENT,
    SOFT,
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

_EVENTS = {
    "email.sent": SENT,
    "email.delivered": DELIVERED,
    "email.delivery_delayed": DEFERRED,
    "email.bounced": BOUNCED,
    "email.suppressed": BLOCKED,
    "email.failed": FAILED,
    "email.complained": COMPLAINED,
    "email.opened": OPENED,
    "email.clicked": CLICKED,
    "contact.created": UPDATED,
    "contact.updated": UPDATED,
    "suppression.added": BLOCKED,
}
_LEFT_OUT = {
    "email.scheduled", "email.received", "contact.deleted", "suppression.removed",
    "domain.created", "domain.updated", "domain.deleted",
}  # fmt: skip
_BOUNCES: dict[str, wire.Outcome] = {
    "permanent": (BOUNCED, HARD),
    "transient": (BOUNCED, SOFT),
    "temporary": (BOUNCED, SOFT),
}
"""`type` of a bounce. Undetermined is not among them: the words decide."""
_SUPPRESSED = {"suppressed", "onaccountsuppressionlist"}
"""`subType` of the bounce of a message that was not sent."""
# Events of before 2025 have nothing but a sentence of Resend's own.
_SUPPRESSED_WORDS, _HARD_WORDS = "suppressed sending", "hard bounce message"

_ID, _STAMP, _SIGNATURE = "svix-id", "svix-timestamp", "svix-signature"
# The specification's. Each try has a time of its own.
_WINDOW = timedelta(minutes=5)


class _Resend:
    kind: str = "resend"
    title: str = "Resend"
    secret: str | None = "the webhook's signing secret: whsec_..."  # noqa: S105 - what it is

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:  # noqa: ARG002 - no need to
        """HMAC-SHA256 over id, time and body, with full stops between; `v1,<base64>`, several of them with spaces."""
        id_, stamp = signing.header(request, _ID), signing.header(request, _STAMP)
        versions = [part.partition(",") for part in signing.header(request, _SIGNATURE).split()]
        signatures = [signature for version, _, signature in versions if version == "v1"]
        signing.check_age(wire.instant(stamp), request, _STAMP, window=_WINDOW)
        message = f"{id_}.{stamp}.".encode(errors="replace") + request.body
        signing.require(secrets, lambda secret: _fits(secret, signatures, message), _SIGNATURE)

    def read(self, request: Request) -> list[Said]:
        return wire.each(request.body, partial(_event, request.headers.get(_ID)))


def _fits(secret: str, signatures: Sequence[str], message: bytes) -> bool:
    key = signing.from_base64(secret.strip().removeprefix("whsec_"))
    if not key:
        raise Forged("the source's secret is not a signing secret, whsec_ and base64")
    return any(signing.is_signed(signature, message, [key], form_="base64") for signature in signatures)


def _event(call_id: str | None, item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    name = wire.text(item.get("type"))
    if name in _LEFT_OUT:
        return
    if name not in _EVENTS:
        yield wire.unknown(pointer, "type", name)
        return
    data = wire.part(item.get("data"))
    people = _people(data)
    if len(people) > 1:
        yield Unread(f"{pointer}/data/to", "several addressees, and Resend does not say which of them this is about")
        return
    if not people:
        yield wire.nobody(f"{pointer}/data", "to" if name.startswith("email.") else "email")
        return
    email, at = people[0], wire.instant(item.get("created_at"))
    about = wire.text(data.get("email_id")) or wire.text(data.get("id"))
    # The header names the call; it is the same on every try.
    own = f"{call_id} {about}" if call_id else None
    for type_, properties in _contact(data) if name.startswith("contact.") else [_mail(name, data)]:
        id_ = wire.event_id(own, f"{name} {type_}", email, at, about, properties.get("url"))
        yield Notice(type_, email, at, id_, properties)


def _people(data: dict[str, Any]) -> list[str]:
    """The addressees of a message, or whom else the event is about."""
    values = [value for field in ("to", "cc", "bcc", "email") for value in wire.listed(data.get(field))]
    return list(dict.fromkeys(email for email in map(wire.address, values) if email is not None))


def _contact(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Types and properties. Every change of an opted-out contact says again that it is; none says that it is not."""
    list_ = wire.text(data.get("audience_id"))
    names = {field: wire.text(data.get(field)) for field in ("first_name", "last_name")}
    yield UPDATED, wire.properties(list=list_, traits={name: value for name, value in names.items() if value})
    if wire.truth(data.get("unsubscribed")):
        yield UNSUBSCRIBED, wire.properties(list=list_)


def _mail(name: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Type and properties."""
    refusal = {**wire.part(data.get("failed")), **wire.part(data.get("suppressed")), **wire.part(data.get("bounce"))}
    answers = [wire.text(answer) for answer in wire.listed(refusal.get("diagnosticCode"))]
    words = "; ".join(answer for answer in answers if answer) or wire.text(refusal.get("message"))
    code, status = wire.codes(words)
    type_, bounce, suppressed = _outcome(name, refusal, words)
    act = {**wire.part(data.get("open")), **wire.part(data.get("click"))}
    return type_, wire.properties(
        bounce=bounce,
        status=status,
        code=code,
        reason=wire.text(refusal.get("subType") or refusal.get("reason") or refusal.get("type") or data.get("origin")),
        diagnostic=words,
        suppressed=suppressed or None,
        message_id=wire.text(data.get("email_id")),
        campaign=wire.text(data.get("broadcast_id")),
        subject=wire.text(data.get("subject")),
        url=wire.text(act.get("link")),
        user_agent=wire.text(act.get("userAgent")),
        ip=wire.text(act.get("ipAddress")),
        custom=_tags(data.get("tags")),
    )


def _outcome(name: str, refusal: dict[str, Any], words: str | None) -> tuple[str, str | None, bool]:
    """The event, hard or soft, and whether Resend had suppressed the address before."""
    type_ = _EVENTS[name]
    if type_ != BOUNCED:
        return type_, None, type_ == BLOCKED
    said = f"{words or ''} {wire.text(refusal.get('message')) or ''}".lower()
    if (wire.text(refusal.get("subType")) or "").lower() in _SUPPRESSED or _SUPPRESSED_WORDS in said:
        return BLOCKED, None, True
    outcome = _BOUNCES.get((wire.text(refusal.get("type")) or "").lower())
    if outcome is None and _HARD_WORDS in said:
        outcome = BOUNCED, HARD
    return *(outcome or wire.judged(None, None, said, action="failed")), False


def _tags(value: object) -> dict[str, Any]:
    """The sender's tags: an object, formerly a list of names and values."""
    if isinstance(value, list):
        named = [wire.part(one) for one in value]
        return {wire.text(one.get("name")) or "": one.get("value") for one in named if wire.text(one.get("name"))}
    return wire.part(value)


PROVIDER: Provider = _Resend()
