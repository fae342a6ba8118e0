"""The web snippet in a browser, on somebody else's site."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from app.store.db import Database
from tests import chromium
from tests.api.client import Json
from tests.chromium import Chromium, Tab
from tests.live import Live, live


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium.running(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture
async def leadtally(database: Database) -> AsyncIterator[Live]:
    async with live(database) as made:
        yield made


class Visits:
    """A browser's tab on a site that has the snippet."""

    def __init__(self, browser: Chromium, leadtally: Live, key: str) -> None:
        self._browser, self._leadtally, self._key = browser, leadtally, key

    async def __call__(self, do: Callable[[Tab, str], None], options: str = "", before: str = "") -> None:
        """Run `do` with a tab and the site's address. `before` is a script on each page, above the snippet."""
        script = f'<script async src="{self._leadtally.url}/t.js" data-key="{self._key}" {options}></script>'
        with chromium.site(f"<script>{before}</script>{script}") as port:

            def work() -> None:
                with self._browser.tab() as tab:
                    do(tab, f"http://shop.example{port}")

            await asyncio.to_thread(work)

    async def events(self, *types: str) -> list[Json]:
        """The events once so many are there: they are of these types, and of one type in order of time."""
        found = await self._leadtally.events(lambda found: len(found) >= len(types))
        assert sorted(types) == sorted(event["type"] for event in found)
        by_type = {type_: [event for event in found if event["type"] == type_] for type_ in types}
        return [by_type[type_].pop(0) for type_ in types]


@pytest.fixture
async def visits(browser: Chromium, leadtally: Live) -> Visits:
    return Visits(browser, leadtally, await leadtally.source("snippet"))


async def test_pages_are_viewed_and_what_the_page_tells_is_the_same_persons(visits: Visits) -> None:
    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/pricing?plan=pro&utm_source=news&utm_campaign=spring")
        tab.run("leadtally.track('Form Submitted', {form: 'demo'})")
        tab.run("leadtally.identify('u-7', {email: 'ana@example.com', plan: 'pro'})")
        tab.visit(f"{site}/thanks")
        tab.run("leadtally.identify({seats: 3})")

    await visits(do)

    page, form, identify, thanks, again = await visits.events(
        "page.viewed", "form.submitted", "contact.updated", "page.viewed", "contact.updated"
    )
    seen = page["properties"]
    assert ("/pricing", "?plan=pro&utm_source=news&utm_campaign=spring") == (seen["path"], seen["search"])
    assert seen["title"].startswith("/pricing")
    assert {"source": "news", "name": "spring"} == seen["context"]["campaign"]
    assert "Chrome" in seen["context"]["user_agent"]
    assert ("Form Submitted", "demo", "/pricing") == (
        form["properties"]["event"],
        form["properties"]["form"],
        form["properties"]["context"]["page"]["path"],
    )
    assert seen["url"] == thanks["properties"]["referrer"]
    assert {"seats": 3} == again["properties"]["traits"]
    assert {"email": "ana@example.com", "plan": "pro"} == identify["properties"]["traits"]
    assert {"ana@example.com"} == {one["contact"]["email"] for one in (page, form, identify, thanks, again)}


async def test_a_page_that_changes_its_address_is_viewed_again(visits: Visits) -> None:
    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/a")
        tab.run("history.pushState({}, '', '/b'); document.title = 'B'")
        tab.run("new Promise(requestAnimationFrame)")
        tab.run("history.pushState({}, '', '/b#part')")  # the same page
        tab.run("new Promise((done) => { addEventListener('popstate', done); history.go(-2) })")
        tab.run("new Promise(requestAnimationFrame)")

    await visits(do)

    pages = await visits.events("page.viewed", "page.viewed", "page.viewed")
    assert ["/a", "/b", "/a"] == [page["properties"]["path"] for page in pages]
    assert "B" == pages[1]["properties"]["title"]
    assert pages[0]["properties"]["url"] == pages[1]["properties"]["referrer"]


async def test_what_is_told_before_it_is_loaded_is_not_lost(visits: Visits) -> None:
    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/a")
        tab.run("leadtally.push(['track', 'Later Told'])")

    await visits(do, before="leadtally = [['track', 'Early Told', {x: 1}]]")

    _, early, _ = await visits.events("page.viewed", "early.told", "later.told")
    assert 1 == early["properties"]["x"]


async def test_what_waits_when_the_page_is_left_goes_by_beacon(visits: Visits) -> None:
    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/a")
        tab.run("leadtally.track('Left Quickly')")

    await visits(do, 'data-auto="false"', "window.fetch = () => new Promise(() => {})")

    await visits.events("left.quickly")


BROKEN = """
    const real = window.fetch;
    if (location.pathname === "/refused") window.fetch = async () => ({ status: 503 });
    if (location.pathname === "/cut") window.fetch = async (...call) => {
        await real(...call);
        window.lost = true;
        throw new Error();
    };
    if (location.pathname !== "/works") navigator.sendBeacon = () => false;
"""


async def test_what_the_server_did_not_get_is_sent_from_the_next_page_and_counts_once(
    visits: Visits, leadtally: Live
) -> None:
    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/refused")
        tab.run("for (let n = 0; n < 120; n++) leadtally.track('Clicked ' + n)")
        tab.visit(f"{site}/cut")  # the server gets the first fifty, and the page does not know it
        tab.until("window.lost")
        tab.visit(f"{site}/works")
        tab.until("JSON.parse(localStorage.lt_queue).length === 0")

    await visits(do, 'data-auto="false"', BROKEN)

    events = await leadtally.events(lambda found: len(found) >= 120)
    assert {f"Clicked {n}" for n in range(120)} == {event["properties"]["event"] for event in events}
    [source] = (await leadtally.api.get("/v1/sources"))["items"]
    assert (120, 50, 0) == (source["accepted"], source["duplicates"], source["rejected"])


async def test_no_more_than_a_thousand_calls_wait(visits: Visits) -> None:
    waiting: list[int] = []

    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/refused")
        tab.run("for (let n = 0; n < 1200; n++) leadtally.track('Clicked')")
        tab.until("localStorage.lt_queue")
        waiting.append(tab.run("JSON.parse(localStorage.lt_queue).length"))

    await visits(do, 'data-auto="false"', BROKEN)

    assert [1_000] == waiting


NO_STORAGE = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('not allowed') } })"


async def test_without_local_storage_a_cookie_knows_the_visitor(visits: Visits, leadtally: Live) -> None:
    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/a")
        tab.visit(f"{site}/b")
        tab.run("leadtally.reset(); leadtally.track('By Another')")

    await visits(do, before=NO_STORAGE)

    first, second, another = await visits.events("page.viewed", "page.viewed", "by.another")
    assert first["contact"]["id"] == second["contact"]["id"] != another["contact"]["id"]


@pytest.mark.parametrize("sign", ["doNotTrack', { value: '1' }", "globalPrivacyControl', { value: true }"])
async def test_who_asks_not_to_be_tracked_is_not_where_that_is_respected(visits: Visits, sign: str) -> None:
    asks = f"Object.defineProperty(navigator, '{sign})"
    traces: list[Json] = []

    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/a")
        tab.run("leadtally.track('Not Told'); leadtally.identify('u'); leadtally.push(['page']); leadtally.reset()")
        traces.append(tab.run("JSON.stringify(localStorage) + document.cookie"))

    await visits(do, 'data-dnt="respect"', asks)
    await visits(lambda tab, site: tab.visit(f"{site}/told"), "", asks)

    [page] = await visits.events("page.viewed")
    assert "/told" == page["properties"]["path"]
    assert ["{}"] == traces


async def test_the_snippet_may_be_there_twice(visits: Visits, leadtally: Live) -> None:
    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/a")
        tab.run(
            f"""new Promise((done) => {{
                const script = document.createElement("script");
                Object.assign(script, {{ src: "{leadtally.url}/t.js?again", onload: done }});
                document.head.append(script);
            }})"""
        )
        tab.run("leadtally.track('Told Once')")

    await visits(do)

    await visits.events("page.viewed", "told.once")


async def test_calls_may_go_to_another_host_than_the_scripts(visits: Visits, leadtally: Live) -> None:
    host = leadtally.url.replace("127.0.0.1", "collect.example")

    def do(tab: Tab, site: str) -> None:
        tab.visit(f"{site}/a")
        called = "performance.getEntriesByType('resource').map((one) => one.name)"
        tab.until(f"{called}.includes('{host}/v1/batch')")
        assert f"{leadtally.url}/t.js" in tab.run(called)

    await visits(do, f'data-host="{host}/"')

    await visits.events("page.viewed")
