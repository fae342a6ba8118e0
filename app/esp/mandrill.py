"""Mandrill, Mailchimp's transactional mail: a form whose field `mandrill_events` is a JSON list of up to 1,000 events.

Pointers lead into that list. Beside what happened to messages, it may hold changes of Mandrill's own allow and deny
lists, which repeat what was said when it happened, and mail that came in: both are left out.
Sources: Mandrill's help centre on the format of webhooks and on authenticating them, public handlers.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl

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
    Notice,
    Provider,
    Request,
    Said,
    Unread,
)

_EVENTS: dict[str, wire.Outcome] = {
    "send": (SENT, None),
    "deferral": (DEFERRED, None),
    "delivered": (DELIVERED, None),
    "hard_bounce": (BOUNCED, HARD),
    "soft_bounce": (BOUNCED, SOFT),
    "reject": (BLOCKED, None),
    "open": (OPENED, None),
    "click": (CLICKED, None),
    "spam": (COMPLAINED, None),
    "unsub": (UNSUBSCRIBED, None),
}
_SUPPRESSED = {"reject"}
"""Not sent, since the address is on Mandrill's deny list."""
_LEFT_OUT = {"inbound", "whitelist", "blacklist", "allowlist", "denylist"}

_FIELD = "mandrill_events"
_SIGNATURE = "X-Mandrill-Signature"
_PROBE, _PROBE_KEY = [(b"mandrill_events", b"[]")], "test-webhook"
"""A new address is tried with this form, signed with this key: the webhook has no key yet. It says nothing, so that it
may well be anybody's."""


class _Mandrill:
    kind: str = "mandrill"
    title: str = "Mailchimp Transactional (Mandrill)"
    secret: str | None = "the webhook's key"  # noqa: S105 - what it is

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:  # noqa: ARG002 - no need to
        """HMAC-SHA1 over the address as Mandrill was given it and the form's names and values, sorted by name.

        It covers no time. A replay repeats ids that are known, so that it changes nothing.
        """
        signature = signing.header(request, _SIGNATURE)
        fields = _fields(request.body)
        message = request.url.encode(errors="replace") + b"".join(name + value for name, value in sorted(fields))
        keys = [*secrets, _PROBE_KEY] if fields == _PROBE else secrets
        signing.require(
            keys, lambda key: signing.is_signed(signature, message, [key.encode()], "sha1", "base64"), _SIGNATURE
        )

    def read(self, request: Request) -> list[Said]:
        events = dict(wire.pairs(request.body)).get(_FIELD)
        if events is None:
            return [Unread("", f"the form has no field {_FIELD}")]
        return wire.each(events, _event)


def _fields(body: bytes) -> list[tuple[bytes, bytes]]:
    """A form's names and values as bytes: the signature is over these, UTF-8 or not."""
    said = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said]


def _event(item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    name = wire.text(item.get("event")) or wire.text(item.get("type"))
    if name in _LEFT_OUT:
        return
    if name not in _EVENTS:
        yield wire.unknown(pointer, "event", name)
        return
    message = wire.part(item.get("msg"))
    email = wire.address(message.get("email"))
    if email is None:
        yield wire.nobody(pointer, "msg/email")
        return
    type_, bounce = _EVENTS[name]
    words = wire.text(message.get("diag"))
    code, status = wire.codes(words)
    # The message's own `ts` is when it was sent.
    at = wire.instant(item.get("ts"))
    message_id = wire.text(item.get("_id")) or wire.text(message.get("_id"))
    url = wire.text(item.get("url"))
    yield Notice(
        type_,
        email,
        at,
        # `_id` is the message's; the event has none.
        wire.event_id(None, name, email, at, message_id, url),
        wire.properties(
            bounce=bounce,
            status=status,
            code=code,
            reason=wire.text(message.get("bounce_description")),
            diagnostic=words,
            suppressed=name in _SUPPRESSED or None,
            message_id=message_id,
            subject=wire.text(message.get("subject")),
            tags=wire.listed(message.get("tags")),
            url=url,
            user_agent=wire.text(item.get("user_agent")),
            ip=wire.text(item.get("ip")),
            machine=wire.part(item.get("user_agent_parsed")).get("type") == "robot" or None,
            custom=wire.custom(message.get("metadata")),
        ),
    )


PROVIDER: Provider = _Mandrill()
