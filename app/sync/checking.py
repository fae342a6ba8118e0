"""Whether a connection can work: what the CRM lets us do, and what of our own set-up does not fit it.

A check that goes well takes what is mapped by default, where nothing is mapped yet, and lets the connection go on.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from app import clock
from app.connectors.faults import BudgetSpent, Busy, Fault, Refused, SignInRefused
from app.connectors.shapes import Account, Finding, Level
from app.store.db import Database
from app.store.vault import Sealed, Vault
from app.sync import connections, fields, given, mapping, setting_up
from app.sync.connections import CrmConnection
from app.sync.setting_up import ByHand, Described
from app.sync.shapes import Opened

Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[Opened]]

HOOK_USER = "leadtally"
"""Beside the secret, for CRMs that sign in when they call us."""
_LONG_AGO = "2000-01-01T00:00:00+00:00"
_PASSING = ("unreachable", "busy", "budget_spent")
"""What says nothing against the connection: whoever works on it tries again."""


class Hook(NamedTuple):
    """Where the CRM can call us."""

    url: str
    secret: str


def hook_of(held: CrmConnection, vault: Vault, base_url: str | None) -> Hook | None:
    """None where nobody says what our address is, or our keys do not open the secret."""
    try:
        secret = connections.hook_secret(vault, held)
    except Sealed:
        return None
    return None if base_url is None else Hook(f"{base_url.rstrip('/')}/v1/crm/{held.id}/{secret}", secret)


@dataclass
class Tested:
    """What a test found."""

    findings: list[Finding] = field(default_factory=list)
    account: Account | None = None
    by_hand: list[ByHand] | None = None
    """What has no field in the CRM yet; None if that was not looked for."""

    @property
    def is_ok(self) -> bool:
        return self.account is not None and not any(one.level is Level.ERROR for one in self.findings)


async def test(
    database: Database, opening: Opening, connection_id: UUID, *, private: bool, hook: Hook | None
) -> Tested:
    """Sign in and look; keeps whose account it is, and the first error as the connection's problem, or that there is
    none. `private`: whether CRMs may be in this network. `hook`: None if nobody can call us. Raises NotFound."""
    tested = Tested()
    async with database.hot.acquire() as db:
        held = await connections.get(db, connection_id)
    fault = None if held.base_url is None else given.address_fault(held.base_url, private=private)
    if fault is not None:
        tested.findings.append(Finding(Level.ERROR, "address_refused", f"base_url: {fault}", "give another base_url"))
    else:
        try:
            async with opening() as opened:
                opened.budget.is_urgent = True  # somebody waits
                await _look(opened, held, tested, hook)
        except Fault as refusal:
            tested.findings.append(_of_fault(refusal))
    await _keep(database, held, tested)
    return tested


async def resume(
    database: Database, opening: Opening, connection_id: UUID, *, private: bool, hook: Hook | None
) -> CrmConnection:
    """Let a connection go on. One that is new, or has nothing mapped, is tested first, and may be left with a problem.

    Raises NotFound.
    """
    async with database.hot.acquire() as db:
        held = await connections.get(db, connection_id)
    is_ok = True
    if held.account is None or not held.options.pairs:
        is_ok = (await test(database, opening, connection_id, private=private, hook=hook)).is_ok
    async with database.batch() as db:
        return await connections.resume(db, connection_id, clock.now(), forgives=is_ok)


async def _look(opened: Opened, held: CrmConnection, tested: Tested, hook: Hook | None) -> None:
    checked = await opened.connector.check()
    tested.account = checked.account
    tested.findings += checked.findings
    if tested.account is None or not tested.is_ok:
        return
    tested.findings += _of_account(tested.account, held)
    described = await setting_up.describe(opened.connector)
    tested.findings += _of_pairs(opened, described)
    waiting = _waiting(held) if opened.options.pairs else None
    suggested = await setting_up.suggested(opened, described, make=True, only=waiting)
    await setting_up.add(opened, suggested.pairs, clock.now())
    tested.by_hand = list(suggested.by_hand)
    tested.findings += [_of_recipe(one.pair.object, one.pair.here, one.made.recipe) for one in tested.by_hand]
    tested.findings += await _of_scores(opened)
    tested.findings += await _subscribed(opened, hook)


async def _keep(database: Database, held: CrmConnection, tested: Tested) -> None:
    lasting = [one for one in tested.findings if one.level is Level.ERROR and one.code not in _PASSING]
    async with database.batch() as db:
        if tested.account is not None:
            waiting = _waiting(held)
            if tested.by_hand is not None:
                waiting = [(one.pair.object, one.pair.here) for one in tested.by_hand]
            account: dict[str, Any] = {**tested.account._asdict(), "by_hand": waiting}  # Any: JSON
            await db.execute("UPDATE connection SET account = $2 WHERE id = $1", held.id, account)
        if tested.is_ok:
            await db.execute("UPDATE connection SET problem = NULL WHERE id = $1", held.id)
        elif lasting:
            first = lasting[0]
            await connections.note_problem(db, held.id, first.code, first.what, first.mend, clock.now())


# --- findings of our own ----------------------------------------------------------------------------------------------


def _of_fault(fault: Fault) -> Finding:
    match fault:
        case SignInRefused():
            return Finding(Level.ERROR, fault.code, fault.what, fault.mend)
        case Refused():
            return Finding(Level.ERROR, fault.code, fault.reason, "see what our user may do in the CRM")
        case BudgetSpent():
            return Finding(
                Level.ERROR, "budget_spent", str(fault), f"wait until {fault.until:%Y-%m-%d %H:%M} UTC, or raise it"
            )
        case Busy():
            return Finding(Level.ERROR, "busy", str(fault), f"wait until {fault.until:%Y-%m-%d %H:%M} UTC")
    return Finding(
        Level.ERROR, "unreachable", str(fault), "see that the address is right and the CRM is up, and try again"
    )


def _of_account(account: Account, held: CrmConnection) -> list[Finding]:
    before = None if held.account is None else held.account["organisation"]
    if before is None or before == account.organisation:
        return []
    return [
        Finding(
            Level.WARNING,
            "another_account",
            f"this is the account of {account.organisation!r}; it was that of {before!r}",
            "if it is another one, make a connection of its own for it: what is known of records belongs to the former",
        )
    ]


def _of_pairs(opened: Opened, described: Described) -> list[Finding]:
    found = []
    for pair in opened.options.pairs:
        known = next((one for one in described.get(pair.object, ()) if one.name == pair.there), None)
        fault = mapping.fault_of(pair, known)
        if fault is None:
            continue
        if known is None:
            code, mend = "field_missing", "let our user see it, or map another field"
        elif pair.goes_out and not known.is_writable:
            code, mend = "field_read_only", "let our user edit it, or let it flow in only"
        else:
            code, mend = "field_unfit", "map it otherwise"
        found.append(Finding(Level.WARNING, code, f"{pair.object}, {pair.here}: {fault}", mend))
    return found


async def _of_scores(opened: Opened) -> list[Finding]:
    """Of scores and bands that have no field yet. Whoever made one by hand need not wait for it to be found."""
    async with opened.database.batch() as db:
        await db.execute(
            """
            UPDATE connection SET recipes = coalesce(
                (SELECT jsonb_agg(one || jsonb_build_object('asked', $2::text)) FROM jsonb_array_elements(recipes) one),
                '[]'
            ) WHERE id = $1
            """,
            opened.id,
            _LONG_AGO,
        )
    await fields.ensure(opened)
    async with opened.database.hot.acquire() as db:
        recipes = await db.fetchval("SELECT recipes FROM connection WHERE id = $1", opened.id)
    return [_of_recipe(one["object"], one["here"], one["recipe"]) for one in recipes or ()]


def _of_recipe(object_: str, here: str, recipe: str | None) -> Finding:
    return Finding(
        Level.WARNING,
        "field_by_hand",
        f"{object_} has no field for {here!r} that we could write",
        recipe or "make one by hand, and test again",
    )


def _waiting(held: CrmConnection) -> Sequence[tuple[str, str]]:
    """What was to be mapped and had no field there: object and name here."""
    return [(one[0], one[1]) for one in (held.account or {}).get("by_hand", ())]


async def _subscribed(opened: Opened, hook: Hook | None) -> list[Finding]:
    told = f"changes are looked for every {opened.options.pull_every_s} seconds; the CRM could tell us at once"
    if hook is None:
        return [Finding(Level.NOTE, "no_public_url", told, "set LEADTALLY_PUBLIC_URL to where it can call us")]
    try:
        recipe = await opened.connector.subscribe(hook.url, HOOK_USER, hook.secret)
    except Refused as fault:
        recipe = f"let our user set it up, for now it may not: {fault.reason}"
    return [] if recipe is None else [Finding(Level.NOTE, "hook_by_hand", told, recipe)]
