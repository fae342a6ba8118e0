"""Checks of signatures: HMAC and public keys, several secrets at once, and the age of what was signed."""

import base64
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from app.esp.shapes import Fetch, Forged, Request


def header(request: Request, name: str) -> str:
    """A header's value. Raises Forged if it is missing."""
    value = request.headers.get(name.lower(), "").strip()
    if not value:
        raise Forged(f"the header {name} is missing")
    return value


def require(secrets: Sequence[str], fits: Callable[[str], bool], name: str) -> None:
    """Raises Forged unless what `name` holds fits one of the secrets.

    `fits` compares in constant time, and raises Forged for a secret that is no key. Such a one spoils nothing while
    another fits, and is what the error says if none does.
    """
    wrong = Forged(f"{name} fits none of the source's secrets")
    for secret in secrets:
        try:
            if fits(secret):
                return
        except Forged as unusable:
            wrong = unusable
    raise wrong if secrets else Forged(f"the source has no secret to check {name} with")


def is_signed(
    given: str, message: bytes, keys: Sequence[bytes], digest: str = "sha256", form_: Literal["hex", "base64"] = "hex"
) -> bool:
    """Whether `given` is the HMAC of the message under one of the keys; compared in constant time."""
    mac = from_hex(given) if form_ == "hex" else from_base64(given)
    if mac is None:
        return False
    return any(hmac.compare_digest(mac, hmac.digest(key, message, digest)) for key in keys)


def from_hex(said: str) -> bytes | None:
    try:
        return bytes.fromhex(said)
    except ValueError:
        return None


def from_base64(said: str) -> bytes | None:
    try:
        return base64.b64decode(said, validate=True)
    except ValueError:
        return None


def check_age(at: datetime | None, request: Request, name: str, *, window: timedelta) -> None:
    """Raises Forged if the signing time, which `name` held, is no time or further than `window` from the receipt."""
    if at is None:
        raise Forged(f"{name} is not a time")
    if request.received_at - at > window:
        raise Forged(f"{name} is too old")
    if at - request.received_at > window:
        raise Forged(f"{name} lies in the future")


def public_key(secret: str) -> PublicKeyTypes:
    """A public key as PEM, or as the base64 of its DER form. Raises Forged if it is neither."""
    said = secret.strip()
    try:
        if said.startswith("-----"):
            return load_pem_public_key(said.encode())
        return load_der_public_key(from_base64("".join(said.split())) or b"")
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Forged("the source's secret is not a public key") from None


class Unsigned:
    """A provider that signs nothing: the source's unguessable address is what vouches for its events."""

    secret: str | None = None

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:
        """Nothing to check."""
