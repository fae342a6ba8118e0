"""Amazon SNS' envelope: who signed it, for which topic, and the address that confirms a subscription.

Anybody with an AWS account can have SNS sign a message: a good signature proves only that SNS sent it. What makes a
message ours is the topic, where the source names its topics, or else the source's unguessable address.
Sources: SNS developer guide (verifying signatures, delivery retries, raw message delivery).
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from cachetools import TTLCache
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from app.esp import signing, wire
from app.esp.shapes import Fetch, Forged, Request

NOTIFICATION, CONFIRMATION, FAREWELL = "Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"

# The region is spelled out: `sns.s3-us-west-2.amazonaws.com` is a bucket named sns, and may be anybody's.
_HOST = r"https://sns\.[a-z]{2,4}(?:-[a-z]{2,12})+-[0-9]{1,2}\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE_URL = re.compile(_HOST + r"/SimpleNotificationService-[0-9a-f]{1,64}\.pem", re.ASCII)
_CONFIRM_URL = re.compile(_HOST + r"/\?Action=ConfirmSubscription&[A-Za-z0-9&=:._~%+-]{1,2000}", re.ASCII)

_OF_A_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: _OF_A_CONFIRMATION,
    FAREWELL: _OF_A_CONFIRMATION,
}
_OPTIONAL = "Subject"
_HASHES: dict[str, SHA1 | SHA256] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - the default of a topic is SHA-1

# A delivery policy can stretch the tries to an hour, and the same signed bytes come each time.
_WINDOW = timedelta(hours=2)
_CERTIFICATES, _KEPT_S = 32, 86_400


class _Certificate(NamedTuple):
    key: rsa.RSAPublicKey
    starts_at: datetime
    ends_at: datetime


class Checker:
    """Checks envelopes; keeps SNS' certificates for a day."""

    def __init__(self) -> None:
        self._certificates: TTLCache[str, _Certificate] = TTLCache(_CERTIFICATES, _KEPT_S)

    async def check(self, request: Request, topics: Sequence[str], fetch: Fetch) -> None:
        """RSA (PKCS #1 v1.5) over the envelope's fields, with a certificate that SNS publishes.

        `topics` are the ARNs that are allowed; with none, all are. Raises Forged, and lets OSError of `fetch` through:
        then nothing is known, and SNS has to try again. Nothing is fetched before all else is right.
        """
        envelope = _envelope(request)
        signed, url = _signed(envelope), envelope.get("SigningCertURL")
        hash_ = _HASHES.get(wire.text(envelope.get("SignatureVersion")) or "")
        if hash_ is None:
            raise Forged("SignatureVersion is neither 1 nor 2")
        signature = signing.from_base64(wire.text(envelope.get("Signature")) or "")
        if not signature:
            raise Forged("Signature is missing, or not base64")
        if not isinstance(url, str) or not _CERTIFICATE_URL.fullmatch(url):
            raise Forged("SigningCertURL is not an address of SNS")
        _check_topic(str(envelope.get("TopicArn")), topics)
        signing.check_age(wire.instant(envelope.get("Timestamp")), request, "Timestamp", window=_WINDOW)
        certificate = await self._certificate(url, fetch)
        if not certificate.starts_at <= request.received_at <= certificate.ends_at:
            raise Forged("the signing certificate is not valid at this time")
        try:
            certificate.key.verify(signature, signed, padding.PKCS1v15(), hash_)
        except InvalidSignature:
            raise Forged("Signature is wrong") from None

    async def _certificate(self, url: str, fetch: Fetch) -> _Certificate:
        known = self._certificates.get(url)
        if known is None:
            known = self._certificates[url] = _read(await fetch(url))
        return known


def _read(pem: bytes) -> _Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (ValueError, TypeError):
        raise Forged("the signing certificate cannot be read") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Forged("the signing certificate has no RSA key")
    return _Certificate(key, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _envelope(request: Request) -> dict[str, Any]:  # Any: JSON
    if request.headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
        raise Forged("raw message delivery is on, and SNS signs nothing then: turn it off")
    try:
        said = wire.json_of(request.body)
    except ValueError as fault:
        raise Forged(str(fault)) from None
    if not isinstance(said, dict):
        raise Forged("the body is not a message of SNS")
    return said


def _signed(envelope: dict[str, Any]) -> bytes:
    names = _SIGNED.get(wire.text(envelope.get("Type")) or "")
    if names is None:
        raise Forged("Type is none of SNS")
    lines = []
    for name in names:
        value = envelope.get(name)
        if value is None and name == _OPTIONAL:
            continue
        if not isinstance(value, str):
            raise Forged(f"{name} is missing")
        lines.append(f"{name}\n{value}\n")
    return "".join(lines).encode("utf-8", "replace")


def _check_topic(topic: str, topics: Sequence[str]) -> None:
    if not topics or topic in topics:
        return
    if not all(one.startswith("arn:") for one in topics):
        raise Forged("the source's secret is not a list of topic ARNs")
    raise Forged("TopicArn is none of the source's topics")


def confirm_url(envelope: dict[str, Any]) -> str | None:
    """The address to GET to confirm a subscription; None if it is not SNS' own."""
    url = envelope.get("SubscribeURL")
    return url if isinstance(url, str) and _CONFIRM_URL.fullmatch(url) else None
