"""The commands for connections to CRMs: kinds, list, add, test, pause, resume, remove, mapping, fields, authorize."""

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import orjson
import typer
from rich.table import Table

from app import clock, terminal
from app.errors import Conflict, Fault, InvalidInput
from app.settings import Settings
from app.store.db import Database
from app.terminal import out

if TYPE_CHECKING:  # every command would pay for it
    from pydantic import BaseModel

    from app.connectors.http import Http
    from app.sync.checking import Hook
    from app.sync.connections import CrmConnection
    from app.sync.shapes import Opened

T = TypeVar("T")
S = TypeVar("S", bound="BaseModel")

cli = typer.Typer(no_args_is_help=True, help="Connections to CRMs: make, test, map, pause.")

Name = Annotated[str, typer.Argument(help="The connection's name.")]

_SIGNS = {"error": "[red]error[/red]", "warning": "[yellow]warning[/yellow]", "note": "note"}


@cli.command("kinds")
def list_kinds() -> None:
    """Show the CRMs that can be connected, and what each needs."""
    from app import connectors

    table = Table("kind", "flow", "needs", "may have", "budget a day")
    for one in connectors.providers().values():
        for flow in one.flows:
            name = f"{flow.name} (with a browser)" if flow.is_interactive else flow.name
            table.add_row(one.kind, name, ", ".join(flow.needs), ", ".join(flow.may), f"{one.budget:,} {one.unit}")
    out.print(table)


@cli.command("list")
def list_connections() -> None:
    """Show all connections, and why one does not go on."""
    from app.sync import connections

    async def run(database: Database) -> list["CrmConnection"]:
        async with database.hot.acquire() as db:
            return [*await connections.page(db, limit=1_000, after=None)]

    table = Table("name", "kind", "status", "account", "problem")
    for one in terminal.with_database(terminal.settings(), run, migrated=True):
        organisation = "" if one.account is None else one.account["organisation"]
        table.add_row(one.name, one.kind, one.status(clock.now()), organisation, _problem(one))
    out.print(table)


@cli.command("add")
def add_connection(
    kind: Annotated[str, typer.Argument(help="As `connections kinds` lists them.")],
    name: Annotated[str, typer.Argument(help="For ever: what comes from it says so by this name.")],
    flow: Annotated[str | None, typer.Option(help="How to sign in; the best way there is, if none.")] = None,
    credential: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Say it again for several; VALUE @file reads a file, - standard input."
        ),
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="In place of where this CRM is by default.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="As imports=false; VALUE is JSON, or text.")
    ] = None,
) -> None:
    """Make a connection. `connections test` tries it, and lets it begin."""
    from app import connectors
    from app.api.connections import ConnectionIn, options_in
    from app.sync import connections
    from app.sync.given import New
    from app.sync.options import Options

    said = {
        "kind": kind,
        "name": name,
        "flow": flow,
        "base_url": base_url,
        "credentials": {key: _value(value) for key, value in map(_parted, credential or [])},
        "options": {key: _json(value) for key, value in map(_parted, option or [])},
    }
    given = _read(ConnectionIn, said)
    settings = terminal.settings()

    async def run(database: Database) -> "CrmConnection":
        options = Options(**options_in(given.options))
        new = New(given.kind, given.name, given.flow, given.credentials, given.base_url, options)
        async with database.batch() as db:
            return await connections.create(
                db,
                terminal.sealer(settings),
                new,
                connectors.providers(),
                clock.now(),
                private=settings.private_crms,
            )

    made = terminal.with_database(settings, run, migrated=True)
    out.print(f"Connection {made.name!r} is made; `leadtally connections test` tries it.", markup=False)


@cli.command("test")
def try_connection(name: Name) -> None:
    """See whether a connection can work; exit with 1 if it cannot. A good one begins."""
    from app.sync import checking

    async def run(at: "At") -> checking.Tested:
        return await checking.test(at.database, at.opened, at.id, private=at.settings.private_crms, hook=at.hook())

    tested = on(name, run)
    if tested.findings:
        table = Table("", "code", "what", "what to do")
        for one in tested.findings:
            table.add_row(_SIGNS[one.level], one.code, one.what, one.mend)
        out.print(table)
    if tested.account is not None:
        out.print(f"Signed in to {tested.account.organisation} as {tested.account.user_name}.", markup=False)
    if not tested.is_ok:
        raise typer.Exit(1)
    out.print(f"Connection {name!r} can work.", markup=False)


@cli.command("pause")
def pause_connection(name: Name) -> None:
    """Let nothing go on until `resume`."""
    from app.sync import connections

    async def run(at: "At") -> None:
        async with at.database.batch() as db:
            await connections.pause(db, at.id, clock.now())

    on(name, run)
    out.print(f"Connection {name!r} is paused.", markup=False)


@cli.command("resume")
def resume_connection(name: Name) -> None:
    """Let it go on, and forget its problem; one that is new is tested first."""
    from app.sync import checking

    async def run(at: "At") -> "CrmConnection":
        return await checking.resume(at.database, at.opened, at.id, private=at.settings.private_crms, hook=at.hook())

    resumed = on(name, run)
    if resumed.problem is not None:
        raise Conflict(f"it cannot go on: {_problem(resumed)}")
    out.print(f"Connection {name!r} goes on.", markup=False)


@cli.command("remove")
def remove_connection(name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove a connection, and which record is whose. Contacts and their events stay."""
    from app.sync import removing

    if not yes:
        typer.confirm(f"Remove the connection {name!r}?", abort=True)

    async def run(at: "At") -> None:
        await removing.remove(at.database, at.id)

    on(name, run)
    out.print(f"Connection {name!r} is removed.", markup=False)


@cli.command("mapping")
def show_mapping(
    name: Name,
    set_: Annotated[
        Path | None,
        typer.Option("--set", metavar="FILE", exists=True, dir_okay=False, help='JSON: {"pairs": […]}; all of it.'),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As --set takes it.")] = False,
) -> None:
    """Show what is mapped, or say it anew."""
    from app.api.mapping import MappingIn
    from app.sync import connections, setting_up
    from app.sync.mapping import Pair

    given = None if set_ is None else _read(MappingIn, _json(set_.read_text(encoding="utf-8")))

    async def run(at: "At") -> tuple[Pair, ...]:
        if given is not None:
            async with at.opened() as opened:
                return await setting_up.save(opened, [one.pair() for one in given.pairs], clock.now())
        async with at.database.hot.acquire() as db:
            return (await connections.get(db, at.id)).options.pairs

    pairs = on(name, run)
    if as_json:
        print(orjson.dumps({"pairs": [one.to_json() for one in pairs]}, option=orjson.OPT_INDENT_2).decode())
        return
    table = Table("object", "here", "way", "there", "kind", "if both moved")
    for one in pairs:
        table.add_row(one.object, one.here, one.way, one.there, one.kind, one.policy)
    out.print(table)


@cli.command("fields")
def list_fields(
    name: Name,
    object_: Annotated[str | None, typer.Option("--object", help="As the CRM calls it; the first, if none.")] = None,
) -> None:
    """Show the CRM's fields, as it describes them to our user."""
    from app.connectors.shapes import CrmField

    async def run(at: "At") -> tuple[str, list[CrmField]]:
        async with at.opened() as opened:
            objects = opened.connector.objects
            asked = object_ or objects[0]
            if asked not in objects:
                raise InvalidInput(Fault("--object", f"there is no object {asked!r}; there is {', '.join(objects)}"))
            return asked, [*await opened.connector.describe(asked)]

    asked, found = on(name, run)
    table = Table("name", "label", "kind", "may be written", title=asked)
    for one in found:
        table.add_row(one.name, one.label, one.kind, "yes" if one.is_writable else "no")
    out.print(table)


@cli.command("authorize")
def authorize_connection(
    name: Name,
    redirect_uri: Annotated[str | None, typer.Option(help="As the app in the CRM knows it.")] = None,
) -> None:
    """Print the address at which somebody signs in with a browser. It holds for ten minutes."""
    from app import connectors
    from app.api.connecting import CALLBACK
    from app.sync import signing_in

    async def run(at: "At") -> str:
        return await signing_in.begin(
            at.database,
            terminal.sealer(at.settings),
            at.id,
            redirect_uri or _base(at.settings) + CALLBACK,
            connectors.providers(),
        )

    print(on(name, run))


# --- what the commands share ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class At:
    """A connection that a command works on."""

    found: "CrmConnection"
    database: Database
    settings: Settings
    http: "Http"

    @property
    def id(self) -> UUID:
        return self.found.id

    def opened(self) -> AbstractAsyncContextManager["Opened"]:
        from app.engine.hygiene import SoftPolicy
        from app.engine.plan import Plans
        from app.sync import opening

        vault = terminal.sealer(self.settings)
        policy = SoftPolicy(self.settings.soft_bounce_limit, self.settings.soft_bounce_days)
        return opening.opened(self.database, vault, self.http, Plans(vault), policy, self.id)

    def hook(self) -> "Hook | None":
        from app.sync import checking

        return checking.hook_of(self.found, terminal.sealer(self.settings), self.settings.public_url)


def on(name: str, work: Callable[[At], Awaitable[T]]) -> T:
    """What `work` returns. Raises AppError, also where the CRM is what keeps it from being done."""
    from app.connectors.faults import Fault as CrmFault
    from app.connectors.http import Http
    from app.sync import connections

    settings = terminal.settings()

    async def run(database: Database) -> T:
        async with database.hot.acquire() as db:
            found = await connections.named(db, name)
        async with Http(private=settings.private_crms) as http:
            try:
                return await work(At(found, database, settings, http))
            except CrmFault as fault:
                raise Conflict(str(fault)) from None

    return terminal.with_database(settings, run, migrated=True)


def _base(settings: Settings) -> str:
    return (settings.public_url or f"http://{settings.host}:{settings.port}").rstrip("/")


def _problem(one: "CrmConnection") -> str:
    return "" if one.problem is None else f"{one.problem['what']}; {one.problem['mend']}"


def _read(shape: type[S], said: Any) -> S:  # Any: JSON
    """Raises InvalidInput, which says nothing of what was given."""
    from pydantic import ValidationError

    from app.api.problems import faults_of

    try:
        return shape.model_validate(said)
    except ValidationError as fault:
        raise InvalidInput(*faults_of(fault.errors(include_input=False, include_url=False))) from None


def _parted(said: str) -> tuple[str, str]:
    name, found, value = said.partition("=")
    if not found:
        raise InvalidInput(Fault("", "expected NAME=VALUE"))
    return name, value


def _value(said: str) -> str:
    """A credential: as it is, or what a file (@path) or the standard input (-) holds."""
    if said == "-":
        return sys.stdin.read().strip()
    if not said.startswith("@"):
        return said
    try:
        return Path(said[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "not UTF-8"
        raise Conflict(f"cannot read {said[1:]}: {why}") from None


def _json(said: str) -> Any:  # Any: JSON
    """What JSON says, or else the text itself."""
    try:
        return orjson.loads(said)
    except orjson.JSONDecodeError:
        return said
