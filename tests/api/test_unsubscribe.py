import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.links import Link, Links
from app.main import build
from app.settings import Settings
from app.store.db import Database, plain_url
from tests.api.client import BASE, Api, Json, pointers, profile_rule
from tests.api.conftest import ENCRYPTION_KEY, calling

ADA, NOBODY = "ada@example.com", "nobody@example.com"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
BACK = {"action": "resubscribe"}


@pytest.fixture
async def browser(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a link and no key."""
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
        yield http


async def link(api: Api, address: str = ADA, **more: Json) -> str:
    url = (await api.post("/v1/unsubscribe-links", {"address": address, **more}))["url"]
    assert isinstance(url, str)
    return url


async def consents(api: Api, address: str = ADA) -> list[Json]:
    """The contact's events of consent, the earliest first."""
    found = await api.get("/v1/events", contact_id=str(await api.id_of(address)))
    return [one for one in reversed(found["items"]) if "subscribed" in one["type"]]


async def is_out(api: Api, address: str = ADA) -> bool:
    """As a check says it."""
    [result] = (await api.post("/v1/suppressions/check", {"addresses": [address]}))["results"]
    return not result["mailable"]


async def come(api: Api, address: str = ADA) -> None:
    await api.send({"type": "page.viewed", "contact": {"email": address}})


# --- links ------------------------------------------------------------------------------------------------------------


async def test_a_link_comes_with_the_headers_for_the_mail(api: Api) -> None:
    made = await api.post("/v1/unsubscribe-links", {"address": "Ada@Example.com", "campaign": "spring", "list": "news"})

    url = made["url"]
    assert {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} == made["headers"]
    assert re.fullmatch(rf"{BASE}/u/[A-Za-z0-9_-]+", url)
    assert len(url) < 150
    assert url == await link(api, ADA, campaign="spring", list="news")
    assert 4 == len({url, await link(api), await link(api, NOBODY), await link(api, ADA, campaign="spring")})


async def test_a_link_begins_as_the_operator_says(database: Database) -> None:
    wanted = Settings(pool_size=4, encryption_key=ENCRYPTION_KEY, public_url="https://leads.example.com/mail/")
    app = build(wanted, plain_url(database.url), with_worker=False)
    async with app.router.lifespan_context(app), calling(app, database) as api:
        assert (await link(api)).startswith("https://leads.example.com/mail/u/")


async def test_links_are_made_in_bulk_and_what_is_no_address_has_none(api: Api) -> None:
    asked = [ADA, "no address", None, 7, ADA]

    items = (await api.post("/v1/unsubscribe-links", {"addresses": asked, "campaign": "c"}))["items"]

    assert [ADA, "no address", None, None, ADA] == [one["address"] for one in items]
    assert [await link(api, campaign="c"), None, None, None, items[0]["url"]] == [one["url"] for one in items]
    assert [True, False, False, False, True] == [one["error"] is None and one["headers"] is not None for one in items]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, [""]),
        ({"address": ADA, "addresses": [ADA]}, [""]),
        ({"address": "ada@"}, ["/address"]),
        ({"addresses": "x"}, ["/addresses"]),
        ({"addresses": [ADA] * 10_001}, ["/addresses"]),
        ({"address": ADA, "campaign": "a\0"}, ["/campaign"]),
    ],
)
async def test_links_for_nobody_are_refused(api: Api, body: Json, found: list[str]) -> None:
    assert found == pointers(await api.post("/v1/unsubscribe-links", body, 422))


KEY = bytes(range(32))


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=80), st.none() | st.text(max_size=80), st.none() | st.text(max_size=20))
def test_a_token_says_what_it_was_made_of_and_shows_none_of_it(
    address: str, campaign: str | None, list_: str | None
) -> None:
    said = Link(address, campaign, list_)

    token = Links(KEY).token(said)

    assert said == Links(KEY).read(token)
    assert token == Links(KEY).token(said)
    assert Links(KEY[::-1]).read(token) is None
    decoded = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert len(address) < 4 or address.encode() not in decoded


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_token_with_one_character_changed_is_none(data: st.DataObject) -> None:
    token = Links(KEY).token(Link(ADA, "spring"))
    place = data.draw(st.integers(0, len(token) - 2))  # of the last character some bits say nothing
    other = data.draw(st.characters().filter(lambda one: one != token[place]))

    assert Links(KEY).read(token[:place] + other + token[place + 1 :]) is None
    assert Links(KEY).read(token[:place]) is None


# --- the page ---------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def button(self) -> str | None:
        """What the page's button sends."""
        [form] = [attributes for tag, attributes in self.tags if tag == "form"]
        assert {"method": "post"} == form
        [button] = [attributes for tag, attributes in self.tags if tag == "button"]
        assert "action" == button["name"]
        return button["value"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_looking_at_the_page_changes_nothing(api: Api, browser: httpx.AsyncClient, method: str) -> None:
    await come(api)

    for _ in range(2):
        reply = await browser.request(method, await link(api))
        assert 200 == reply.status_code

    assert not await is_out(api)
    assert [] == await consents(api)


async def test_the_page_needs_nothing_from_elsewhere_and_tells_nobody(api: Api, browser: httpx.AsyncClient) -> None:
    reply = await browser.get(await link(api))

    assert "text/html; charset=utf-8" == reply.headers["content-type"]
    assert {"cache-control": "no-store", "referrer-policy": "no-referrer"}.items() <= reply.headers.items()
    assert "noindex" in reply.headers["x-robots-tag"]
    assert "set-cookie" not in reply.headers
    [style] = re.findall("<style>(.*?)</style>", reply.text, re.DOTALL)
    policy = reply.headers["content-security-policy"]
    assert f"style-src 'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    tags = _Page(reply.text).tags
    assert not {"script", "img", "link", "a", "iframe"} & {tag for tag, _ in tags}
    assert ("html", {"lang": "en"}) in tags
    assert {"title", "h1", "main"} <= {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name in ("src", "href", "style", "onclick")]
    assert ADA not in reply.text


async def test_the_pages_button_opts_out_and_in_again(api: Api, browser: httpx.AsyncClient) -> None:
    await come(api)
    url = await link(api, campaign="spring", list="news")

    for expected in (True, False, True):
        button = _Page((await browser.get(url)).text).button()
        reply = await browser.post(url, data={"action": button})
        assert 200 == reply.status_code
        assert expected == await is_out(api) == (await api.contact(ADA))["opted_out"]
        assert ("resubscribe" if expected else "unsubscribe") == _Page(reply.text).button()
        assert _Page((await browser.get(url)).text).button() == _Page(reply.text).button()

    events = await consents(api)
    types = ["email.unsubscribed", "email.resubscribed", "email.unsubscribed"]
    assert types == [one["type"] for one in events]
    assert all({"campaign": "spring", "list": "news"} == one["properties"] for one in events)
    assert {"one-click"} == {one["source"] for one in events}
    assert "one-click" == (await api.contact(ADA))["opted_out_by"]


# --- one click --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        {"data": ONE_CLICK},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"data": {**ONE_CLICK, **BACK}},
        {"data": {"action": "unsubscribe"}},
        {},
        {"content": b"\xff\x00=%%%&&&"},
        {"content": b"\xff\x00", "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"content": b"no form", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"files": {"action": ("a.txt", b"resubscribe")}},
    ],
)
async def test_whatever_is_posted_opts_out_at_once_but_for_the_other_button(
    api: Api, browser: httpx.AsyncClient, sent: Json
) -> None:
    await api.model("m", profile_rule("contact.opted_out", "=", True, -5))
    await come(api)

    reply = await browser.post(await link(api), **sent)

    assert 200 == reply.status_code
    assert await is_out(api)
    assert -5 == await api.score(ADA, "m")


async def test_posting_again_changes_nothing(api: Api, browser: httpx.AsyncClient) -> None:
    await come(api)
    url = await link(api)

    replies = await asyncio.gather(*(browser.post(url, data=ONE_CLICK) for _ in range(8)))
    replies += [await browser.post(url, data=ONE_CLICK)]

    assert {200} == {reply.status_code for reply in replies}
    assert 1 == len(await consents(api))
    for _ in range(2):
        await browser.post(url, data=BACK)
    assert 2 == len(await consents(api))


async def test_an_address_that_is_nobodys_is_kept_by_its_hash_alone(api: Api, browser: httpx.AsyncClient) -> None:
    url = await link(api, NOBODY)
    for _ in range(2):
        assert "resubscribe" == _Page((await browser.post(url, data=ONE_CLICK)).text).button()

    assert await is_out(api, NOBODY)
    [line] = (await api.get("/v1/suppressions"))["items"]
    assert ("hash", "opt_out", "one-click") == (line["kind"], line["reason"], line["by"])
    assert 0 == await api.fetchval("SELECT count(*) FROM contact")
    await browser.post(url, data=BACK)
    assert not await is_out(api, NOBODY)

    await browser.post(url, data=ONE_CLICK)
    await come(api, NOBODY)
    assert (await api.contact(NOBODY))["opted_out"]


async def test_a_link_works_after_its_contact_was_merged_or_erased(api: Api, browser: httpx.AsyncClient) -> None:
    await come(api)
    await come(api, "new@example.com")
    url = await link(api)
    new = await api.id_of("new@example.com")
    await api.post(f"/v1/contacts/{new}/merge", {"other": str(await api.id_of(ADA))})

    await browser.post(url, data=ONE_CLICK)

    assert (await api.get(f"/v1/contacts/{new}"))["opted_out"]
    assert "resubscribe" == _Page((await browser.get(url)).text).button()
    await api.delete(f"/v1/contacts/{new}")
    assert "resubscribe" == _Page((await browser.get(url)).text).button()
    await browser.post(url, data=BACK)
    assert [False, True] == [await is_out(api), await is_out(api, "new@example.com")]


async def test_who_complained_may_come_back_by_the_page(api: Api, browser: httpx.AsyncClient) -> None:
    await api.send({"type": "email.complained", "contact": {"email": ADA}})
    await api.post("/v1/suppressions", {"address": ADA, "reason": "complaint"})
    url = await link(api)

    assert "resubscribe" == _Page((await browser.get(url)).text).button()
    await browser.post(url, data=BACK)

    assert not await is_out(api)


@pytest.mark.parametrize("token", ["x", "x" * 40, "é" * 40, "x" * 5_000, "%00" * 30, "A" * 23 + "=", "..%2f" * 9])
async def test_a_link_that_is_none_of_ours_says_so(browser: httpx.AsyncClient, token: str) -> None:
    for reply in (await browser.get(f"/u/{token}"), await browser.post(f"/u/{token}", data=ONE_CLICK)):
        assert 404 == reply.status_code
        assert reply.headers["content-type"].startswith("text/html") or "%2f" in token
    assert 404 == (await browser.head(f"/u/{token}")).status_code
