"""Clients of graphql-transport-ws and GraphQL over SSE as their makers publish them; servers as processes."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app.engine.plan import Plans
from app.store.db import Database
from tests.graphql.listening import GOOD, PROTOCOL, eventually, listened
from tests.graphql.test_live import FLAGS, edited
from tests.graphql.world import Lead, leads
from tests.processes import Leadtally, short_folder
from tests.sandbox.installed import node_packages

KEY = "lt_the-key-of-these-tests"
NODE_CLIENTS = ("graphql-ws@6.4.2", "graphql-sse@2.6.1", "graphql@16.15.0", "ws@8.23.0")
SCRIPT = """
const ws = require("graphql-ws"), sse = require("graphql-sse");
const { url, query, headers } = JSON.parse(process.argv[1]);
const clients = {
  ws: ws.createClient({
    url: url.replace("http", "ws"), webSocketImpl: require("ws"), connectionParams: headers, retryAttempts: 0,
  }),
  sse: sse.createClient({ url, headers, retryAttempts: 0 }),
};
const first = async (client, query) => {
  const told = client.iterate({ query });
  for await (const result of told) return result;
};
const failed = (client, query) => new Promise((resolve) => {
  const seen = [];
  client.subscribe({ query }, {
    next: (result) => seen.push(result.errors ? result.errors[0].extensions.code : result.data),
    error: (errors) => resolve([errors[0].extensions.code]),
    complete: () => resolve(seen),
  });
});
(async () => {
  const told = {};
  for (const [name, client] of Object.entries(clients)) {
    told[`${name} query`] = (await first(client, "{ segments { nodes { key } } }")).data;
    told[`${name} mistake`] = await failed(client, "subscription { nope }");
  }
  const waiting = Object.entries(clients).map(async ([name, client]) => {
    told[`${name} told`] = (await first(client, query)).data.flagChanged.contact.email;
  });
  await Promise.all(waiting);
  console.log(JSON.stringify(told));
  clients.ws.dispose(); clients.sse.dispose();
})().catch((fault) => { console.error(fault); process.exitCode = 1; });
"""


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Path:
    return node_packages(request, "node-graphql-live", *NODE_CLIENTS)


async def test_the_clients_of_both_protocols_makers_listen_ask_and_are_told_of_mistakes(
    migrated: Database, plans: Plans, database: Database, node: Path
) -> None:
    [ada] = await leads(database, Lead("ada@example.com"))
    async with listened(migrated, plans) as live:
        asked = json.dumps({"url": live.url, "query": FLAGS, "headers": GOOD})
        process = await asyncio.create_subprocess_exec(
            "node", "-e", SCRIPT, asked, cwd=node, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        ending = asyncio.create_task(process.communicate())
        await eventually(lambda: live.endpoint.live.following == 2 or ending.done())
        await edited(database, ada, "opted_out = true")
        out, err = await ending

    assert ("", 0) == (err.decode(), process.returncode)
    none: dict[str, Any] = {"segments": {"nodes": []}}  # Any: JSON
    assert {
        "ws query": none, "ws mistake": ["invalid_query"], "ws told": "ada@example.com",
        "sse query": none, "sse mistake": ["invalid_query"], "sse told": "ada@example.com",
    } == json.loads(out)  # fmt: skip


# --- Processes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def servers(blank: str) -> Iterator[list[Leadtally]]:
    """Two servers on one database."""
    settings = {"LEADTALLY_ADMIN_KEY": KEY, "LEADTALLY_DEMO": "0", "DATABASE_URL": blank}
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        yield [stack.enter_context(Leadtally(folder, settings=settings)).start() for _ in range(2)]


def test_what_one_server_takes_all_tell_and_one_that_ends_keeps_nobody_waiting(servers: list[Leadtally]) -> None:
    for server in servers:
        server.ready()
    one, other = servers
    address = f"ws://127.0.0.1:{other.port}/graphql"
    headers = {"authorization": f"Bearer {KEY}", "accept": "text/event-stream"}
    with (
        connect(address, subprotocols=[PROTOCOL]) as socket,
        httpx.stream("POST", f"{other.url}/graphql", json={"query": FLAGS}, headers=headers, timeout=20) as stream,
    ):
        lines = stream.iter_lines()
        assert ":" == next(lines)
        for said in (
            {"type": "connection_init", "payload": {"authorization": f"Bearer {KEY}"}},
            {"type": "subscribe", "id": "1", "payload": {"query": FLAGS}},
        ):
            socket.send(json.dumps(said))
        assert "connection_ack" == json.loads(socket.recv(10))["type"]
        time.sleep(0.3)  # a subscription is not acknowledged
        event = {"type": "email.unsubscribed", "contact": {"email": "ada@example.com"}}
        httpx.post(f"{one.url}/v1/events", json=event, auth=(KEY, "")).raise_for_status()

        told = json.loads(socket.recv(10))["payload"]["data"]["flagChanged"]
        assert ("ada@example.com", "OPTED_OUT") == (told["contact"]["email"], told["change"]["flag"])
        assert told["cursor"] == next(line for line in lines if line.startswith("id: ")).removeprefix("id: ")

        began = time.monotonic()
        other.end(signal.SIGTERM)
        assert time.monotonic() - began < 10
        assert "complete" not in "".join(lines)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
        assert closed.value.rcvd is not None
        assert 1012 == closed.value.rcvd.code
    assert "Traceback" not in other.output
    assert "127.0.0.1" not in other.output.partition("Uvicorn running")[2].partition("\n")[2]
    assert 0 == one.end(signal.SIGTERM)
