"""The way out for connectors: to public addresses by https, to the address that was checked, and no further."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import outbound
from app.outbound import Guarded, Refused, Unreachable
from tests.test_outbound import certified, reply, serving


class Names:
    """What the resolver answers in place of the machine's: of each name one list after another, the last for ever."""

    def __init__(self) -> None:
        self.known: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    async def getaddrinfo(self, _: object, host: str, port: int, **__: object) -> list[Any]:  # Any: as the library
        self.asked.append(host)
        answers = self.known.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "nobody of this name")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", lambda *args, **more: names.getaddrinfo(*args, **more))
    return names


async def get(url: str, *, private: bool = False) -> httpx.Response:
    async with httpx.AsyncClient(transport=Guarded(private=private), trust_env=False, timeout=5) as http:
        return await http.get(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/", "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://[::1]/",
        "https://[::ffff:127.0.0.1]/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data/",
        "http://8.8.8.8/", "ftp://8.8.8.8/", "https://ana:secret@8.8.8.8/", "https://8.8.8.8:99999/",
    ],
)  # fmt: skip
async def test_what_is_no_public_https_address_is_not_called(url: str) -> None:
    with pytest.raises((Refused, httpx.InvalidURL, httpx.UnsupportedProtocol)):
        await get(url)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.1.2.3"], ["2606:4700:4700::1111", "fd00::1"]])
async def test_a_name_is_called_only_if_all_its_addresses_are_public(names: Names, addresses: Sequence[str]) -> None:
    names.known["crm.test"] = [list(addresses)]

    with pytest.raises(Refused, match="not public"):
        await get("https://crm.test/")


async def test_a_refusal_says_nothing_of_the_address(names: Names) -> None:
    names.known["acme-secret.test"] = [["10.1.2.3"]]

    for url in ("https://acme-secret.test/persons?term=ann@example.com", "http://acme-secret.test/?q=ann@example.com"):
        with pytest.raises(Refused) as refused:
            await get(url)
        assert not [part for part in ("acme", "ann@", "10.1") if part in str(refused.value)]


async def test_a_name_that_nobody_has_is_unreachable(names: Names) -> None:
    with pytest.raises(Unreachable):
        await get("https://nobody.test/")


async def test_private_reaches_this_machine_by_http() -> None:
    async with serving(reply("200 OK", b"hello")) as (port, asked):
        answer = await get(f"http://localhost:{port}/persons?a=1", private=True)

    assert b"hello" == answer.content
    assert asked[0].startswith(b"GET /persons?a=1 HTTP/1.1\r\n")
    assert f"host: localhost:{port}\r\n".encode() in asked[0].lower()


async def test_private_speaks_http_and_https_alone() -> None:
    with pytest.raises((Refused, httpx.UnsupportedProtocol)):
        await get("ftp://localhost/", private=True)


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    moved = reply("302 Found", b"", b"Location: http://localhost:1/elsewhere")
    async with serving(moved, reply("200 OK", b"where it would lead")) as (port, asked):
        answer = await get(f"http://127.0.0.1:{port}/", private=True)

    assert (302, 1) == (answer.status_code, len(asked))


async def test_the_address_that_was_checked_is_the_one_connected_to(names: Names) -> None:
    names.known["rebinding.test"] = [["127.0.0.1"], ["169.254.169.254"]]

    async with (
        serving(reply("200 OK", b"one"), reply("200 OK", b"two")) as (port, _),
        httpx.AsyncClient(transport=Guarded(private=True), trust_env=False, timeout=5) as http,
    ):
        said = [(await http.get(f"http://rebinding.test:{port}/")).content for _ in range(2)]

    assert [b"one", b"two"] == said
    assert ["rebinding.test"] == names.asked  # looked up once, and kept for a while


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(reply("200 OK", b"directly")) as (port, _):
        assert b"directly" == (await get(f"http://127.0.0.1:{port}/", private=True)).content


async def test_the_certificate_must_be_of_the_name(names: Names, tmp_path: Path) -> None:
    tls, shown = certified(tmp_path, "good.test"), []
    tls.sni_callback = lambda _socket, name, _context: shown.append(name)
    names.known["good.test"] = [["127.0.0.1"]]

    async with serving(b"", tls=tls) as (port, asked):
        with pytest.raises(httpx.ConnectError):  # nobody vouches for it
            await get(f"https://good.test:{port}/", private=True)

    assert (["good.test"], []) == (shown, asked)


async def test_two_names_at_one_address_share_no_connection(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection proves whose it is once, when it begins: to call another name over it would go unproved."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    certificates = {name: certified(tmp_path / name[0], name) for name in ("a.test", "b.test")}
    shown: list[str | None] = []

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        shown.append(name)
        connection.context = certificates[name or ""]

    server = certified(tmp_path, "neither.test")
    server.sni_callback = choose
    trust = ssl.create_default_context(cafile=str(tmp_path / "a" / "server.pem"))
    trust.load_verify_locations(cafile=str(tmp_path / "b" / "server.pem"))
    monkeypatch.setattr(outbound, "_trust", lambda: trust)
    names.known |= {"a.test": [["127.0.0.1"]], "b.test": [["127.0.0.1"]]}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4_096):
            writer.write(reply("200 OK", b"hello"))  # and the connection stays open
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
    port = listening.sockets[0].getsockname()[1]
    async with listening, httpx.AsyncClient(transport=Guarded(private=True), trust_env=False, timeout=5) as http:
        said = [(await http.get(f"https://{name}:{port}/")).content for name in ("a.test", "b.test", "a.test")]
    await asyncio.sleep(0)

    assert ([b"hello"] * 3, ["a.test", "b.test"]) == (said, shown)
