"""The whole, as an operator has it: a server, stand-in CRMs beside it, and the server killed at any moment."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from app.connectors import providers
from tests.processes import Leadtally, short_folder

PATIENCE_S = 90.0
PEOPLE = 40
CRMS = len(providers())
KEY = "lt_a_key_for_this_test_alone"

Json = Any  # Any: JSON


def test_a_server_killed_while_it_syncs_goes_on_where_it_stopped_until_both_sides_agree() -> None:
    dice = random.Random()
    settings = {"LEADTALLY_DEMO": "0", "LEADTALLY_PRIVATE_CRMS": "1", "LEADTALLY_ADMIN_KEY": KEY}
    with short_folder() as folder, Leadtally(folder, settings=settings) as server:
        server.start().ready()
        with caller(server) as http, stand_ins(server):
            publish(http)
            people = known_people(http)
            for _ in range(3):
                happens(http, dice.sample(people, 10))
                time.sleep(dice.uniform(0.0, 1.5))
                server.end(signal.SIGKILL)
                server.start().serving()
            bounced = dice.sample(people, 10)
            happens(http, bounced)
            for connection in asked(http.get("/v1/connections"))["items"]:
                agrees(http, connection["id"])

            found = graphql(
                http, "{ contacts(first: 100, filter: {bounced: true}) { nodes { email crmLinks { state } } } }"
            )
            nodes = {one["email"]: one["crmLinks"] for one in found["contacts"]["nodes"]}
            assert set(bounced) <= nodes.keys()
            assert {CRMS} == {len(links) for links in nodes.values()}
        assert 0 == server.end(signal.SIGTERM)
        assert not [one for one in (*people, "Bearer", "secret") if one in server.output]


@contextmanager
def caller(server: Leadtally) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, auth=(KEY, ""), timeout=30) as http:
        yield http


@contextmanager
def stand_ins(server: Leadtally) -> Iterator[Leadtally]:
    """All CRMs, of the same people, connected by the command itself."""
    with short_folder() as folder, Leadtally(folder, "sandbox", {"LEADTALLY_KEY": KEY}) as sandbox:
        sandbox.command += ["--port", "0", "--people", str(PEOPLE), "--connect", server.url]
        sandbox.start()
        until(lambda: sandbox.output.count("is connected") == CRMS, lambda: sandbox.output)
        yield sandbox


def publish(http: httpx.Client) -> None:
    bounced = {"field": "contact.bounced", "operator": "=", "value": True}
    viewed = {"field": "event.type", "operator": "=", "value": "page.viewed"}
    rules = [
        {"name": "visit", "kind": "event", "condition": viewed, "points": 5},
        {"name": "bounced", "kind": "profile", "condition": bounced, "points": -1000},
    ]
    asked(http.post("/v1/models", json={"key": "engagement", "name": "Engagement"}))
    for rule in rules:
        asked(http.post("/v1/models/engagement/rules", json=rule))
    asked(http.post("/v1/models/engagement/publish", json={}))


def known_people(http: httpx.Client) -> list[str]:
    """The addresses of all people, once all CRMs have brought them."""
    query = "{ contacts(first: 100) { nodes { email crmLinks { state } } } }"
    found: list[Json] = []

    def are_there() -> bool:
        found[:] = graphql(http, query)["contacts"]["nodes"]
        return len(found) == PEOPLE and all(len(one["crmLinks"]) == CRMS for one in found)

    until(are_there, lambda: str(found))
    return [one["email"] for one in found]


def happens(http: httpx.Client, people: list[str]) -> None:
    events = [{"type": "page.viewed", "contact": {"email": one}} for one in people]
    events += [{"type": "email.bounced", "contact": {"email": one}, "properties": {"bounce": "hard"}} for one in people]
    events += [{"type": "email.unsubscribed", "contact": {"email": people[0]}}]
    asked(http.post("/v1/events", json={"events": events}))


def agrees(http: httpx.Client, connection: str) -> None:
    report: dict[str, Json] = {}

    def is_so() -> bool:
        reply = http.get(f"/v1/connections/{connection}/diff", params={"only": "different", "limit": 200})
        if reply.status_code == 503:  # the CRM's or our own patience
            return False
        report.clear()
        report.update(asked(reply))
        waits = asked(http.get(f"/v1/connections/{connection}/backlog"))["waiting"]
        return not waits and report["items"] == []

    until(is_so, lambda: str(report))


def graphql(http: httpx.Client, query: str) -> Json:
    answer = asked(http.post("/graphql", json={"query": query}))
    assert "errors" not in answer, answer
    return answer["data"]


def asked(reply: httpx.Response) -> Json:
    assert reply.is_success, reply.text
    return reply.json()


def until(is_so: Any, told: Any) -> None:  # Any: callables without arguments
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() < began + PATIENCE_S, told()
        time.sleep(0.1)
