"""Contacts without a record: known there as strangers, found there, or made there if the operator wants that.

Before anything is made, all changes are pulled and the addresses are looked for. So a record that was made before a
crash, or whose answer was lost, is found and not made again. Whoever may not be mailed is made all the same, with the
flags that say so. Whose record was deleted there has a link that says so, and is never made again.
"""

from asyncio import Event
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog

from app import clock
from app.connectors.shapes import End, Key, NewPerson, Outcome, Record, Value
from app.engine import identity
from app.engine.identity import record_kind
from app.engine.transactions import committed
from app.store.db import Connection
from app.sync import holding, links, outbox, pull, reading, strangers, taking
from app.sync.links import Link, State
from app.sync.mapping import EMAIL, FLAGS, NAME, to_there
from app.sync.outbox import Row
from app.sync.reconcile import Ours
from app.sync.shapes import Counts, Opened

_log = structlog.get_logger()


@dataclass
class Met:
    """What became of contacts without a record. Who is in neither has one by now, and is told like anybody else."""

    done: list[Row] = field(default_factory=list)
    """The connection has nothing to do with them."""
    later: dict[Row, datetime] = field(default_factory=dict)
    """They could not be made, and are tried again then."""


class _Newcomer(NamedTuple):
    """Somebody to make."""

    row: Row
    email: str
    ours: Ours


class Creating:
    """Meets contacts without a record, for one drain."""

    def __init__(self, counts: Counts, stop: Event) -> None:
        self._counts = counts
        self._stop = stop
        self._has_pulled = False

    async def meet(self, opened: Opened, rows: Sequence[Row], ours: Mapping[UUID, Ours]) -> Met:
        """Find or make records for contacts that never had one here. Raises Fault; what was found or made stays so."""
        left = await self._take_strangers(opened, [row for row in rows if row.contact in ours])
        new = [_Newcomer(row, email, ours[row.contact]) for row in left if (email := ours[row.contact].values[EMAIL])]
        if not opened.options.creates:
            new = []
        met = Met(done=[row for row in rows if row.contact not in ours])
        met.done += {*left} - {one.row for one in new}
        if new and await self._pull(opened):
            await self._make(opened, await self._not_there(opened, new, met), met)
        return met

    async def _pull(self, opened: Opened) -> bool:
        """Hear all that the CRM has to say, once for all; False if there was no time for it."""
        if not self._has_pulled:
            await pull.pull(opened, self._counts, self._stop)
            self._has_pulled = not self._stop.is_set()
        return self._has_pulled

    async def _take_strangers(self, opened: Opened, rows: Sequence[Row]) -> list[Row]:
        """Take the records that were nobody's and may be theirs; returns who still has none."""
        async with opened.database.batch() as db:
            addresses = await _addresses(db, [row.contact for row in rows])
            everyone = {one for known in addresses.values() for one in known}
            found = await strangers.of(db, opened.plans.vault, opened.id, everyone)
        if not found:
            return list(rows)
        keys = {key for known in found.values() for key in known}
        await taking.take(opened, await reading.fetch(opened, keys), self._counts)
        return await _unlinked(opened, rows)

    async def _not_there(self, opened: Opened, people: Sequence[_Newcomer], met: Met) -> list[_Newcomer]:
        """Those whom the CRM knows by none of their addresses."""
        unlinked = await _unlinked(opened, [one.row for one in people])
        async with opened.database.batch() as db:
            addresses = await _addresses(db, [row.contact for row in unlinked])
        known = await self._find(opened, {one for mine in addresses.values() for one in mine})
        unlinked = await _unlinked(opened, unlinked)
        # An address that a record of somebody else has, too: a second record of it would be a duplicate there.
        apart = {row for row in unlinked if not known & set(addresses[row.contact])}
        # Whose address is another by now has changed, and so stays in the outbox to be read again.
        new = [one for one in people if one.row in apart and one.email in addresses[one.row.contact]]
        met.done += {*unlinked} - {one.row for one in new}
        return new

    async def _find(self, opened: Opened, addresses: Collection[str]) -> set[str]:
        """Take whoever has one of these addresses; returns those that somebody has."""
        records = list[Record]()
        for object_ in opened.connector.objects if addresses else ():
            names = reading.fields(opened.options, object_)
            records += await opened.connector.find(object_, sorted(addresses), names)
        if records:
            await taking.take(opened, records, self._counts)
        return {
            address
            for record in records
            for address in reading.addresses(record, reading.pairs(opened.options, record.key.object))
        }

    async def _make(self, opened: Opened, people: Sequence[_Newcomer], met: Met) -> None:
        size = opened.connector.batch
        for start in range(0, len(people), size):
            some = people[start : start + size]
            whole = [_new(opened, one, is_whole=True) for one in some]
            outcomes = await self._create(opened, whole)
            # Without what may be refused of them: flags go out in any case, and the rest is told as to anybody.
            bare = {
                at: new
                for at, one in enumerate(some)
                if outcomes[at].end is End.REFUSED and (new := _new(opened, one, is_whole=False)) != whole[at]
            }
            if bare:
                for at, outcome in zip(bare, await self._create(opened, list(bare.values())), strict=True):
                    outcomes[at] = outcome
            for one, outcome in zip(some, outcomes, strict=True):
                if outcome.end is not End.DONE or outcome.id is None:
                    met.later[one.row] = self._put_off(one, outcome, opened)

    async def _create(self, opened: Opened, people: Sequence[NewPerson]) -> list[Outcome]:
        """Create records, and link at once those that were made."""
        began = clock.now()
        outcomes = list(await opened.connector.create(people))
        made = [
            (new, outcome)
            for new, outcome in zip(people, outcomes, strict=True)
            if outcome.end is End.DONE and outcome.id is not None
        ]
        if made:
            await committed(opened.database, lambda db: _link(db, opened, made, began))
            self._counts.created += len(made)
        return outcomes

    def _put_off(self, one: _Newcomer, outcome: Outcome, opened: Opened) -> datetime:
        is_busy = outcome.end is End.AGAIN
        pause = holding.wait(holding.Why.BUSY if is_busy else holding.Why.REFUSED, one.row.tries + 1)
        if not is_busy:
            self._counts.refused += 1
            _log.warning(
                "a record could not be made",
                connection=str(opened.id),
                contact=str(one.row.contact),
                code=outcome.code,
                reason=outcome.reason,
            )
        return outbox.PARKED if pause is None else clock.now() + pause


def _new(opened: Opened, one: _Newcomer, *, is_whole: bool) -> NewPerson:
    """With all that goes out and is not empty; else with the flags alone."""
    object_ = opened.options.create_object or opened.connector.objects[0]
    values: dict[str, Value] = {
        pair.there: value
        for pair in reading.pairs(opened.options, object_)
        if pair.goes_out
        and (is_whole or pair.here in FLAGS)
        and (value := to_there(pair, one.ours.values.get(pair.here))) not in (None, "", [])
    }
    return NewPerson(object_, one.email, one.ours.values[NAME], values)


async def _link(db: Connection, opened: Opened, made: Sequence[tuple[NewPerson, Outcome]], began: datetime) -> None:
    """Let the new records be of whoever has their addresses: who was merged meanwhile is another's part by now."""
    holders = {
        row["value"]: (row["contact_id"], row["origin"])
        for row in await db.fetch(
            """
            SELECT i.value, i.contact_id, i.origin FROM unnest($1::text[]) AS wanted(value) CROSS JOIN LATERAL (
                SELECT value, contact_id, origin FROM identity WHERE kind = 'email' AND value = wanted.value OFFSET 0
            ) i
            """,
            [new.email for new, _ in made],
        )
    }
    claims = sorted(
        (record_kind(opened.id, new.object), outcome.id, *holders[new.email])
        for new, outcome in made
        if new.email in holders and outcome.id is not None
    )
    await db.execute(
        """
        INSERT INTO identity (kind, value, contact_id, origin, since)
        SELECT claim.*, $5 FROM unnest($1::text[], $2::text[], $3::uuid[], $4::uuid[])
            AS claim(kind, value, contact_id, origin)
        ORDER BY kind, value ON CONFLICT DO NOTHING
        """,
        *([claim[place] for claim in claims] for place in range(4)),
        began,
    )
    await identity.lock(db, {contact for _, _, contact, _ in claims})
    await links.keep(
        db, opened.id, [_new_link(new, outcome, new.email in holders, began) for new, outcome in made], began
    )


def _new_link(new: NewPerson, outcome: Outcome, is_anybodys: bool, began: datetime) -> Link:
    """Of whom was erased meanwhile it is left alone."""
    assert outcome.id is not None
    key = Key(new.object, outcome.id)
    if not is_anybodys:
        return Link(key, None, State.ERASED)
    shadow = {**new.values, **(outcome.kept or {})}
    return Link(key, None, State.LIVE, shadow, {}, outcome.modified_at, began)


async def _unlinked(opened: Opened, rows: Iterable[Row]) -> list[Row]:
    """Those of whom no record is known, not even one that is gone."""
    wanted = list(rows)
    async with opened.database.batch() as db:
        known = await links.of_contacts(db, opened.id, [row.contact for row in wanted])
    return [row for row in wanted if row.contact not in known]


async def _addresses(db: Connection, contacts: Collection[UUID]) -> dict[UUID, list[str]]:
    """All addresses of each."""
    found: dict[UUID, list[str]] = {contact: [] for contact in contacts}
    rows = await db.fetch(
        """
        SELECT wanted.id, i.value FROM unnest($1::uuid[]) AS wanted(id) CROSS JOIN LATERAL (
            SELECT value FROM identity WHERE contact_id = wanted.id AND kind = 'email' OFFSET 0
        ) i
        """,
        list(contacts),
    )
    for contact, address in rows:
        found[contact].append(address)
    return found
