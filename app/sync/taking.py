"""Records of a CRM, as they were read just now, become what their contacts are: a page at a time, in one transaction.

Safe to repeat. What holds what we know already costs no lock of a contact, and nobody a score.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from app import clock
from app.connectors.shapes import Key, Record, Value
from app.engine import contacts
from app.engine.contacts import Met
from app.engine.identity import EMAIL, ContactGone, Ref
from app.engine.transactions import committed
from app.store.db import Connection
from app.store.tables import Contact
from app.sync import holding, links, ours, outbox, reading, strangers, succession
from app.sync.hearing import Hearing
from app.sync.links import Link, State
from app.sync.mapping import FLAGS
from app.sync.reconcile import to_tell
from app.sync.shapes import Counts, Opened
from app.sync.succession import Heir

ADDRESSES = "@addresses"
"""Under this name a link's shadow keeps the record's addresses, beside its fields."""

Also: TypeAlias = Callable[[Connection], Awaitable[None]]


async def take(opened: Opened, records: Sequence[Record], counts: Counts, also: Also | None = None) -> None:
    """Let these records be heard, and run `also` in the same transaction, which is committed on return.

    Raises Fault where the CRM must be asked what a record became, and does not answer; then nothing was taken.
    """
    found = await succession.with_successors(opened, reading.distinct(records))
    known_now = {record.key: record for record in reading.distinct(found)}

    async def work(db: Connection) -> Counts:
        page = _Page(opened, known_now, clock.now())
        await page.take(db)
        if also is not None:
            await also(db)
        return page.counts

    made = await committed(opened.database, work)
    made.seen = len(records)
    for one in fields(Counts):
        setattr(counts, one.name, getattr(counts, one.name) + getattr(made, one.name))


@dataclass
class _Page:
    """What becomes of some records, in one transaction."""

    opened: Opened
    records: Mapping[Key, Record]
    """In the order in which they were modified."""
    now: datetime
    counts: Counts = field(default_factory=Counts)
    known: dict[Key, Link] = field(default_factory=dict)
    moved: dict[Key, Record] = field(default_factory=dict)
    """Those that may say something new."""
    kept: dict[Key, Link] = field(default_factory=dict)
    """Links as they are to be written."""
    met: list[Key] = field(default_factory=list)
    """Records of which nothing is to be written but that they were met."""
    unknown: list[Key] = field(default_factory=list)
    """Records that are gone, and that nobody had."""

    async def take(self, db: Connection) -> None:
        connection = self.opened.id
        became = [record.successor for record in self.records.values() if record.successor is not None]
        self.known = await links.of_records(db, connection, [*self.records, *became])
        heirs, erased = succession.heirs(self.records, self.known)
        self.kept = {key: Link(key, None, State.ERASED) for key in erased}
        for record in self.records.values():
            self._sort(record)
        aliens = await self._set_aside(db, heirs)
        if self.moved or heirs:
            await self._hear(db, heirs)
        # Links after contacts, as whoever erases a contact locks them.
        if self.kept:
            await links.keep(db, connection, list(self.kept.values()), self.now)
        if self.met:
            await links.touch(db, connection, self.met, self.now)
        await strangers.forget(db, connection, [*self.kept, *self.unknown])
        await strangers.keep(db, self.opened.plans.vault, connection, aliens)

    def _sort(self, record: Record) -> None:
        link = self.known.get(record.key)
        if record.key in self.kept or (link is not None and link.state is State.ERASED):
            return
        if link is None:
            if record.is_gone:
                self.unknown.append(record.key)
            else:
                self.moved[record.key] = record
        elif _is_older(record, link):
            self.met.append(record.key)
        elif record.is_gone and link.state is State.LIVE:
            self.counts.gone += 1
            self.kept[record.key] = Link(
                record.key, link.contact, State.GONE, {}, {}, record.modified_at or link.modified_at, link.flags_at
            )
        elif record.is_gone:
            self.met.append(record.key)
        elif link.state is State.LIVE and link.contact is not None and link.shadow == _shadow(record):
            self.counts.echoes += 1
            self.met.append(record.key)
        else:
            self.moved[record.key] = record

    async def _set_aside(self, db: Connection, heirs: Sequence[Heir]) -> dict[Key, list[str]]:
        """Those who are nobody here, where nobody is imported, and their addresses: they say nothing."""
        inherited = {heir.successor for heir in heirs}
        doubtful = {key: record for key, record in self.moved.items() if not self._is_known(key, inherited)}
        if self.opened.options.imports or not doubtful:
            return {}
        named = {key: self._ref(record).named() for key, record in doubtful.items()}
        rows = await db.fetch(
            """
            SELECT wanted.* FROM unnest($1::text[], $2::text[]) AS wanted(kind, value)
            CROSS JOIN LATERAL (
                SELECT FROM identity WHERE kind = wanted.kind AND value = wanted.value OFFSET 0
            ) i
            """,
            [kind for keys in named.values() for kind, _ in keys],
            [value for keys in named.values() for _, value in keys],
        )
        there = {(row["kind"], row["value"]) for row in rows}
        aliens = {}
        for key, keys in named.items():
            if not there.intersection(keys):
                del self.moved[key]
                aliens[key] = [value for kind, value in keys if kind == EMAIL]
        return aliens

    def _is_known(self, key: Key, inherited: set[Key]) -> bool:
        return key in inherited or (key in self.known and self.known[key].contact is not None)

    def _ref(self, record: Record) -> Ref:
        addresses = reading.addresses(record, reading.pairs(self.opened.options, record.key.object))
        return succession.ref(self.opened.id, record.key)._replace(
            email=next(iter(addresses), None), other_emails=tuple(addresses[1:])
        )

    async def _hear(self, db: Connection, heirs: Sequence[Heir]) -> None:
        opened, now = self.opened, self.now
        plan = await opened.plans.hold(db)
        await succession.inherit(db, opened.id, heirs, now)
        refs = {key: self._ref(record) for key, record in self.moved.items()}
        whom = [*refs.values(), *succession.refs(opened.id, heirs)]
        met = await contacts.meet(db, plan, whom, opened.source, now, opened.policy)
        self._expect_no_others(met, refs)
        before = {one: _said_of(row) for one, row in met.people.items()}
        met, merged = await succession.join(db, met, heirs, opened, now)
        hearing = Hearing(met, await ours.scores_of(db, met.people), opened.source, now)
        for key, record in self.moved.items():
            link = self.known.get(key) or Link(key, None, State.LIVE)
            heard = hearing.hear(refs[key], record, link, reading.pairs(opened.options, key.object))
            self.counts.conflicts += heard.conflicts
            self.counts.reversals += heard.reversals
            self.kept[key] = Link(
                key,
                met.who.contacts[refs[key]],
                State.LIVE,
                _shadow(record),
                heard.held,
                record.modified_at or link.modified_at,
                self._flags_at(record, link),
            )
        await hearing.edits.keep(db, opened.plans, opened.source, now, opened.policy)
        created = met.who.created
        self.counts.created += len(created)
        otherwise = {one for one, row in met.people.items() if one not in created and _said_of(row) != before[one]}
        self.counts.changed += len(otherwise | merged)
        await self._have_told(db, hearing)

    def _flags_at(self, record: Record, link: Link) -> datetime | None:
        # A CRM's clock may be fast: what we read just now was not said later.
        read_at = None if record.modified_at is None else min(record.modified_at, self.now)
        return max((at for at in (read_at, link.flags_at) if at is not None), default=None)

    def _expect_no_others(self, met: Met, refs: Mapping[Key, Ref]) -> None:
        """Raises ContactGone if somebody who was there when we looked was erased before they were locked: nobody is
        made in their place."""
        for key, ref in refs.items():
            is_known = key in self.known and self.known[key].contact is not None
            if met.who.contacts[ref] in met.who.created and (is_known or not self.opened.options.imports):
                raise ContactGone

    async def _have_told(self, db: Connection, hearing: Hearing) -> None:
        """Put those in the outbox whose records, as they are, say otherwise than we do."""
        urgent, others = set[UUID](), set[UUID]()
        for key in self.moved:
            link, pairs = self.kept[key], reading.pairs(self.opened.options, key.object)
            assert link.contact is not None
            telling = to_tell(pairs, link.shadow, hearing.ours(link.contact)).keys() - {*holding.parked(link.held)}
            if any(pair.here in FLAGS and pair.there in telling for pair in pairs):
                urgent.add(link.contact)
            elif telling:
                others.add(link.contact)
        await outbox.note(db, self.opened.id, urgent, outbox.FLAGS, self.now)
        await outbox.note(db, self.opened.id, others - urgent, outbox.NEWS, self.now)


def _is_older(record: Record, link: Link) -> bool:
    """Whether it is a late answer."""
    return record.modified_at is not None and link.modified_at is not None and record.modified_at < link.modified_at


def _shadow(record: Record) -> dict[str, Value]:
    return {**record.values, ADDRESSES: list(record.addresses)}


def _said_of(row: Contact) -> tuple[object, ...]:
    """What is known of a contact, but for its scores and when it was said."""
    return (
        row.email, row.name, row.stage, tuple(row.tags), row.properties, row.opted_out, row.opted_out_reason,
        row.bounced, row.bounced_at, row.bounced_reason, row.bounce_status,
    )  # fmt: skip
