"""The commands for models as files: export, diff, apply, library."""

import sys
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from app import terminal
from app.errors import AppError, Conflict, NotFound
from app.files import changes, documents, drafting, publishing, sources
from app.files.changes import ADDED, CHANGED, REMOVED
from app.files.drafting import Against
from app.store.db import Database
from app.terminal import err, out

T = TypeVar("T")

cli = typer.Typer(no_args_is_help=True, help="Models as files: export, review, apply.")
_library = typer.Typer(invoke_without_command=True)
cli.add_typer(_library, name="library")

_COLOURS = {ADDED: "green", REMOVED: "red", CHANGED: "yellow", "": ""}
_FAULTY = 2

Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE", help="YAML files; library:KEY is a ready-made model.", show_default=False),
]


@cli.command()
def export(
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY", help="All but the archived, if none.")] = None,
    to: Annotated[str, typer.Option(help="A folder, which gets KEY.yaml for each; - prints them.")] = "-",
) -> None:
    """Write what the drafts of models say, as YAML."""
    found = terminal.with_database(
        terminal.settings(), lambda database: drafting.drafted(database, keys or []), migrated=True
    )
    if to == "-":
        print(documents.text(found), end="")
        return
    try:
        Path(to).mkdir(parents=True, exist_ok=True)
        for draft in found:
            (Path(to) / f"{draft.key}.yaml").write_text(documents.text([draft]), encoding="utf-8")
    except OSError as fault:
        raise Conflict(f"cannot write to {to}: {fault.strerror}") from None
    written = ", ".join(f"{draft.key}.yaml" for draft in found) or "nothing; there is no model"
    out.print(f"Written to {to}: {written}.", soft_wrap=True, markup=False)


@cli.command()
def diff(files: Files) -> None:
    """Show what applying these files would change. The exit code is 1 if anything, 2 if something is wrong."""
    terminal.trouble = _FAULTY  # 1 says that there are differences, and nothing else
    against, _ = _look(files, to_publish=False)
    raise typer.Exit(1 if against.changes else 0)


@cli.command()
def apply(
    files: Files,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="Make them count, too, and wait until they do.")] = False,
) -> None:
    """Let the drafts of models say what these files say. Never deletes a model."""
    against, pending = _look(files, to_publish=publish)
    if not against.changes and not pending:
        return
    if not yes and not sys.stdin.isatty():
        raise Conflict("there is nobody to ask here; say --yes")
    if not yes and not typer.confirm("Apply this?"):
        raise typer.Exit(1)

    async def run(database: Database) -> None:
        await drafting.apply(database, against)
        for key in pending:
            try:
                with terminal.bar(f"Publishing {key}") as step:
                    await publishing.run(database, key, step)
            except AppError as fault:
                raise Conflict(f"the drafts are as the files say, but {key} is not published: {fault}") from fault

    terminal.with_database(terminal.settings(), run, migrated=True)
    said = "Applied; these models count now as the files say." if publish else "Applied to the drafts; publish them."
    out.print(said)


@_library.callback()
def library(context: typer.Context) -> None:
    """The ready-made models, which `diff` and `apply` take as library:KEY. `show KEY` prints one."""
    if context.invoked_subcommand is not None:
        return
    table = Table("key", "made of", "objective")
    for _, draft in sources.read([f"{sources.LIBRARY}{key}" for key in sources.library()]).drafts:
        table.add_row(draft.key, ", ".join(draft.sheet.parts), draft.sheet.objective)
    out.print(table)


@_library.command()
def show(key: Annotated[str, typer.Argument(help="The model's key.")]) -> None:
    """Print a ready-made model."""
    known = sources.library()
    if key not in known:
        raise NotFound(f"there is no ready-made model {key!r}; there is {', '.join(known)}")
    print(known[key], end="")


def _look(files: list[str], *, to_publish: bool) -> tuple[Against, list[str]]:
    """Read the files and show what they would change and publish. Ends the command if anything in them is wrong."""
    reading = sources.read(files)

    async def run(database: Database) -> tuple[Against, list[str]]:
        against = await drafting.look(database, reading, to_publish=to_publish)
        pending = await publishing.pending(database, against) if to_publish and not against.faults else []
        return against, pending

    against, pending = terminal.with_database(terminal.settings(), run, migrated=True)
    for wrong in against.faults:
        err.print(str(wrong), markup=False, soft_wrap=True)
    if against.faults:
        raise typer.Exit(_FAULTY)
    for change in against.changes:
        for sign, words in changes.lines(change):
            out.print(Text(f"{sign or ' '} {words}", _COLOURS[sign]), soft_wrap=True)
    if pending:
        out.print(f"To be published: {', '.join(pending)}.", soft_wrap=True)
    out.print(changes.summary(against.changes))
    return against, pending
