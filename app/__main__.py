"""The command line: serve, worker, migrate, keys, import, models, demo."""

import asyncio
import contextlib
import shlex
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app import clock, demo, logs, models_cli
from app import worker as background
from app.ending import Ending
from app.engine import importing
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.errors import AppError
from app.settings import Settings
from app.store import keys, schema
from app.store.db import REFUSALS, Database
from app.store.embedded import EmbeddedPostgres
from app.store.keys import Key, Scope

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Lead scoring and email hygiene on Postgres.",
)
keys_cli = typer.Typer(no_args_is_help=True, help="API keys: make, list, revoke.")
import_cli = typer.Typer(no_args_is_help=True, help="Bring data in from files.")
cli.add_typer(keys_cli, name="keys")
cli.add_typer(import_cli, name="import")
cli.add_typer(models_cli.cli, name="models")

_SHORT_KEY = 16

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
T = TypeVar("T")


@cli.command()
def serve() -> None:
    """Serve REST and GraphQL, with a worker inside unless LEADTALLY_WORKER=0."""
    settings = _settings()
    _refuse_taken_port(settings)
    with Ending() as ending, _server(settings, ending) as url:
        first_key = ending.run(_prepare(settings, url))
        import uvicorn

        from app.main import build

        app = build(settings, url, with_worker=settings.worker)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=20,
                server_header=False,
            )
        )
        _greet(settings, first_key)
        # While it runs uvicorn listens for signals itself, and hands on what it has obeyed.
        ending.obeyed_by(lambda: setattr(server, "should_exit", True))
        server.run()


@cli.command()
def worker() -> None:
    """Run background jobs, beside any number of `serve` and other workers."""
    settings = _settings()

    async def run(database: Database) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        ending.obeyed_by(lambda: loop.call_soon_threadsafe(stop.set))
        out.print("The worker runs; stop it with Ctrl-C.")
        await background.run(database, stop)

    ending = Ending()
    _with_database(settings, run, migrated=True, ending=ending)


@cli.command()
def migrate(
    revision: Annotated[str, typer.Argument(help="Up to this revision, or back down to it.")] = "head",
) -> None:
    """Bring the database to the schema of this version."""

    async def run(database: Database) -> None:
        await schema.migrate(database.engine, revision)

    _with_database(_settings(), run, migrated=False)
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

    made = _with_database(_settings(), run, migrated=True)
    err.print(f"Key {made.name!r} may: {', '.join(made.scopes)}. It is shown this once; keep it safe.")
    print(secret)


@keys_cli.command("list")
def list_keys() -> None:
    """Show all keys, never the secrets."""

    async def run(database: Database) -> list[Key]:
        async with database.batch() as db:
            return await keys.listed(db)

    table = Table("name", "begins", "scopes", "created (UTC)", "revoked (UTC)")
    for key in _with_database(_settings(), run, migrated=True):
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        table.add_row(key.name, key.hint, ", ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    out.print(table)


@keys_cli.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """End a key, for good and within a second."""

    async def run(database: Database) -> Key:
        async with database.batch() as db:
            return await keys.revoke(db, name, clock.now())

    _with_database(_settings(), run, migrated=True)
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
    settings = _settings()
    try:
        said = orjson.loads(mapping)
    except ValueError:
        _fail("--map is not JSON")

    async def run(database: Database) -> importing.Report:
        policy = SoftPolicy(settings.soft_bounce_limit, settings.soft_bounce_days)
        with file.open("rb") as opened, _bar("Importing") as step:
            size = file.stat().st_size

            def on_progress(report: importing.Report) -> None:
                step(min(opened.tell(), size), size, f"{report.lines} lines")

            return await importing.run(
                database, Plans(), opened, importing.read_mapping(said), source, policy, on_progress
            )

    report = _with_database(settings, run, migrated=True)
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

    async def run(database: Database) -> int | None:
        return await _fill_demo(database) if await demo.is_empty(database) else None

    events = _with_database(_settings(), run, migrated=True)
    if events is None:
        _fail("the workspace is not empty; the demo fills an empty one only")
    out.print(f"The demo workspace has {demo.PEOPLE} people and {events} events.")


async def _prepare(settings: Settings, url: str) -> str | None:
    """Migrate, make the first key, fill the demo; returns the key if one was made."""
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
    with _bar("Filling the demo workspace") as step:
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


@contextlib.contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on a terminal; elsewhere a plain line for every tenth."""
    if not err.is_terminal:
        told = -1

        def line(done: int, of: int, note: str) -> None:
            nonlocal told
            tenth = 10 * done // max(of, 1)
            if tenth > told:
                told = tenth
                err.print(f"{title}: {10 * tenth} % {note}".rstrip())

        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, of, note: progress.update(
            task, completed=done, total=of, description=f"{title} {note}".rstrip()
        )


@contextlib.contextmanager
def _server(settings: Settings, ending: Ending) -> Iterator[str]:
    """The database's URL: as set, or of the embedded Postgres, which stops with the last who uses it."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    embedded = EmbeddedPostgres(settings.data_dir)
    try:
        url = embedded.start()
        ending.check()
        yield url
    finally:
        embedded.stop()


def _with_database(
    settings: Settings,
    run: Callable[[Database], Coroutine[Any, Any, T]],  # Any: a coroutine's send and yield types
    *,
    migrated: bool,
    ending: Ending | None = None,
) -> T:
    async def go(url: str) -> T:
        async with Database(url, 4, name="leadtally command") as database:
            if migrated:
                await schema.migrate(database.engine)
            return await run(database)

    with ending or Ending() as entered, _server(settings, entered) as url:
        return entered.run(go(url))


def _settings() -> Settings:
    try:
        settings = Settings()
    except ValidationError as fault:
        for error in fault.errors():
            err.print(f"setting {'.'.join(str(part) for part in error['loc'])}: {error['msg']}", markup=False)
        raise typer.Exit(2) from None
    logs.configure(settings.log_level, as_json=settings.log_json)
    return settings


def _refuse_taken_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as fault:
            _fail(f"cannot listen on {settings.host}:{settings.port} ({fault.strerror}); set LEADTALLY_PORT to another")


def _fail(message: str) -> NoReturn:
    err.print(f"[red]error[/red]: {message}")
    raise typer.Exit(1)


class _Here:
    """What the commands of other modules need of this one."""

    def __init__(self) -> None:
        self.trouble = 1

    def with_database(self, run: Callable[[Database], Coroutine[Any, Any, T]]) -> T:  # Any: as above
        return _with_database(_settings(), run, migrated=True)

    def bar(self, title: str) -> AbstractContextManager[Callable[[int, int, str], None]]:
        return _bar(title)


def main() -> None:
    here = _Here()
    try:
        cli(obj=here)
    except AppError as fault:
        err.print(f"error: {fault}", markup=False)
        sys.exit(here.trouble)
    except OSError as fault:
        err.print(f"error: cannot reach the database: {fault}", markup=False)
        sys.exit(here.trouble)
    except REFUSALS as fault:
        err.print(f"error: the database refuses: {fault}", markup=False)
        sys.exit(here.trouble)


if __name__ == "__main__":
    main()
