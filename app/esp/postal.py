"""Postal, a mail server for one's own machines: a JSON object, one event each, signed with the installation's key.

Postal calls everything that was refused for good a hard failure, and of mail that came back it says nothing at all. So
the server's words decide whether the address is at fault.
Sources: Postal's page on webhooks and its source code, public handlers.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from app.esp import signing, wire
from app.esp.shapes import (
    BLOCKED,
    BOUNCED,
    CLICKED,
    DEFERRED,
    DELIVERED,
    FAILED,
    OPENED,
    Fetch,
    Forged,
    Notice,
    Provider,
    Request,
    Said,
)

_EVENTS = {
    "MessageSent": DELIVERED,
    "MessageDelayed": DEFERRED,
    "MessageDeliveryFailed": BOUNCED,
    "MessageBounced": BOUNCED,
    "MessageHeld": BLOCKED,
    "MessageLoaded": OPENED,
    "MessageLinkClicked": CLICKED,
}
_LEFT_OUT = {"DomainDNSError", "SendLimitApproaching", "SendLimitExceeded"}
_OWN_FAILURES: dict[str, wire.Outcome] = {
    "Message's domain no longer exist": (FAILED, None),  # the sender's, in Postal
    "Message is likely spam": (BLOCKED, None),
}
"""What the details of a hard failure begin with that is no server's answer."""
_SUPPRESSED_WORDS = "is on the suppression list"
"""In the details of a message held for the address's sake; others wait for a person, or for a send limit."""

_SIGNATURE, _SIGNATURE_SHA1 = "X-Postal-Signature-256", "X-Postal-Signature"


class _Postal:
    kind: str = "postal"
    title: str = "Postal"
    secret: str | None = "the installation's public key, as PEM or as p= of its DKIM record"  # noqa: S105 - what it is

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:  # noqa: ARG002 - no need to
        """RSA over the body, with SHA-256; older installations sign with SHA-1 alone.

        It covers no time. A replay repeats an id that is known, so that it changes nothing.
        """
        is_old = not request.headers.get(_SIGNATURE.lower()) and bool(request.headers.get(_SIGNATURE_SHA1.lower()))
        name = _SIGNATURE_SHA1 if is_old else _SIGNATURE
        # A forger would need a second text with the same SHA-1 as a given one, which nobody can make.
        digest: HashAlgorithm = SHA1() if is_old else SHA256()  # noqa: S303
        signature = signing.from_base64(signing.header(request, name)) or b""
        signing.require(secrets, lambda secret: _fits(secret, signature, request.body, digest), name)

    def read(self, request: Request) -> list[Said]:
        return wire.each(request.body, _event)


def _fits(secret: str, signature: bytes, body: bytes, digest: HashAlgorithm) -> bool:
    key = signing.public_key(secret)
    if not isinstance(key, RSAPublicKey):
        raise Forged("the source's secret is not the public key of a Postal installation")
    try:
        key.verify(signature, body, PKCS1v15(), digest)
    except InvalidSignature:
        return False
    return True


def _event(item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    name = wire.text(item.get("event"))
    if name in _LEFT_OUT:
        return
    if name not in _EVENTS:
        yield wire.unknown(pointer, "event", name)
        return
    payload = wire.part(item.get("payload"))
    message = wire.part(payload.get("message")) or wire.part(payload.get("original_message"))
    if message.get("direction") == "incoming":
        return
    email = wire.address(message.get("to"))
    if email is None:
        yield wire.nobody(f"{pointer}/payload/message", "to")
        return
    details, output = wire.text(payload.get("details")), wire.text(payload.get("output"))
    words = output or details
    code, status = wire.codes(words)
    type_, bounce = _outcome(name, payload, words)
    at = wire.instant(item.get("timestamp"))
    message_id = wire.text(message.get("message_id")) or wire.text(message.get("id"))
    url = wire.text(payload.get("url"))
    yield Notice(
        type_,
        email,
        at,
        wire.event_id(wire.text(item.get("uuid")), name, email, at, message_id, url),
        wire.properties(
            bounce=bounce,
            status=status,
            code=code,
            reason=wire.text(payload.get("status")),
            diagnostic=words,
            suppressed=(type_ == BLOCKED and _SUPPRESSED_WORDS in (details or "")) or None,
            message_id=message_id,
            subject=wire.text(message.get("subject")),
            tags=wire.listed(wire.text(message.get("tag"))),
            url=url,
            user_agent=wire.text(payload.get("user_agent")),
            ip=wire.text(payload.get("ip_address")),
        ),
    )


def _outcome(name: str, payload: dict[str, Any], words: str | None) -> wire.Outcome:
    if _EVENTS[name] != BOUNCED:
        return _EVENTS[name], None
    own = next((outcome for start, outcome in _OWN_FAILURES.items() if (words or "").startswith(start)), None)
    # Of mail that came back there is only its subject.
    subject = wire.text(wire.part(payload.get("bounce")).get("subject"))
    return own or wire.judged(None, None, words or subject, action="failed")


PROVIDER: Provider = _Postal()
