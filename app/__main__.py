"""The command line: serve, worker, migrate, keys, import, verify, demo; the others have modules of their own."""

import asyncio
import importlib
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import orjson
import typer
from rich.table import Table
from typer.core import TyperGroup

from app import clock, sandbox_cli, terminal
from app.ending import Ending
from app.errors import AppError
from app.settings import Settings
from app.store import keys, schema
from app.store.db import REFUSALS, Database
from app.store.keys import Key, Scope
from app.terminal import err, out

if TYPE_CHECKING:
    from app.engine import importing, verify

_IN_MODULES = {
    "bounces": "app.bounces_cli",
    "connections": "app.syncing_cli",
    "models": "app.models_cli",
    "sources": "app.sources_cli",
    "suppressions": "app.suppressions_cli",
}


class _Commands(TyperGroup):
    """Commands whose modules are imported when somebody asks for them: all at once take a second more."""

    def list_commands(self, ctx: Any) -> list[str]:  # Any: click's, of which Typer has a copy of its own
        return [*super().list_commands(ctx), *_IN_MODULES]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # Any: as above
        if cmd_name not in _IN_MODULES:
            return super().get_command(ctx, cmd_name)
        found = typer.main.get_group(importlib.import_module(_IN_MODULES[cmd_name]).cli)
        found.name = cmd_name
        return found


cli = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Lead scoring and email hygiene on Postgres.",
)
keys_cli = typer.Typer(no_args_is_help=True, help="API keys: make, list, revoke.")
import_cli = typer.Typer(no_args_is_help=True, help="Bring data in from files.")
cli.add_typer(keys_cli, name="keys")
cli.add_typer(import_cli, name="import")
cli.command("sandbox")(sandbox_cli.serve)

_SHORT_KEY = 16
_SHOWN = 50

T = TypeVar("T")


@cli.command()
def serve() -> None:
    """Serve REST and GraphQL, with a worker inside unless LEADTALLY_WORKER=0."""
    settings = terminal.settings()
    _refuse_taken_port(settings)
    with Ending() as ending, terminal.server(settings, ending) as url:
        first_key = ending.run(_prepare(settings, url))
        from app.graphql.documents import ListRefused
        from app.main import build
        from app.server import Server

        try:
            app = build(settings, url, with_worker=settings.worker)
        except ListRefused as fault:
            terminal.fail(f"LEADTALLY_GRAPHQL_OPERATIONS: {fault}")
        server = Server(app, host=settings.host, port=settings.port)
        _greet(settings, first_key)
        # While it runs uvicorn listens for signals itself, and hands on what it has obeyed.
        ending.obeyed_by(lambda: setattr(server, "should_exit", True))
        server.run()


@cli.command()
def worker() -> None:
    """Run background jobs, beside any number of `serve` and other workers."""
    from app import worker as background

    settings = terminal.settings()

    async def run(database: Database) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        ending.obeyed_by(lambda: loop.call_soon_threadsafe(stop.set))
        out.print("The worker runs; stop it with Ctrl-C.")
        await background.run(database, stop, settings, terminal.sealer(settings))

    ending = Ending()
    terminal.with_database(settings, run, migrated=True, ending=ending)


@cli.command()
def migrate(
    revision: Annotated[str, typer.Argument(help="Up to this revision, or back down to it.")] = "head",
) -> None:
    """Bring the database to the schema of this version."""

    async def run(database: Database) -> None:
        await schema.migrate(database.engine, revision)

    terminal.with_database(terminal.settings(), run, migrated=False)
    out.print(f"The database is at revision {revision}.")


@keys_cli.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for; no two have the same name.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; say it again for several.")],
) -> None:
    """Make a key and show it, once."""
    secret = keys.make_secret()

    async def run(database: Database) -> Key:
        async with database.batch() as db:
            return await keys.create(db, name, scope, secret, clock.now())

    made = terminal.with_database(terminal.settings(), run, migrated=True)
    err.print(f"Key {made.name!r} may: {', '.join(made.scopes)}. It is shown this once; keep it safe.")
    print(secret)


@keys_cli.command("list")
def list_keys() -> None:
    """Show all keys, never the secrets."""

    async def run(database: Database) -> list[Key]:
        async with database.batch() as db:
            return await keys.listed(db)

    table = Table("name", "begins", "scopes", "created (UTC)", "revoked (UTC)")
    for key in terminal.with_database(terminal.settings(), run, migrated=True):
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        table.add_row(key.name, key.hint, ", ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    out.print(table)


@keys_cli.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """End a key, for good and within a second."""

    async def run(database: Database) -> Key:
        async with database.batch() as db:
            return await keys.revoke(db, name, clock.now())

    terminal.with_database(terminal.settings(), run, migrated=True)
    out.print(f"Key {name!r} is revoked.")


@import_cli.command("contacts")
def import_contacts(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="UTF-8 CSV with a heading line.")],
    mapping: Annotated[
        str,
        typer.Option("--map", help='JSON: column → target, as {"Visits": "properties.visits:number", "Notes": null}.'),
    ] = "{}",
    source: Annotated[str, typer.Option(help="Who says so, for flags that the file sets.")] = "import",
) -> None:
    """Import contacts from a CSV file; wrong lines are listed, the others imported."""
    from app.engine import importing
    from app.engine.hygiene import SoftPolicy
    from app.engine.plan import Plans

    settings = terminal.settings()
    try:
        said = orjson.loads(mapping)
    except ValueError:
        terminal.fail("--map is not JSON")

    async def run(database: Database) -> "importing.Report":
        policy = SoftPolicy(settings.soft_bounce_limit, settings.soft_bounce_days)
        plans = Plans(terminal.sealer(settings))
        with file.open("rb") as opened, terminal.bar("Importing") as step:
            size = file.stat().st_size

            def on_progress(report: "importing.Report") -> None:
                step(min(opened.tell(), size), size, f"{report.lines} lines")

            return await importing.run(
                database, plans, opened, importing.read_mapping(said), source, policy, on_progress
            )

    report = terminal.with_database(settings, run, migrated=True)
    table = Table("created", "updated", "failed")
    table.add_row(str(report.created), str(report.updated), str(report.failed))
    out.print(table)
    for error in report.errors[:20]:
        err.print(f"line {error.line}{f', column {error.column!r}' if error.column else ''}: {error.detail}")
    if report.failed > 20:
        err.print(f"… and {report.failed - 20} more")
    raise typer.Exit(1 if report.failed else 0)


@cli.command("demo")
def fill_demo() -> None:
    """Fill an empty workspace with two models, some people and what they did."""
    from app import demo

    async def run(database: Database) -> int | None:
        return await _fill_demo(database) if await demo.is_empty(database) else None

    events = terminal.with_database(terminal.settings(), run, migrated=True)
    if events is None:
        terminal.fail("the workspace is not empty; the demo fills an empty one only")
    out.print(f"The demo workspace has {demo.PEOPLE} people and {events} events.")


async def _prepare(settings: Settings, url: str) -> str | None:
    """Migrate, make the first key, fill the demo; returns the key if one was made."""
    from app import demo

    async with Database(url, 4) as database:
        await schema.migrate(database.engine)
        async with database.batch() as db:
            is_first_start = not await keys.listed(db)
        if settings.demo and is_first_start and await demo.is_empty(database):
            await _fill_demo(database)
        # The key comes last: whatever fails before it, the next start still shows one.
        made = None
        async with database.batch() as db:
            if settings.admin_key is not None:
                await keys.ensure(db, settings.admin_key.get_secret_value(), clock.now())
            elif is_first_start:
                made = keys.make_secret()
                await keys.create(db, "admin", [Scope.ADMIN], made, clock.now())
        return made


async def _fill_demo(database: Database) -> int:
    from app import demo

    with terminal.bar("Filling the demo workspace") as step:
        return await demo.fill(database, lambda done, of: step(done, of, ""))


def _greet(settings: Settings, first_key: str | None) -> None:
    base = f"http://{settings.host}:{settings.port}"
    table = Table.grid(padding=(0, 2))
    table.add_row("GraphiQL", f"{base}/graphql")
    table.add_row("REST docs", f"{base}/docs")
    out.print("\n[bold]Leadtally[/bold]")
    out.print(table)
    if first_key is None and settings.admin_key is None:
        out.print(
            "Your keys are as before: `leadtally keys list`; a new one: `leadtally keys create NAME --scope admin`."
        )
        out.print(f"Try:\n  curl {base}/readyz\n", soft_wrap=True)
        return
    if settings.admin_key is not None and len(settings.admin_key) < _SHORT_KEY:
        err.print(f"LEADTALLY_ADMIN_KEY is short: from {_SHORT_KEY} random characters on nobody can guess it.")
    if first_key is not None:
        out.print(f"Admin key, shown this once: [bold]{first_key}[/bold]", soft_wrap=True)
    key = first_key or '"$LEADTALLY_ADMIN_KEY"'
    body = '{"type": "form.submitted", "contact": {"email": "ada@example.com"}, "properties": {"form": "demo request"}}'
    out.print(f"Try:\n  curl {base}/v1/events -u {key}: -d {shlex.quote(body)}\n", soft_wrap=True, markup=False)


@cli.command("verify")
def verify_scores(
    sample: Annotated[float, typer.Option(min=0.0001, max=1.0, help="The share of contacts to look at.")] = 1.0,
) -> None:
    """Count and score everybody again from the events alone, and compare; exit with 1 if anything differs."""
    from app.engine import verify

    async def run(database: Database) -> "verify.Report":
        with terminal.bar("Verifying") as step:
            async for report in verify.verify(database, sample):
                step(report.contacts, report.total, _differences(report.count) if report.count else "")
        return report

    report = terminal.with_database(terminal.settings(), run, migrated=True)
    table = Table("contact", "what", "stored", "recomputed", title=_differences(report.count), title_justify="left")
    for difference in report.differences[:_SHOWN]:
        table.add_row(str(difference.contact_id), difference.what, difference.stored, difference.recomputed)
    if report.count:
        out.print(table)
    out.print(f"{report.looked_at:,} of {report.total:,} contacts looked at: {_differences(report.count)}.")
    if report.due:
        out.print(f"{report.due:,} scores are due today and wait for the sweep.")
    if report.busy:
        out.print(f"Left out, because they are being published: {', '.join(report.busy)}.")
    raise typer.Exit(1 if report.count else 0)


def _differences(count: int) -> str:
    return f"{count:,} difference{'s' * (count != 1)}"


def _refuse_taken_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as fault:
            terminal.fail(
                f"cannot listen on {settings.host}:{settings.port} ({fault.strerror}); set LEADTALLY_PORT to another"
            )


def main() -> None:
    terminal.trouble = 1
    try:
        cli()
    except AppError as fault:
        err.print(f"error: {fault}", markup=False)
        sys.exit(terminal.trouble)
    except OSError as fault:
        err.print(f"error: cannot reach the database: {fault}", markup=False)
        sys.exit(terminal.trouble)
    except REFUSALS as fault:
        err.print(f"error: the database refuses: {fault}", markup=False)
        sys.exit(terminal.trouble)


if __name__ == "__main__":
    main()
