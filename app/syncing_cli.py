"""The commands that show what the sync of a connection does: diff, runs, backlog, parked, pull, reconcile."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.table import Table

from app import clock, terminal
from app.connections_cli import At, Name, cli, on
from app.terminal import out

if TYPE_CHECKING:  # every command would pay for it
    from app.sync.differences import Compared, Totals
    from app.sync.forecast import Backlog
    from app.sync.parked import Parked
    from app.sync.runs import Run

_MOST = 1_000
"""Records that are listed, or differences that are shown as a table."""


@cli.command("diff")
def compare(
    name: Name, as_json: Annotated[bool, typer.Option("--json", help="A line for each record that differs.")] = False
) -> None:
    """Compare both sides, field by field; exit with 1 if they differ. Reads from the CRM, and changes nothing."""
    from app.sync import differences

    found: list[Compared] = []

    async def run(at: At) -> "Totals":
        totals = differences.Totals()
        async with at.opened() as opened:
            async with at.database.batch() as db:
                count = await differences.count(db, at.id)
            with terminal.bar("Comparing") as step:
                async for one in differences.all_of(opened):
                    totals.add([one])
                    step(totals.records, max(count, totals.records), f"{totals.different_records:,} differ")
                    if one.is_agreed:
                        continue
                    if as_json:
                        shown = one._replace(fields=one.differing)
                        print(orjson.dumps(shown.to_json(), default=str).decode())
                    elif len(found) < _MOST:
                        found.append(one)
        return totals

    totals = on(name, run)
    if found:
        out.print(_differences(found))
    if not as_json:
        reasons = ", ".join(f"{count:,} {why.value.replace('_', ' ')}" for why, count in totals.by_why.most_common())
        out.print(
            f"{totals.records:,} records with {totals.fields:,} mapped fields: "
            + (f"{totals.different_fields:,} differ ({reasons})." if totals.different_fields else "all agree."),
            markup=False,
        )
    if totals.different_records:
        raise typer.Exit(1)


@cli.command("runs")
def list_runs(
    name: Name, limit: Annotated[int, typer.Option(min=1, max=_MOST, help="The newest so many.")] = 20
) -> None:
    """Show what was done, the newest first."""
    from app.sync import runs

    async def run(at: At) -> "list[Run]":
        async with at.database.batch() as db:
            return await runs.page(db, at.id, limit=limit, before=None)

    table = Table("began", "kind", "took", "what it came to", "error")
    for one in on(name, run):
        took = "goes on" if one.ended_at is None else f"{(one.ended_at - one.began_at).total_seconds():,.1f} s"
        came_to = ", ".join(f"{count:,} {what}" for what, count in one.counts.items())
        table.add_row(f"{one.began_at:%Y-%m-%d %H:%M:%S}", one.kind, took, came_to, one.error or "")
    out.print(table)


@cli.command("backlog")
def show_backlog(name: Name) -> None:
    """Show what waits, and what is left of the budget."""
    from app.sync import forecast

    async def run(at: At) -> "Backlog":
        async with at.opened() as opened:
            return await forecast.backlog(opened)

    found = on(name, run)
    budget = found.budget
    table = Table(show_header=False)
    for what, value in (
        ("contacts that wait", f"{found.waiting:,}"),
        ("… of whom a flag waits", f"{found.flags:,}"),
        ("… who are tried again later", f"{found.delayed:,}"),
        ("the first of them waits since", f"{found.oldest:%Y-%m-%d %H:%M:%S}" if found.oldest else ""),
        ("records to read that the CRM named", f"{found.hints:,}"),
        ("records with parked fields", f"{found.parked:,}"),
        ("budget of 24 hours", f"{budget.per_day:,} {budget.unit}, {budget.reserve:,} of them for flags alone"),
        ("spent of it", f"{budget.spent_today:,}"),
        ("left by the CRM's own account", "" if budget.remaining is None else f"{budget.remaining:,}"),
        ("what waits costs", f"{found.cost:,}"),
        ("what the budget takes for it", _takes(found.drains_in_s)),
    ):
        table.add_row(what, value)
    out.print(table)


@cli.command("parked")
def list_parked(
    name: Name, retry: Annotated[bool, typer.Option("--retry", help="Try all of them again, at once.")] = False
) -> None:
    """Show what the CRM does not take as we say it."""
    from app.sync import parked

    async def run(at: At) -> "tuple[Sequence[Parked], int]":
        async with at.database.batch() as db:
            if retry:
                return [], await parked.retry(db, at.id, None, clock.now())
            return await parked.page(db, at.id, _MOST, None), 0

    found, records = on(name, run)
    if retry:
        out.print(f"{records:,} records are tried again.")
        return
    table = Table("object", "record", "field", "code", "reason", "tries", "since")
    for one in found:
        for each in one.fields:
            since = f"{each.since:%Y-%m-%d %H:%M}"
            table.add_row(one.key.object, one.key.id, each.name, each.code, each.reason, str(each.tries), since)
    out.print(table)


@cli.command("pull")
def ask_for_pull(name: Name) -> None:
    """Look for changes there now; a worker does it."""
    from app.sync import due

    async def run(at: At) -> None:
        async with at.database.batch() as db:
            await due.ask_for_pull(db, at.id, clock.now())

    on(name, run)
    out.print(f"Connection {name!r} looks for changes with the next turn of a worker.", markup=False)


@cli.command("reconcile")
def ask_for_reconcile(name: Name) -> None:
    """Compare everybody now; a worker does it."""
    from app.sync import due

    async def run(at: At) -> None:
        async with at.database.batch() as db:
            await due.ask_for_reconcile(db, at.id, clock.now())

    on(name, run)
    out.print(f"Connection {name!r} compares everybody with the next turn of a worker.", markup=False)


def _differences(found: "Sequence[Compared]") -> Table:
    table = Table("object", "record", "field", "here", "there", "right", "why")
    for one in found:
        for each in one.differing:
            names = f"{each.here} = {each.there}"
            right = "" if each.right is None else each.right.value.replace("_", " ")
            values = (_value(each.value_here), _value(each.value_there))
            table.add_row(one.key.object, one.key.id, names, *values, right, each.detail or "")
    return table


def _value(value: Any) -> str:  # Any: JSON
    return "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _takes(seconds: int | None) -> str:
    if seconds is None:
        return "for ever: nothing of it is left for what is no flag"
    days = seconds // 86_400
    return "no time" if days == 0 else f"{days:,} day{'' if days == 1 else 's'}"
