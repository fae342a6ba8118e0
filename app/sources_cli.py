"""The commands for sources: create, list, rotate, enable, disable, delete, replay."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from rich.table import Table

from app import clock, terminal
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.outbound import Outbound
from app.settings import Settings
from app.sources import inbox, registry
from app.sources.draining import Gain, Reader
from app.sources.inbox import Choice, Unread
from app.sources.kinds import Entry, kind
from app.sources.registry import Source
from app.store.db import Connection, Database
from app.terminal import err, out

T = TypeVar("T")

cli = typer.Typer(no_args_is_help=True, help="Sources of events: e-mail providers, SDKs, CloudEvents.")

Name = Annotated[str, typer.Argument(help="The source's name.")]


@cli.command("list")
def list_sources() -> None:
    """Show all sources and how they are doing."""

    async def run(db: Connection) -> tuple[Sequence[Source], dict[UUID, Unread]]:
        found = await registry.page(db, limit=1_000, after=None)
        return found, await inbox.unread(db, [one.id for one in found])

    found, waiting = _in_transaction(run)
    table = Table(
        "name", "kind", "state", "received", "unread", "accepted", "duplicates", "rejected", "refused", "seen"
    )
    for one in found:
        unread = waiting[one.id]
        counts = (one.received + unread.calls, unread.calls, one.accepted, one.duplicates, one.rejected, one.refused)
        seen = unread.last_at or one.last_seen_at
        table.add_row(
            one.name,
            one.kind,
            _state(one),
            *(f"{count:,}" for count in counts),
            f"{seen:%Y-%m-%d %H:%M}" if seen else "",
        )
    out.print(table)
    for one in found:
        if one.refused_because:
            err.print(f"{one.name} was last refused at {one.refused_at:%Y-%m-%d %H:%M}: {one.refused_because}")


@cli.command("create")
def create_source(
    kind_: Annotated[str, typer.Argument(metavar="KIND", help="As sendgrid, segment; a wrong one lists them all.")],
    name: Annotated[str, typer.Argument(help="For ever: events carry it as their source.")],
    verify: Annotated[bool, typer.Option(help="Turn away what its signature does not vouch for.")] = True,
    secret: Annotated[str | None, typer.Option(help="What the provider signs with; - asks for it.")] = None,
) -> None:
    """Make a source and show its URL, or its write key, once."""
    settings = terminal.settings()
    kept = _asked(secret)

    async def run(db: Connection) -> tuple[Source, str | None]:
        return await registry.create(
            db, terminal.sealer(settings), kind_, name, verify=verify, secret=kept, now=clock.now()
        )

    made, key = _in_transaction(run, settings)
    _tell(made, key, settings)


@cli.command("rotate")
def rotate_source(
    name: Name,
    secret: Annotated[str | None, typer.Option(help="The new one; - asks for it.")] = None,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="End the present one at once.")] = False,
) -> None:
    """Give a source another secret or write key; the present one holds until the next rotation."""
    settings = terminal.settings()
    kept = _asked(secret)

    async def run(db: Connection) -> tuple[Source, str | None]:
        source = await registry.named(db, name)
        return await registry.rotate(db, terminal.sealer(settings), source.id, kept, keep_old=not drop_old)

    changed, key = _in_transaction(run, settings)
    _tell(changed, key, settings)


@cli.command("enable")
def enable_source(name: Name) -> None:
    """Let a source send again."""
    _switch(name, enabled=True)
    out.print(f"Source {name!r} may send.", markup=False)


@cli.command("disable")
def disable_source(name: Name) -> None:
    """Turn a source's calls away, within a second."""
    _switch(name, enabled=False)
    out.print(f"Source {name!r} is switched off; what it sent before is still read.", markup=False)


@cli.command("delete")
def delete_source(name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove a source and what it sent raw. Its events stay."""
    if not yes:
        typer.confirm(f"Delete the source {name!r}?", abort=True)

    async def run(db: Connection) -> None:
        await registry.delete(db, (await registry.named(db, name)).id)

    _in_transaction(run)
    out.print(f"Source {name!r} is deleted.", markup=False)


@cli.command("replay")
def replay(
    source: Annotated[str | None, typer.Option(help="The source's name; all, if none.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Only what came since then (UTC).", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    ] = None,
    only_faulty: Annotated[bool, typer.Option("--only-faulty", help="Only what something of was rejected.")] = False,
) -> None:
    """Read again what is kept raw, as after an update that reads more. Known events stay as they are."""
    settings = terminal.settings()

    async def run(database: Database) -> Gain:
        async with database.batch() as db:
            source_id = None if source is None else (await registry.named(db, source)).id
            choice = Choice(source_id, None if since is None else since.replace(tzinfo=UTC), only_faulty)
            total = await inbox.count(db, choice)
        policy = SoftPolicy(settings.soft_bounce_limit, settings.soft_bounce_days)
        gained = Gain()
        with terminal.bar("Reading again") as step:
            async for _, gain in Reader(database, Plans(terminal.sealer(settings)), policy, Outbound().fetch).replay(
                choice
            ):
                gained.add(gain)
                step(gained.calls, total, f"{gained.accepted:,} new events")
        return gained

    gained = terminal.with_database(settings, run, migrated=True)
    out.print(f"{gained.calls:,} calls were read again: {gained.accepted:,} new events, {gained.rejected:,} rejected.")


def _in_transaction(run: Callable[[Connection], Awaitable[T]], settings: Settings | None = None) -> T:
    async def go(database: Database) -> T:
        async with database.batch() as db:
            return await run(db)

    return terminal.with_database(settings or terminal.settings(), go, migrated=True)


def _switch(name: str, *, enabled: bool) -> None:
    async def run(db: Connection) -> None:
        await registry.switch(db, (await registry.named(db, name)).id, enabled=enabled)

    _in_transaction(run)


def _asked(secret: str | None) -> str | None:
    """A secret given as `-` is asked for, so that it is in no shell's history."""
    if secret != "-":  # noqa: S105 - not a secret
        return secret
    asked: str = typer.prompt("Secret", hide_input=True)
    return asked


def _state(one: Source) -> str:
    state = "on" if one.enabled else "off"
    return state if one.verify or kind(one.kind).entry is Entry.WRITE_KEY else f"{state}, not verified"


def _tell(source: Source, key: str | None, settings: Settings) -> None:
    if key is not None:
        err.print(f"Write key of {source.name!r}, shown this once:", markup=False)
        print(key)
        return
    base = settings.public_url or f"http://{settings.host}:{settings.port}"
    err.print(f"{kind(source.kind).title} calls this address:", markup=False)
    print(f"{base.rstrip('/')}/v1/webhooks/{source.id}")
