"""SDKs as their makers publish them, with nothing set but host and key, against a live leadtally."""

import asyncio
import json
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import rudderstack.analytics.client
import segment.analytics.client

from app.store.db import Database
from tests import chromium
from tests.api.client import event_rule
from tests.chromium import Chromium
from tests.live import Live, live

CALLS = ["page.viewed", "contact.updated", "form.submitted", "group.joined", "contact.updated", "email.opened"]
PERSON = {"email": "ana@example.com", "firstName": "Ana", "plan": "pro"}


@pytest.fixture
async def leadtally(database: Database) -> AsyncIterator[Live]:
    async with live(database) as made:
        await made.api.model("m", event_rule("page.viewed", 1), event_rule("form.submitted", 5))
        yield made


async def check(leadtally: Live) -> None:
    """Everything has arrived, on one person, scored."""
    events = await leadtally.events(lambda found: len(found) >= len(CALLS))
    assert sorted(CALLS) == sorted(event["type"] for event in events)
    assert {"ana@example.com"} == {event["contact"]["email"] for event in events}
    assert 6 == await leadtally.api.score("ana@example.com", "m")
    [form] = [event for event in events if event["type"] == "form.submitted"]
    assert ("demo", "Form Submitted") == (form["properties"]["form"], form["properties"]["event"])


@pytest.mark.parametrize(
    ("kind", "sdk"),
    [("segment", segment.analytics.client.Client), ("rudderstack", rudderstack.analytics.client.Client)],
)
async def test_a_python_sdk_works_with_host_and_key_alone(leadtally: Live, kind: str, sdk: Any) -> None:
    key = await leadtally.source(kind)
    faults: list[Exception] = []

    def call() -> None:
        client = sdk(key, host=leadtally.url, on_error=lambda fault, _: faults.append(fault))
        client.page(anonymous_id="a-9", name="Home")
        client.identify("u-7", PERSON, anonymous_id="a-9")
        client.track("u-7", "Form Submitted", {"form": "demo"})
        client.group("u-7", "g-1", {"name": "Example Ltd"})
        client.track("u-7", "Email Opened", {"email_id": "m"}, context={"traits": {"email": "ana@example.com"}})
        client.flush()
        client.join()

    await asyncio.to_thread(call)

    assert [] == faults
    await check(leadtally)


@pytest.mark.parametrize(
    ("kind", "sdk"),
    [("segment", segment.analytics.client.Client), ("rudderstack", rudderstack.analytics.client.Client)],
)
async def test_a_python_sdk_tells_a_wrong_key_once_and_gives_up(leadtally: Live, kind: str, sdk: Any) -> None:
    await leadtally.source(kind)
    faults: list[Exception] = []

    def call() -> None:
        client = sdk("wk_wrong", host=leadtally.url, on_error=lambda fault, _: faults.append(fault))
        client.track("u-7", "Form Submitted")
        client.flush()
        client.join()

    await asyncio.wait_for(asyncio.to_thread(call), 5)

    assert ["not_authenticated"] == [getattr(fault, "code", None) for fault in faults]


# --- Node.js ----------------------------------------------------------------------------------------------------------

SCRIPT = """
const { Analytics } = require("@segment/analytics-node");
const [writeKey, host, traits] = JSON.parse(process.argv[1]);
const client = new Analytics({ writeKey, host });
client.on("error", (fault) => { console.error(fault); process.exitCode = 1; });
client.page({ anonymousId: "a-9", name: "Home" });
client.identify({ userId: "u-7", anonymousId: "a-9", traits });
client.track({ userId: "u-7", event: "Form Submitted", properties: { form: "demo" } });
client.group({ userId: "u-7", groupId: "g-1", traits: { name: "Example Ltd" } });
client.track({ userId: "u-7", event: "Email Opened", context: { traits } });
client.closeAndFlush();
"""


def npm(request: pytest.FixtureRequest, package: str, *command: str) -> Path:
    """The folder, kept for the next run, in which npm has done this with a package."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed here")
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir("sdk-" + package.rpartition("/")[2]))
    if not (folder / "done").exists():
        (folder / "package.json").write_text("{}", encoding="utf-8")
        try:
            subprocess.run(["npm", *command, package], cwd=folder, check=True, capture_output=True, timeout=60)
        except (subprocess.SubprocessError, OSError):
            pytest.skip(f"npm cannot get {package} here")
        (folder / "done").touch()
    return folder


async def test_the_node_sdk_works_with_host_and_key_alone(leadtally: Live, request: pytest.FixtureRequest) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed here")
    node = npm(request, "@segment/analytics-node@3.1.0", "install", "--ignore-scripts", "--no-audit", "--no-fund")
    told = json.dumps([await leadtally.source("segment"), leadtally.url, PERSON])

    ended = await asyncio.to_thread(
        subprocess.run, ["node", "-e", SCRIPT, told], cwd=node, capture_output=True, text=True, timeout=30
    )

    assert (0, "") == (ended.returncode, ended.stderr)
    await check(leadtally)


# --- browsers ---------------------------------------------------------------------------------------------------------

SEGMENT = """(async () => {
    const sdk = AnalyticsNext.AnalyticsBrowser.load({ writeKey, cdnURL: host });
    await sdk.page({ title: "Home" });
    await sdk.identify("u-7", traits);
    await sdk.track("Form Submitted", { form: "demo" });
    await sdk.group("g-1", { name: "Example Ltd" });
    await sdk.track("Email Opened", {}, { traits });
})()"""
RUDDERSTACK = """
    const sdk = new rudderanalytics.RudderAnalytics();
    sdk.load(writeKey, host, { configUrl: host });
    sdk.page("Home");
    sdk.identify("u-7", traits);
    sdk.track("Form Submitted", { form: "demo" });
    sdk.group("g-1", { name: "Example Ltd" });
    sdk.track("Email Opened");
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium.running(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.mark.parametrize(
    ("kind", "package", "file", "calls"),
    [
        ("segment", "@segment/analytics-next@1.84.3", "dist/umd/index.js", SEGMENT),
        ("rudderstack", "@rudderstack/analytics-js@3.34.1", "dist/npm/modern/bundled/umd/index.js", RUDDERSTACK),
    ],
)
async def test_a_browser_sdk_works_with_host_and_key_alone(
    leadtally: Live, request: pytest.FixtureRequest, browser: Chromium, kind: str, package: str, file: str, calls: str
) -> None:
    [packed] = npm(request, package, "pack").glob("*.tgz")
    with tarfile.open(packed) as archive:
        member = archive.extractfile(f"package/{file}")
        assert member is not None
        sdk = member.read().decode().replace("</script", "<\\/script")
    told = {"writeKey": await leadtally.source(kind), "host": leadtally.url, "traits": PERSON}

    with chromium.site(f"<meta charset=utf-8><script>{sdk}</script>") as port, browser.tab() as tab:
        await asyncio.to_thread(tab.visit, f"http://shop.example{port}/a")
        await asyncio.to_thread(tab.run, "".join(f"var {name} = {json.dumps(one)};" for name, one in told.items()))
        await asyncio.to_thread(tab.run, calls)
        await check(leadtally)
