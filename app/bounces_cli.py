"""The command for bounce mail: import a maildir or an mbox file."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from app import clock, terminal
from app.engine import ingest
from app.engine.hygiene import SoftPolicy
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.engine.transactions import committed
from app.esp import bounce_folders
from app.sources import bounces
from app.store.db import Database
from app.terminal import out

cli = typer.Typer(no_args_is_help=True, help="Bounce mail.")

_CHUNK = 200


@cli.callback()
def _group() -> None:
    """A group though it has one command, so that it can have more."""


@cli.command("import")
def import_bounces(
    path: Annotated[Path, typer.Argument(exists=True, metavar="MAILDIR|MBOX", help="A maildir, or an mbox file.")],
    dry_run: Annotated[bool, typer.Option(help="Read and count; store nothing.")] = False,
) -> None:
    """Read bounce mail and store what it says of known addresses; importing it again changes nothing."""
    settings = terminal.settings()

    async def run(database: Database) -> bounces.Tally:
        policy = SoftPolicy(settings.soft_bounce_limit, settings.soft_bounce_days)
        plans = Plans(terminal.sealer(settings))

        async def store(events: Sequence[NewEvent]) -> None:
            if not dry_run:
                await committed(database, lambda db: ingest.accept(db, plans, events, clock.now(), policy))

        tally, size = bounces.Tally(), sum(1 for _ in bounce_folders.in_path(path))
        messages = bounce_folders.in_path(path)
        with terminal.bar("Reading") as step:
            while chunk := list(islice(messages, _CHUNK)):
                found = await bounces.take(database, store, [raw for _, raw in chunk], clock.now())
                tally.add(len(chunk), found)
                step(tally.messages, size, "")
        return tally

    try:
        tally = terminal.with_database(settings, run, migrated=True)
    except OSError as fault:
        terminal.fail(f"{path} cannot be read: {fault.strerror}")
    if not tally.messages:
        terminal.fail(f"there is no message in {path}")
    table = Table("class", "addresses")
    for name, count in sorted(tally.classes.items(), key=lambda one: -one[1]):
        table.add_row(name, f"{count:,}")
    out.print(table)
    said = "to be stored" if dry_run else "stored"
    strangers = f"of addresses nobody has: {tally.strangers:,}"
    out.print(f"Messages: {tally.messages:,}. Reports {said}: {tally.known:,}; {strangers}.")
