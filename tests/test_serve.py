"""`leadtally serve` as a process: its first start, its end, its crashes."""

import os
import pwd
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.demo import PEOPLE
from tests.processes import Leadtally, environment, postgres_of, run, short_folder

KEY = "lt_the-key-of-these-tests"
EMPTY = {"LEADTALLY_ADMIN_KEY": KEY, "LEADTALLY_DEMO": "0"}

Json = Any  # Any: JSON


@pytest.fixture
def demo() -> Iterator[Leadtally]:
    """A server with a demo workspace and no key of ours, not yet started."""
    with short_folder() as folder, Leadtally(folder) as made:
        yield made


@pytest.fixture
def empty() -> Iterator[Leadtally]:
    """A server that starts empty, with our key; not yet started."""
    with short_folder() as folder, Leadtally(folder, settings=EMPTY) as made:
        yield made


def caller(server: Leadtally, key: str = KEY) -> httpx.Client:
    return httpx.Client(base_url=server.url, auth=(key, ""), timeout=30)


def bash(line: str, **variables: str) -> Json:
    """What a line prints, pasted into a shell."""
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return ended.stdout


def curl_of(server: Leadtally) -> str:
    [line] = [line for line in server.output.splitlines() if line.lstrip().startswith("curl ")]
    return line


# --- the first start and the second -----------------------------------------------------------------------------------


def test_the_first_start_shows_all_that_a_stranger_needs_and_the_second_keeps_all_data(
    demo: Leadtally, record_property: Callable[[str, object], None]
) -> None:
    took = {"first": demo.start().ready()}
    key = demo.key
    assert 1 == demo.output.count("Admin key")
    assert f"{demo.url}/graphql" in demo.output
    assert f"{demo.url}/docs" in demo.output
    assert '{"accepted":1,"duplicates":0,"rejected":[]}' == bash(curl_of(demo))
    with caller(demo, key) as http:
        assert "graphiql" in http.get("/graphql", headers={"Accept": "text/html"}).text.lower()
        assert "swagger" in http.get("/docs").text.lower()
        asked = {"query": '{ contacts(filter: {score: {model: "engagement", gte: 60}}) { totalCount } }'}
        assert http.post("/graphql", json=asked).json()["data"]["contacts"]["totalCount"] > 10
        events = http.get("/v1/events", params={"limit": 1000, "source": "api"}).json()["items"]
        assert ["ada@example.com"] == [event["contact"]["email"] for event in events]
    # A command beside the server uses its database, and leaves it running.
    listed = run("keys", "list", **demo.settings)
    assert (0, True) == (listed.returncode, "admin" in listed.stdout)
    with caller(demo, key) as http:
        assert 200 == http.get("/readyz").status_code

    assert 0 == demo.end(signal.SIGTERM)
    assert [] == postgres_of(demo.data)
    took["second"] = demo.start().ready()
    assert "lt_" not in demo.output
    assert "leadtally keys create" in demo.output
    assert '"status":"ready"' in bash(curl_of(demo))
    with caller(demo, key) as http:
        again = http.get("/v1/events", params={"limit": 1000, "source": "api"}).json()["items"]
        assert events == again
        count = http.post("/graphql", json={"query": "{ contacts { totalCount } }"}).json()
        assert PEOPLE + 1 == count["data"]["contacts"]["totalCount"]

    assert 0 == demo.end(signal.SIGINT)
    assert [] == postgres_of(demo.data)
    record_property("ready after", ", ".join(f"{s:.2f} s at the {n} start" for n, s in took.items()))


def test_a_given_key_is_the_first_key_and_an_empty_start_is_empty(empty: Leadtally) -> None:
    empty.start().ready()

    assert KEY not in empty.output
    assert "lt_" not in empty.output
    assert '{"accepted":1,"duplicates":0,"rejected":[]}' == bash(curl_of(empty), LEADTALLY_ADMIN_KEY=KEY)
    with caller(empty) as http:
        assert [] == http.get("/v1/models").json()["items"]
        assert (
            1
            == http.post("/graphql", json={"query": "{ contacts { totalCount } }"}).json()["data"]["contacts"][
                "totalCount"
            ]
        )
        assert 401 == httpx.get(f"{empty.url}/v1/models").status_code
    assert 0 == empty.end(signal.SIGTERM)


@pytest.mark.parametrize(("number", "wait"), [(signal.SIGKILL, 0.3), (signal.SIGINT, 0.8), (signal.SIGTERM, 1.4)])
def test_a_signal_at_any_moment_of_the_first_start_leaves_no_database_running_and_nothing_broken(
    empty: Leadtally, number: signal.Signals, wait: float
) -> None:
    empty.start()
    while not empty.data.exists():
        time.sleep(0.01)
    time.sleep(wait)

    code = empty.end(number)

    if number != signal.SIGKILL:
        assert code in (0, 128 + number), empty.output
        assert [] == postgres_of(empty.data)
    empty.start().ready()
    assert 0 == empty.end(signal.SIGTERM)
    assert [] == postgres_of(empty.data)


# --- crashes ----------------------------------------------------------------------------------------------------------


def test_after_a_kill_the_next_start_takes_the_database_over_and_stops_it_in_the_end(empty: Leadtally) -> None:
    empty.start().ready()
    with caller(empty) as http:
        http.post("/v1/events", json={"id": "1", "type": "a.b", "contact": {"user_id": "1"}}).raise_for_status()
    assert -signal.SIGKILL == empty.end(signal.SIGKILL)
    [*running] = [process.pid for process in postgres_of(empty.data)]
    assert running

    empty.start().ready()
    assert set(running) & {process.pid for process in postgres_of(empty.data)}
    with caller(empty) as http:
        assert ["1"] == [event["client_id"] for event in http.get("/v1/events").json()["items"]]
        reply = http.post("/v1/events", json={"id": "1", "type": "a.b", "contact": {"user_id": "1"}})
        assert 1 == reply.json()["duplicates"]

    assert 0 == empty.end(signal.SIGTERM)
    assert [] == postgres_of(empty.data)


class Sender(threading.Thread):
    """A client that sends batches until told to stop, each again and again until it is acknowledged."""

    def __init__(self, server: Leadtally, name: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.server, self.stop_sending, self.prefix = server, stop, name
        self.sent: list[Json] = []
        self.statuses: Counter[int] = Counter()
        self.dice = random.Random(name)

    def run(self) -> None:
        with caller(self.server) as http:
            while not self.stop_sending.is_set():
                batch = [self._event(len(self.sent) + number) for number in range(self.dice.randint(1, 60))]
                self.sent += batch
                while not self._is_taken(http, batch):
                    time.sleep(0.02)

    def _is_taken(self, http: httpx.Client, batch: list[Json]) -> bool:
        try:
            reply = http.post("/v1/events", json={"events": batch})
        except httpx.TransportError:
            return False
        self.statuses[reply.status_code] += 1
        if reply.status_code != 200:
            return False
        receipt = reply.json()
        return receipt["accepted"] + receipt["duplicates"] == len(batch) and not receipt["rejected"]

    def _event(self, number: int) -> Json:
        return {
            "id": f"{self.prefix}-{number}",
            "type": self.dice.choice(["page.viewed", "email.opened", "email.clicked"]),
            "contact": {"user_id": f"u{self.dice.randrange(30)}"},
        }


POINTS = {"page.viewed": (1, 10_000), "email.opened": (5, 150), "email.clicked": (-2, 10_000)}
"""Type → points of each, and the most they may sum up to."""


def publish(http: httpx.Client) -> None:
    http.post("/v1/models", json={"key": "m", "name": "M"}).raise_for_status()
    for type_, (points, most) in POINTS.items():
        condition = {"combinator": "and", "rules": [{"field": "event.type", "operator": "=", "value": type_}]}
        rule = {"name": type_, "kind": "event", "condition": condition, "points": points, "max_points": most}
        http.post("/v1/models/m/rules", json=rule).raise_for_status()
    published = http.post("/v1/models/m/publish").json()
    while http.get(f"/v1/jobs/{published['job_id']}").json()["status"] != "done":
        time.sleep(0.02)


def keep_sending(server: Leadtally, disturb: Callable[[], None]) -> list[Sender]:
    """Some clients at once, disturbed meanwhile; ends when all they have sent is acknowledged."""
    stop = threading.Event()
    senders = [Sender(server, name, stop) for name in ("ada", "bob", "cy", "di")]
    for sender in senders:
        sender.start()
    try:
        disturb()
    finally:
        stop.set()
        for sender in senders:
            sender.join(30)
    assert not any(sender.is_alive() for sender in senders)
    return senders


def patiently(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer, once it is another than to come back later."""
    for _ in range(100):
        reply = ask()
        if reply.status_code != 503:
            return reply.raise_for_status()
        time.sleep(0.05)
    raise AssertionError(reply.text)


def check(server: Leadtally, senders: list[Sender]) -> int:
    """What is stored is what was sent, once each, and every score is its sum; returns how many events."""
    sent = [event for sender in senders for event in sender.sent]
    stored, cursor = [], None
    with caller(server) as http:
        while True:
            query = "" if cursor is None else f"&cursor={cursor}"
            page = patiently(partial(http.get, f"/v1/events?limit=1000{query}")).json()
            stored += [event["client_id"] for event in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        asked = '{ contacts(first: 100) { nodes { identities { value } score(model: "m") { value } } } }'
        nodes = patiently(partial(http.post, "/graphql", json={"query": asked})).json()["data"]["contacts"]["nodes"]
    assert len(stored) == len(set(stored))
    assert {event["id"] for event in sent} == set(stored)

    happened = Counter((event["contact"]["user_id"], event["type"]) for event in sent)
    expected: Counter[str] = Counter()
    for (who, type_), count in happened.items():
        points, most = POINTS[type_]
        expected[who] += max(-most, min(most, points * count))
    assert expected == {node["identities"][0]["value"]: node["score"]["value"] for node in nodes}
    return len(sent)


def test_a_server_killed_again_and_again_has_stored_and_scored_exactly_what_was_sent(empty: Leadtally) -> None:
    dice = random.Random()

    def kill() -> None:
        for _ in range(3):
            time.sleep(dice.uniform(0.2, 0.9))
            empty.end(signal.SIGKILL)
            empty.start().serving()

    empty.start().ready()
    with caller(empty) as http:
        publish(http)
    senders = keep_sending(empty, kill)

    assert check(empty, senders) > 500
    assert {200} <= {status for sender in senders for status in sender.statuses} <= {200, 503}
    assert 0 == empty.end(signal.SIGTERM)
    assert [] == postgres_of(empty.data)


def test_a_database_restarted_amid_ingest_costs_nobody_more_than_a_503(empty: Leadtally) -> None:
    def restart() -> None:
        for mode in ("fast", "immediate"):
            time.sleep(0.5)
            pg_ctl(empty, "restart", "-m", mode)
        time.sleep(0.5)

    empty.start().ready()
    with caller(empty) as http:
        publish(http)
    senders = keep_sending(empty, restart)

    assert check(empty, senders) > 500
    assert {200} <= {status for sender in senders for status in sender.statuses} <= {200, 503}
    empty.ready()
    assert 0 == empty.end(signal.SIGTERM)
    assert [] == postgres_of(empty.data)


def pg_ctl(server: Leadtally, *arguments: str) -> None:
    """Postgres' own tool, beside the binary that runs, as the user that owns the data folder."""
    tool = Path(postgres_of(server.data)[0].exe()).with_name("pg_ctl")
    owner = pwd.getpwuid(server.data.stat().st_uid).pw_name
    subprocess.run(
        [tool, "-w", "-D", server.data, "-l", server.data / "log", *arguments],
        user=owner if os.getuid() == 0 else None,
        cwd=server.data,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=30,
    )


# --- a worker apart ---------------------------------------------------------------------------------------------------


def test_a_worker_apart_makes_the_server_ready_and_does_its_jobs(blank: str) -> None:
    settings = {**EMPTY, "DATABASE_URL": blank, "LEADTALLY_WORKER": "0"}
    with (
        short_folder() as folder,
        Leadtally(folder, settings=settings) as server,
        Leadtally(folder, "worker", settings) as worker,
    ):
        server.start().serving()
        assert {"status": "not_ready", "database": True, "migrated": True, "worker": False} == httpx.get(
            f"{server.url}/readyz"
        ).json()

        worker.start()
        server.ready()
        with caller(server) as http:
            http.post("/v1/events", json={"type": "email.opened", "contact": {"user_id": "1"}}).raise_for_status()
            publish(http)
            answer = http.post("/graphql", json={"query": '{ contacts { nodes { score(model: "m") { value } } } }'})
        assert [{"score": {"value": 5}}] == answer.json()["data"]["contacts"]["nodes"]
        assert "The worker runs" in worker.output
        assert 0 == worker.end(signal.SIGTERM)
        assert not re.search("error|Traceback", worker.output + server.output)
        assert 0 == server.end(signal.SIGTERM)
