"""What the stand-ins' ways to sign in share: codes on their way back, secrets, proofs, signed assertions."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson


def with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def sent_back(redirect_uri: str, code: str, asked: Mapping[str, str]) -> str:
    """Where the browser goes: back with a code, and the `state` of what was asked."""
    return with_query(redirect_uri, {"code": code} | ({"state": asked["state"]} if "state" in asked else {}))


def is_same_secret(given: str, secret: str) -> bool:
    # As bytes, since a digest of text is compared for ASCII only.
    return hmac.compare_digest(given.encode(), secret.encode())


def is_proof(verifier: str, challenge: str) -> bool:
    """Whether it is what a challenge by S256 was made of (RFC 7636); without a challenge nothing is to be proved."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode()
    return not challenge or digest.rstrip("=") == challenge.rstrip("=")


def decoded(part: str) -> bytes:
    """A part of a signed assertion (RFC 7515); empty if it is none."""
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        return b""


def parsed(part: str) -> dict[str, Any]:  # Any: JSON
    """The same, of what is JSON: the claims or the heading; empty if it is no object."""
    try:
        found = orjson.loads(decoded(part))
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
