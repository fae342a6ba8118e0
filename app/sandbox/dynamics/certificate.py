"""The app's certificate, which it may sign in with in place of its secret. Made when it is first asked for."""

import base64
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

_BEGINS = datetime(2026, 1, 1, tzinfo=UTC)


class Certificate:
    @cached_property
    def private_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        return self.private_key.public_key()

    @property
    def private_pem(self) -> str:
        kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.private_key.private_bytes(serialization.Encoding.PEM, kind, plain).decode()

    @cached_property
    def certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leadtally.example.com")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.public_key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(_BEGINS).not_valid_after(_BEGINS + timedelta(days=3_650))
        return builder.sign(self.private_key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def thumbprint(self) -> str:
        """As `x5t` has it."""
        # Entra names certificates by this digest; nothing is secured by it.
        return _encoded(self.certificate.fingerprint(hashes.SHA1()))  # noqa: S303

    @property
    def sha256(self) -> str:
        """As `x5t#S256` has it."""
        return _encoded(self.certificate.fingerprint(hashes.SHA256()))


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
