"""Links by which a person opts out of mail: who it is, sealed so that nobody else can make one or read the address.

A token is AES-SIV (RFC 5297) in base64url: encrypted and authenticated at once, and the same for the same person and
campaign, so that the link of a mail that is sent again does not change. It holds the address itself, and so outlives
the contact's merging and erasure; it never ends.
"""

import base64
import binascii
import re
from typing import NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from app.store.db import Connection
from app.store.vault import Vault

_KEY = "unsubscribe"
# The tag alone takes 22 characters.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{24,2000}")


class Link(NamedTuple):
    """Whose opt-out it is, and which mailing and list the mail was of."""

    address: str
    campaign: str | None = None
    list: str | None = None

    def said(self) -> dict[str, str]:
        """What an event of it says."""
        return {name: value for name, value in (("campaign", self.campaign), ("list", self.list)) if value is not None}


class Links:
    """Makes and reads tokens under one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(key)

    @classmethod
    async def of(cls, db: Connection, vault: Vault) -> "Links":
        """Under this deployment's own key. Raises Sealed."""
        return cls(await vault.own(db, _KEY))

    def token(self, link: Link) -> str:
        sealed = self._cipher.encrypt(orjson.dumps(list(link)), None)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def read(self, token: str) -> Link | None:
        """What a token says; None if it is none of ours, which is found out in constant time."""
        if not _TOKEN.fullmatch(token):
            return None
        try:
            sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            return Link(*orjson.loads(self._cipher.decrypt(sealed, None)))
        except (binascii.Error, ValueError, InvalidTag):
            return None
