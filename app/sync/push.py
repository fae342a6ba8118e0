"""What a CRM has yet to be told of contacts: written as they are now, most important first, in its own bulk calls.

At least once: a row leaves the outbox only after its writes were answered, and only if its contact has not changed
since it was read. Whatever was written and not noted is written again, which changes nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar
from uuid import UUID

from app import clock
from app.connectors import faults
from app.connectors.shapes import End, Key, Value, Write
from app.engine.transactions import committed
from app.store.db import Connection
from app.sync import fields, holding, links, ours, outbox, reading, taking, writing
from app.sync.budget import forecast
from app.sync.creating import Creating
from app.sync.links import Link
from app.sync.outbox import Row
from app.sync.reconcile import Ours
from app.sync.shapes import Counts, Opened
from app.sync.writing import Told

T = TypeVar("T")

_AT_ONCE = 500
"""Contacts that are read, or noted in one transaction: many at once would keep all else in this process waiting, and
whoever changes one of them."""
_PAUSE_S = 0.1
"""While others change those whose turn it is."""
_MUCH = 10
"""Batches; when more wait, they go in bulk."""
_DESCRIBED_AGAIN = timedelta(minutes=5)
"""Connectors remember for so long what a CRM describes."""


async def drain(opened: Opened, counts: Counts, stop: asyncio.Event, most: int | None = None) -> bool:
    """Tell the CRM what waits until nothing is due, `most` contacts were met, or `stop` is set.

    Returns whether more waits. Raises Fault; what was learnt until then is kept.
    """
    work, met = _Drain(opened, counts, stop), 0
    try:
        while not stop.is_set() and (most is None or met < most):
            rows = await work.step(None if most is None else most - met)
            if work.spent is not None and not any(row.priority == outbox.FLAGS for row in rows):
                raise work.spent
            if not rows:
                return False
            met += len(rows)
            await opened.budget.save(opened.database)
    finally:
        await opened.budget.save(opened.database)
    async with opened.database.batch() as db:
        return bool(await outbox.due(db, opened.id, 1, clock.now()))


# --- beforehand -------------------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """A field that would be written, by the CRM's name."""

    field: str
    there: Value
    """As the CRM last held it to our knowledge; None where it is not known."""
    here: Value


class Planned(NamedTuple):
    key: Key
    contact: UUID
    fields: Sequence[Difference]


class Rehearsal(NamedTuple):
    """What a drain would do now."""

    writes: Sequence[Planned]
    """Of the first contacts, in their order."""
    unknown: int
    """How many of these have no record there: they would be looked for, and made if that is wanted."""
    waiting: int
    """Contacts in all; counted as far as `outbox.COUNTED`."""
    cost: int
    """Of all of them, at best, if those that were looked at stand for the others; in the CRM's unit."""
    lasts: timedelta | None
    """How long the budget takes for that, beside its reserve; None: for ever."""


async def rehearse(opened: Opened, most: int) -> Rehearsal:
    """What would be written for the first `most` contacts that are due. Writes nothing, and calls nobody."""
    now = clock.now()
    async with opened.database.batch() as db:
        batch = await _read(db, opened, most, now)
        waiting = (await outbox.backlog(db, opened.id)).waiting
    writes = [
        Planned(
            link.key,
            row.contact,
            tuple(Difference(name, link.shadow.get(name), value) for name, value in write.values.items()),
        )
        for row in batch.rows
        for link, write in batch.writes(opened, row, now)
    ]
    unknown = sum(row.contact not in batch.links for row in batch.rows)
    all_writes = -(-len(writes) * waiting // max(len(batch.rows), 1))
    cost = opened.connector.cost(all_writes) if all_writes else 0
    lasts = forecast(opened.budget.for_all, opened.budget.spent_today, cost)
    return Rehearsal(writes, unknown, waiting, cost, lasts)


# --- a batch ----------------------------------------------------------------------------------------------------------


class _Batch(NamedTuple):
    """Contacts whose turn it is, and what is known of them; those without any record are in no `links`."""

    rows: Sequence[Row]
    links: Mapping[UUID, Sequence[Link]]
    ours: Mapping[UUID, Ours]

    def writes(self, opened: Opened, row: Row, now: datetime) -> list[tuple[Link, Write]]:
        """One for each record of a contact that is to be told something now."""
        found: list[tuple[Link, Write]] = []
        if (said := self.ours.get(row.contact)) is None:
            return found
        for link in self.links.get(row.contact, ()):
            write = writing.compose(reading.pairs(opened.options, link.key.object), link, said, now)
            if write is not None:
                found.append((link, write))
        return found


async def _read(db: Connection, opened: Opened, most: int, now: datetime) -> _Batch:
    """In the order that matters: a row's version is older than what is read of its contact."""
    plan = await opened.plans.hold(db)
    rows = await outbox.due(db, opened.id, most, now)
    people = [row.contact for row in rows]
    known: dict[UUID, list[Link]] = {}
    said: dict[UUID, Ours] = {}
    for some in _parts(people):
        known |= await links.of_contacts(db, opened.id, some)
        said |= await ours.load(db, plan, some)
    return _Batch(rows, known, said)


class _Item(NamedTuple):
    """A write, and whose."""

    row: Row
    write: Write
    is_urgent: bool


class _Drain:
    """One drain at work. `_opened` has the options as they are by now."""

    def __init__(self, opened: Opened, counts: Counts, stop: asyncio.Event) -> None:
        self._opened = opened
        self._counts = counts
        self._stop = stop
        self._creating = Creating(counts, stop)
        self._described: dict[str, datetime] = {}
        self._asked: set[tuple[str, str]] | None = None
        """Scores that were found to have no field."""
        self.spent: faults.BudgetSpent | None = None
        """Once it is, nothing but flags is told."""

    async def step(self, limit: int | None) -> Sequence[Row]:
        """Meet some contacts, most important first; returns them, nobody if none is due. Raises Fault."""
        opened, now = self._opened, clock.now()
        async with opened.database.batch() as db:
            connector = opened.connector
            is_much = await outbox.is_longer(db, opened.id, min(connector.bulk, _MUCH * connector.batch))
            size = connector.bulk if is_much else connector.batch
            batch = await _read(db, opened, size if limit is None else min(size, limit), now)
        if not batch.rows:
            return []
        short = await self._have_fields(batch)
        urgent, others, idle, unknown = list[_Item](), list[_Item](), list[Row](), list[Row]()
        settled = 0
        for some in _parts(batch.rows):
            for row in some:
                items = self._items(batch, row, now)
                (urgent if any(one.is_urgent for one in items) else others).extend(items)
                if row.contact not in batch.links:
                    unknown.append(row)
                elif not items and row.contact not in short:
                    idle.append(row)
            settled += await self._keep(batch, idle, [])
            idle.clear()
        settled += await self._tell(batch, urgent, is_urgent=True)
        try:
            if self.spent is None:
                settled += await self._tell(batch, others, is_urgent=False)
                settled += await self._meet(batch, unknown)
        except faults.BudgetSpent as fault:
            self.spent = fault
        if self.spent is not None:
            # Nobody without a flag to be told stands before those who have one.
            flagged = {one.row for one in urgent}
            waiting = {one.row for one in others} | {row for row in batch.rows if row.contact in short} - flagged
            async with opened.database.batch() as db:
                settled += await outbox.demote(db, opened.id, [*waiting, *unknown])
        if not settled:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _PAUSE_S)
        return batch.rows

    async def _have_fields(self, batch: _Batch) -> set[UUID]:
        """Let scores that have no field yet get one, now that somebody has such a score; returns whose scores still
        have none because the budget is spent, for which flags do not wait."""
        options = self._opened.options
        lacking: set[tuple[str, str]] = set()
        short: set[UUID] = set()
        for contact, known in batch.links.items():
            if (said := batch.ours.get(contact)) is not None:
                for object_ in {link.key.object for link in known if link.state is links.State.LIVE}:
                    if missing := fields.lacking(options, object_, said.values):
                        lacking |= missing
                        short.add(contact)
        if self.spent is not None:
            return short
        if self._asked is None or lacking - self._asked:
            self._asked = (self._asked or set()) | lacking
            try:
                self._opened = self._opened._replace(options=await fields.ensure(self._opened, lacking))
            except faults.BudgetSpent as fault:
                self.spent = fault
                return short
        return set()

    def _items(self, batch: _Batch, row: Row, now: datetime) -> list[_Item]:
        found = []
        for link, write in batch.writes(self._opened, row, now):
            pairs = reading.pairs(self._opened.options, link.key.object)
            found.append(_Item(row, write, writing.has_flag(pairs, write.values)))
        return found

    # --- telling ------------------------------------------------------------------------------------------------------

    async def _tell(self, batch: _Batch, items: Sequence[_Item], *, is_urgent: bool) -> int:
        """Write these, in calls of a fitting size, and note after each what came of it; returns how many came to
        something."""
        connector, budget = self._opened.connector, self._opened.budget
        size = connector.bulk if 2 * len(items) > connector.bulk else connector.batch
        settled = 0
        for start in range(0, len(items), size):
            if self._stop.is_set() and start:
                break
            some = items[start : start + size]
            began = clock.now()
            budget.is_urgent = is_urgent
            try:
                outcomes = await connector.write([one.write for one in some])
            except faults.Refused:
                # A field that is no more may make a CRM refuse the whole call.
                if not await self._mend(one.write.key.object for one in some):
                    raise
                return settled + 1
            finally:
                budget.is_urgent = False
            answered = clock.now()
            told = [
                (one.row, Told(one.write, outcome, batch.ours[one.row.contact], began, answered))
                for one, outcome in zip(some, outcomes, strict=True)
            ]
            for part in _parts(told):
                await self._keep(batch, list(dict.fromkeys(row for row, _ in part)), [one for _, one in part])
            self._counts.written += sum(outcome.end is End.DONE for outcome in outcomes)
            self._counts.refused += sum(outcome.end is End.REFUSED for outcome in outcomes)
            await self._follow(batch, told)
            settled += len(told)
        return settled

    async def _keep(self, batch: _Batch, rows: Sequence[Row], told: Sequence[Told]) -> int:
        """Note what became of writes, and let rows go whose contacts' records know all; returns how many were settled.

        A fault on the way leaves the rows as they are.
        """
        if not rows:
            return 0
        opened, answered = self._opened, {one.write.key for one in told}

        async def work(db: Connection) -> int:
            now = clock.now()
            known = await _locked(db, opened.id, [one.write.key for one in told])
            for one in told:
                link = known.get(one.write.key)
                if link is not None and link.state is links.State.LIVE:
                    writing.learn(reading.pairs(opened.options, link.key.object), link, one)
            await links.keep(db, opened.id, list(known.values()), now)
            by_now = {
                row: [known.get(one.key) if one.key in answered else one for one in batch.links[row.contact]]
                for row in rows
            }
            done, later = self._ends(batch, by_now, now)
            return await outbox.settle(db, opened.id, done, later)

        return await committed(opened.database, work)

    def _ends(
        self, batch: _Batch, by_now: Mapping[Row, Sequence[Link | None]], now: datetime
    ) -> tuple[list[Row], dict[Row, datetime]]:
        """Who is told all that may be told, and who is to be tried again, and when. Who is in neither is due."""
        done: list[Row] = []
        later: dict[Row, datetime] = {}
        for row, known in by_now.items():
            said, waits, is_due = batch.ours.get(row.contact), list[datetime](), False
            for link in known:
                if link is None or said is None:
                    continue
                rest = writing.rest(reading.pairs(self._opened.options, link.key.object), link, said)
                is_due |= any(holding.is_free(link.held, name, now) for name in rest)
                if (at := holding.next_try(link.held, rest)) is not None:
                    waits.append(at)
            if not is_due and waits:
                later[row] = min(waits)
            elif not is_due:
                done.append(row)
        return done, later

    async def _follow(self, batch: _Batch, told: Sequence[tuple[Row, Told]]) -> None:
        """Read records that are said to be gone; and look whether what was refused is there to be written at all."""
        gone = [(row, one) for row, one in told if one.outcome.end is End.GONE]
        if gone:
            records = await reading.fetch(self._opened, [one.write.key for _, one in gone])
            # What was asked for just now is no late answer, whenever it was modified.
            now_gone = [one._replace(modified_at=None) if one.is_gone else one for one in records]
            await taking.take(self._opened, now_gone, self._counts)
            # Should one be there all the same, it is not to be written for ever.
            refused = [
                one._replace(outcome=one.outcome._replace(end=End.REFUSED, fields=tuple(one.write.values)))
                for _, one in gone
            ]
            await self._keep(batch, list(dict.fromkeys(row for row, _ in gone)), refused)
        await self._mend(one.write.key.object for _, one in told if one.outcome.end is End.REFUSED)

    async def _mend(self, refused: Iterable[str]) -> bool:
        """Leave out what objects have no field for any more, or have it made anew; says whether there was any such."""
        now, before = clock.now(), self._opened.options.pairs
        unsure = {one for one in refused if self._described.get(one, now - _DESCRIBED_AGAIN) <= now - _DESCRIBED_AGAIN}
        if not unsure:
            return False
        self._described |= dict.fromkeys(unsure, now)
        options = await fields.mend(self._opened, unsure)
        is_broken = options.pairs != before
        if is_broken:
            options = await fields.ensure(self._opened)
        self._opened = self._opened._replace(options=options)
        return is_broken

    # --- who has no record --------------------------------------------------------------------------------------------

    async def _meet(self, batch: _Batch, rows: Sequence[Row]) -> int:
        if not rows:
            return 0
        met = await self._creating.meet(self._opened, rows, batch.ours)
        await committed(self._opened.database, lambda db: outbox.settle(db, self._opened.id, met.done, met.later))
        return len(rows)


def _parts(many: Sequence[T]) -> Iterator[Sequence[T]]:
    return (many[start : start + _AT_ONCE] for start in range(0, len(many), _AT_ONCE))


async def _locked(db: Connection, connection: UUID, keys: Sequence[Key]) -> dict[Key, Link]:
    """These links as they are by now, until the transaction ends: whoever asks for a retry may have changed them."""
    if not keys:
        return {}
    wanted = sorted(keys)
    await db.fetch(
        """
        SELECT l.record FROM unnest($2::text[], $3::text[]) AS wanted(object, record) CROSS JOIN LATERAL (
            SELECT record FROM link WHERE connection_id = $1 AND object = wanted.object AND record = wanted.record
            OFFSET 0 FOR NO KEY UPDATE
        ) l
        """,
        connection,
        [key.object for key in wanted],
        [key.id for key in wanted],
    )
    return await links.of_records(db, connection, wanted)
