import asyncio

import httpx
import orjson

from app import clock
from app.connectors.http import Http
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.store.db import Database, plain_url
from app.sync import opening, pull, push
from app.sync.runs import Kind, Runs
from tests import test_connections_cli
from tests.sync.worlds import VAULT
from tests.test_cli import sentence
from tests.test_connections_cli import Cli, Crm, add

here, crm, cli = test_connections_cli.here, test_connections_cli.crm, test_connections_cli.cli


def step(database: Database) -> None:
    """One turn of the sync of the one connection there is."""

    async def turn() -> None:
        async with Database(plain_url(database.url)) as own, Http(private=True) as http:
            async with own.hot.acquire() as db:
                id_ = await db.fetchval("SELECT id FROM connection")
            async with opening.opened(own, VAULT, http, Plans(VAULT), SoftPolicy(), id_) as opened:
                async with Runs(opened).run(Kind.PULL) as run:
                    await pull.pull(opened, run.counts, asyncio.Event())
                await push.drain(opened, run.counts, asyncio.Event())

    asyncio.run(turn())


def edit(crm: Crm, person: int, **values: object) -> None:
    said = {"do": "change", "object": "person", "id": person, "values": values}
    assert 200 == httpx.post(f"{crm.address}/_sandbox/edit", json=said).status_code


def ask(database: Database, statement: str) -> object:
    async def go() -> object:
        async with Database(plain_url(database.url)) as own, own.hot.acquire() as db:
            return await db.fetchval(statement)

    return asyncio.run(go())


def test_what_the_sync_does_is_shown_and_asked_for(cli: Cli, crm: Crm, database: Database) -> None:
    add(cli, crm)
    cli.says("test", "sales")
    step(database)

    assert "5 records with" in cli.says("diff", "sales")
    assert "all agree" in cli.says("diff", "sales")
    runs = cli.says("runs", "sales", "--limit", "1")
    assert "5 created" in runs
    backlog = cli.says("backlog", "sales")
    for words in ("contacts that wait", "budget of 24 hours", "no time"):
        assert words in backlog
    assert "0 records are tried again" in cli.says("parked", "sales", "--retry")
    assert "reason" in cli.says("parked", "sales")
    cli.says("pull", "sales")
    cli.says("reconcile", "sales")
    assert ask(database, f"SELECT greatest(pull_at, reconcile_at) <= '{clock.now().isoformat()}' FROM connection")


def test_differences_are_shown_as_a_table_and_as_lines_and_end_with_a_code(
    cli: Cli, crm: Crm, database: Database
) -> None:
    add(cli, crm)
    cli.says("test", "sales")
    step(database)
    edit(crm, 2, name="Somebody Else")

    shown = cli("diff", "sales")
    assert 1 == shown.returncode
    said = " ".join(shown.stdout.split())
    for words in ("Somebody Else", "changed there and not pulled yet", "1 differ (1 not pulled)"):
        assert words in said
    lines = cli("diff", "sales", "--json")
    assert 1 == lines.returncode
    [one] = map(orjson.loads, lines.stdout.splitlines())
    assert ("2", "name", "Somebody Else", "there", "not_pulled") == (
        one["record"],
        *(one["fields"][0][name] for name in ("here", "value_there", "right", "why")),
    )
    step(database)
    assert 0 == cli("diff", "sales").returncode


def test_a_connection_that_is_not_there_is_a_sentence(cli: Cli) -> None:
    for command in ("diff", "runs", "backlog", "parked", "pull", "reconcile"):
        assert "there is no connection named 'nobody'" in sentence(cli(command, "nobody"), 1)
