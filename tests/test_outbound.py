import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app import outbound
from app.outbound import Outbound, Refused, Unreachable, cached, is_public

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(*replies: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server here that answers each connection with the next of these bytes; its port, and what was asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(replies[len(asked) - 1])
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


def reply(status: str, body: bytes = b"", *headers: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}".encode(), b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the resolver answers, one after another, in place of the machine's."""
    known: dict[str, list[str]] = {}

    async def getaddrinfo(_: object, host: str, port: int, **__: object) -> list[Any]:  # Any: as the library has it
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host].pop(0), port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return known


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True), ("2606:4700:4700::1111", True),
        ("127.0.0.1", False), ("0.0.0.0", False), ("10.1.2.3", False), ("172.16.0.1", False),  # noqa: S104
        ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("192.0.2.1", False),
        ("224.0.0.1", False), ("255.255.255.255", False), ("198.18.0.1", False), ("240.0.0.1", False),
        ("::1", False), ("::", False), ("fe80::1%eth0", False), ("fd00::1", False), ("ff02::1", False),
        ("::ffff:10.0.0.1", False), ("::ffff:8.8.8.8", True), ("64:ff9b::a00:1", False), ("2002:a00:1::", False),
        ("2001:0:a00:1::", False), ("2001:db8::1", False),
    ],
)  # fmt: skip
def test_only_addresses_of_the_open_internet_are_public(address: str, expected: bool) -> None:
    assert expected is is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/", "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f.1/",
        "https://[::1]/", "https://[::ffff:127.0.0.1]/", "http://example.com/", "ftp://example.com/", "file:///etc/passwd",
        "https://ana@example.com/", "https://example.com:99999/", "https://", "//example.com", "", "\0",
    ],
)  # fmt: skip
async def test_what_is_no_public_https_address_is_not_fetched(url: str) -> None:
    with pytest.raises(Refused):
        await Outbound().fetch(url)


async def test_a_body_is_fetched() -> None:
    async with serving(reply("200 OK", b"hello")) as (port, asked):
        assert b"hello" == await Outbound(loopback=True).fetch(f"http://localhost:{port}/cert.pem?a=1")

    assert asked[0].startswith(b"GET /cert.pem?a=1 HTTP/1.1\r\n")
    assert f"host: localhost:{port}\r\n".encode() in asked[0].lower()


@pytest.mark.parametrize(
    "answer",
    [
        reply("302 Found", b"", b"Location: http://localhost/"),
        reply("404 Not Found", b"nothing here"),
        reply("500 Internal Server Error"),
        reply("200 OK", b"0" * (outbound.MAX_BYTES + 1)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"no http at all\r\n\r\n",
        b"",
    ],
)
async def test_what_is_no_success_or_too_much_is_unreachable(answer: bytes) -> None:
    async with serving(answer, reply("200 OK", b"where a redirect would lead")) as (port, asked):
        with pytest.raises(Unreachable):
            await Outbound(loopback=True).fetch(f"http://127.0.0.1:{port}/")

    assert 1 == len(asked)


async def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable):
            await Outbound(loopback=True).fetch(f"http://127.0.0.1:{taken.getsockname()[1]}/")


async def test_the_address_that_was_checked_is_the_one_connected_to(names: dict[str, list[str]]) -> None:
    names["rebinding.test"] = ["127.0.0.1", "169.254.169.254"]

    async with serving(reply("200 OK", b"the first")) as (port, _):
        assert b"the first" == await Outbound(loopback=True).fetch(f"http://rebinding.test:{port}/")
    assert ["169.254.169.254"] == names["rebinding.test"]
    with pytest.raises(Refused):
        await Outbound(loopback=True).fetch("http://rebinding.test/")


async def test_the_certificate_must_be_of_the_name(names: dict[str, list[str]], tmp_path: Path) -> None:
    tls, asked_for = certified(tmp_path, "good.test"), []
    tls.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    names["good.test"] = ["127.0.0.1"]

    async with serving(b"", tls=tls) as (port, asked):
        with pytest.raises(Unreachable):  # nobody vouches for it
            await Outbound(loopback=True).fetch(f"https://good.test:{port}/")

    assert (["good.test"], []) == (asked_for, asked)


async def test_what_was_fetched_is_remembered_and_a_failure_is_not() -> None:
    answers: list[bytes | OSError] = [Unreachable("away"), b"here"]

    async def fetch(_: str) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    look = cached(fetch)
    with pytest.raises(Unreachable):
        await look("https://example.com/a")
    assert [b"here"] * 3 == [await look("https://example.com/a") for _ in range(3)]


def certified(folder: Path, name: str) -> ssl.SSLContext:
    """A server that shows a certificate of this name which it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
