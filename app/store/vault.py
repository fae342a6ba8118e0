"""What is kept sealed in the database: other systems' credentials, and the secrets of our own that must outlive them.

Sealed by Fernet (AES-128-CBC with HMAC-SHA256) under the operator's keys: the first seals, all of them open, so that a
new key put in front takes over from an old one.
"""

import contextlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.store.db import Connection

_FILE = "encryption.key"


class Sealed(Exception):
    """None of the keys opens this: it was sealed under one that is no longer given."""


class Vault:
    """Opens and seals. Keys are Fernet's: 32 bytes in base64url; the first is the one that seals.

    Raises ValueError if one of them is not.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = MultiFernet([Fernet(key) for key in keys])

    def seal(self, secret: bytes) -> bytes:
        return self._keys.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """Raises Sealed."""
        try:
            return self._keys.decrypt(sealed)
        except InvalidToken:
            raise Sealed("sealed under another encryption key; give that key too, after the present one") from None

    async def own(self, db: Connection, name: str) -> bytes:
        """32 random bytes of our own, made when first asked for and the same ever after. Raises Sealed."""
        query = "SELECT sealed FROM own_secret WHERE name = $1"
        sealed = await db.fetchval(query, name)
        if sealed is None:
            await db.execute(
                "INSERT INTO own_secret (name, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                name,
                self.seal(secrets.token_bytes(32)),
            )
            sealed = await db.fetchval(query, name)
        return self.open(sealed)


def vault(keys: str | None, folder: Path) -> Vault:
    """By these keys, where commas stand between them; without any by one that is kept in the folder."""
    return Vault([_kept(folder)] if keys is None else [key.strip() for key in keys.split(",")])


def _kept(folder: Path) -> str:
    """The key kept in this folder, for its owner's eyes only; made if there is none."""
    path = folder / _FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, also beside another process that starts at the same moment.
        draft = folder / f".{_FILE}.{secrets.token_hex(8)}"
        draft.touch(mode=0o600)
        draft.write_bytes(Fernet.generate_key())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
