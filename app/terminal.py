"""What the commands share: the terminal, the settings, and the database for as long as a command runs."""

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from app import logs
from app.ending import Ending
from app.settings import Settings
from app.store import schema
from app.store.db import Database
from app.store.embedded import EmbeddedPostgres
from app.store.vault import Vault, vault

T = TypeVar("T")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
trouble = 1
"""The exit code for what keeps a command from doing its work, such as no database."""


@contextlib.contextmanager
def bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
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
def server(settings: Settings, ending: Ending) -> Iterator[str]:
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


def with_database(
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

    with ending or Ending() as entered, server(settings, entered) as url:
        return entered.run(go(url))


def settings() -> Settings:
    try:
        settings = Settings()
    except ValidationError as fault:
        for error in fault.errors():
            err.print(f"setting {'.'.join(str(part) for part in error['loc'])}: {error['msg']}", markup=False)
        raise typer.Exit(2) from None
    logs.configure(settings.log_level, as_json=settings.log_json)
    return settings


def sealer(settings: Settings) -> Vault:
    """The vault by the keys that are set, or by the one in the data folder."""
    keys = settings.encryption_key
    return vault(None if keys is None else keys.get_secret_value(), settings.data_dir)


def fail(message: str) -> NoReturn:
    err.print(f"[red]error[/red]: {message}")
    raise typer.Exit(1)
