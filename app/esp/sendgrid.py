"""SendGrid's Event Webhook: a JSON list of events of all kinds, a few seconds' worth in each call.

The sender's own values stand beside SendGrid's in each event. Users see one event up to dozens of times.
Sources: SendGrid's event reference and security pages, its libraries' test vector, public handlers.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

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
    RESUBSCRIBED,
    SENT,
    SOFT,
    UNSUBSCRIBED,
    Fetch,
    Forged,
    Notice,
    Provider,
    Request,
    Said,
)

_EVENTS = {
    "processed": SENT,
    "deferred": DEFERRED,
    "delivered": DELIVERED,
    "bounce": BOUNCED,
    "blocked": BLOCKED,
    "dropped": BLOCKED,
    "open": OPENED,
    "click": CLICKED,
    "spamreport": COMPLAINED,
    "unsubscribe": UNSUBSCRIBED,
    "group_unsubscribe": UNSUBSCRIBED,
    "group_resubscribe": RESUBSCRIBED,
}
_OF_THE_ACCOUNT = {"account_status_change"}

_BOUNCES: dict[str, wire.Outcome] = {"bounce": (BOUNCED, HARD), "blocked": (BLOCKED, None), "expired": (BOUNCED, SOFT)}
"""`type` of a bounce: permanent, refused for now, given up after three days."""
_CLASSES: dict[tuple[str, str], wire.Outcome] = {
    # SendGrid's finer word: it says what `type` cannot, that the address is not at fault, or only full.
    ("bounce", "technical"): (BOUNCED, SOFT),
    ("bounce", "content"): (BLOCKED, None),
    ("bounce", "reputation"): (BLOCKED, None),
    ("bounce", "frequency or volume too high"): (BLOCKED, None),
    ("blocked", "mailbox unavailable"): (BOUNCED, SOFT),
    ("blocked", "technical"): (BOUNCED, SOFT),
}
_DROPS: dict[str, tuple[str, bool]] = {
    "spam content": (BLOCKED, False),
    "recipient list over package quota": (BLOCKED, False),
    "invalid smtpapi header": (FAILED, False),
}
"""Reasons of a drop that are not SendGrid's suppression of the address: the event, and whether it was suppressed."""
_SUPPRESSED = (BLOCKED, True)

_OWN = {
    "asm_group_id", "attempt", "bounce_classification", "category", "cert_err", "custom_args",
    "email", "event", "ip", "ip_pool", "marketing_campaign_id", "marketing_campaign_name",
    "marketing_campaign_split_id", "marketing_campaign_version", "mc_auto_id", "mc_auto_name", "mc_pod_id", "mc_stats",
    "newsletter", "nlvx_campaign_id", "nlvx_campaign_split_id", "nlvx_user_id", "phase_id", "pool", "post_type",
    "reason", "response", "send_at", "sg_content_type", "sg_event_id", "sg_machine_open", "sg_message_id",
    "sg_template_id", "sg_template_name", "sg_user_id", "singlesend_id", "singlesend_name", "smtp-id", "smtp_id",
    "status", "subject", "template", "template_hash", "template_id", "template_version_id", "timestamp", "tls", "type",
    "unique_args", "url", "url_offset", "useragent",
}  # fmt: skip
"""SendGrid's names; every other name in an event is the sender's."""

_SIGNATURE, _STAMP = "X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp"
# SendGrid tries for 24 hours, and does not say that it signs each try anew. A replay within them is a duplicate.
_WINDOW = timedelta(hours=26)


class _SendGrid:
    kind: str = "sendgrid"
    title: str = "SendGrid"
    secret: str | None = "the verification key of the Signed Event Webhook"  # noqa: S105 - what it is

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:  # noqa: ARG002 - no need to
        """ECDSA on P-256 with SHA-256 over the timestamp and the raw body, whose last line break counts."""
        signature = signing.from_base64(signing.header(request, _SIGNATURE)) or b""
        stamp = signing.header(request, _STAMP)
        signing.check_age(wire.instant(stamp), request, _STAMP, window=_WINDOW)
        message = stamp.encode() + request.body
        signing.require(secrets, lambda secret: _fits(secret, signature, message), _SIGNATURE)

    def read(self, request: Request) -> list[Said]:
        return wire.each(request.body, _event)


def _fits(secret: str, signature: bytes, message: bytes) -> bool:
    key = signing.public_key(secret)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Forged("the source's secret is not the public key of a Signed Event Webhook")
    try:
        key.verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _event(item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    name = wire.text(item.get("event"))
    if name in _OF_THE_ACCOUNT:
        return
    if name not in _EVENTS:
        yield wire.unknown(pointer, "event", name)
        return
    email = wire.address(item.get("email"))
    if email is None:
        yield wire.nobody(pointer, "email")
        return
    reason = wire.text(item.get("reason"))
    said = reason or wire.text(item.get("response"))
    code, status = wire.codes(said)
    status = wire.text(item.get("status")) or status
    type_, bounce, suppressed = _outcome(name, item, reason, status)
    at = wire.instant(item.get("timestamp"))
    message_id = (wire.text(item.get("sg_message_id")) or "").split(".")[0] or wire.text(item.get("smtp-id"))
    url = wire.text(item.get("url"))
    yield Notice(
        type_,
        email,
        at,
        wire.event_id(wire.text(item.get("sg_event_id")), name, email, at, message_id, url),
        wire.properties(
            bounce=bounce,
            status=status,
            code=code,
            reason=wire.text(item.get("bounce_classification")) or (reason if name == "dropped" else None),
            diagnostic=said if name != "dropped" else None,
            suppressed=suppressed or None,
            message_id=message_id,
            campaign=wire.text(item.get("singlesend_name") or item.get("marketing_campaign_name")),
            list=wire.text(item.get("asm_group_id")),
            subject=wire.text(item.get("subject")),
            tags=wire.listed(item.get("category")),
            url=url,
            user_agent=wire.text(item.get("useragent")),
            ip=wire.text(item.get("ip")) if type_ in (OPENED, CLICKED) else None,
            machine=wire.truth(item.get("sg_machine_open")) or None,
            custom=_custom(item),
        ),
    )


def _outcome(name: str, item: dict[str, Any], reason: str | None, status: str | None) -> tuple[str, str | None, bool]:
    """The event, hard or soft, and whether SendGrid had suppressed the address before."""
    if name == "dropped":
        type_, suppressed = _DROPS.get((reason or "").lower(), _SUPPRESSED)
        return type_, None, suppressed
    if name != "bounce":
        return _EVENTS[name], None, False
    kind = (wire.text(item.get("type")) or "").lower()
    class_ = (wire.text(item.get("bounce_classification")) or "").lower()
    outcome = _CLASSES.get((kind, class_)) or _BOUNCES.get(kind)
    # Events of before 2021 have no type.
    return *(outcome or wire.judged(status, None, reason)), False


def _custom(item: dict[str, Any]) -> dict[str, Any]:
    nested = {**wire.part(item.get("unique_args")), **wire.part(item.get("custom_args"))}
    return {**nested, **{name: value for name, value in item.items() if name not in _OWN}}


PROVIDER: Provider = _SendGrid()
