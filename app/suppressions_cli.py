"""The commands for the suppression list: import, export."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from app import terminal
from app.engine import suppression_files
from app.engine.suppressions import Reason
from app.store.db import Database
from app.store.suppressions import Wanted
from app.terminal import err, out

cli = typer.Typer(no_args_is_help=True, help="Who must not be mailed: bring in, write out.")

_SHOWN = 20


@cli.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="UTF-8 CSV with a heading line.")],
    source: Annotated[str, typer.Option(help="Who says so.")] = "import",
) -> None:
    """Import addresses and domains from a CSV file; wrong lines are listed, the others imported."""

    async def run(database: Database) -> suppression_files.Report:
        with file.open("rb") as opened, terminal.bar("Importing") as step:
            size = file.stat().st_size

            def on_progress(report: suppression_files.Report) -> None:
                step(min(opened.tell(), size), size, f"{report.lines} lines")

            return await suppression_files.run(database, opened, source, on_progress)

    report = terminal.with_database(terminal.settings(), run, migrated=True)
    table = Table("added", "known", "failed")
    table.add_row(str(report.added), str(report.known), str(report.failed))
    out.print(table)
    for error in report.errors[:_SHOWN]:
        column = "" if error.column is None else f", column {error.column!r}"
        err.print(f"line {error.line}{column}: {error.detail}", markup=False)
    if report.failed > _SHOWN:
        err.print(f"… and {report.failed - _SHOWN} more")
    raise typer.Exit(1 if report.failed else 0)


@cli.command()
def export(
    to: Annotated[str, typer.Option(help="A file; - prints it.")] = "-",
    ndjson: Annotated[bool, typer.Option("--ndjson", help="A JSON object a line, instead of CSV.")] = False,
    reason: Annotated[Reason | None, typer.Option(help="Only what is there for this reason.")] = None,
) -> None:
    """Write out who must not be mailed, and why: the list, and every contact with a flag."""
    written = suppression_files.as_ndjson if ndjson else suppression_files.as_csv

    with contextlib.nullcontext(sys.stdout.buffer) if to == "-" else Path(to).open("wb") as file:

        async def run(database: Database) -> None:
            file.write(written([], is_first=True))
            async for chunk in suppression_files.lines(database, Wanted(reason=reason)):
                file.write(written(chunk, is_first=False))

        terminal.with_database(terminal.settings(), run, migrated=True)
        file.flush()
