"""Records that became others, by a merge or a conversion in the CRM: whoever had the one has the other.

A record that nobody had is its predecessor's contact's from then on, whatever its addresses say. Where both had a
contact, these are one person, and become one here too.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.connectors.shapes import Key, Record
from app.engine import ingest, joining
from app.engine.contacts import Met
from app.engine.identity import Join, Ref, Tie, record_kind
from app.engine.scoring import Cause
from app.store.db import Connection
from app.sync import links, reading
from app.sync.links import Link, State
from app.sync.shapes import Opened

_LONGEST = 10
"""Steps of a chain that are followed: more than anybody merges one after the other between two looks."""


class Heir(NamedTuple):
    """Whose a record was that became another."""

    loser: Key
    contact: UUID
    successor: Key
    """The end of the chain, as far as it is there."""
    is_new: bool
    """Whether nobody has it yet."""


async def with_successors(opened: Opened, records: Sequence[Record]) -> list[Record]:
    """These records, and what those that we know became, so far as it must be read to know who that is.

    Raises Fault.
    """
    found = {record.key: record for record in records}
    for _ in range(_LONGEST):
        became = {record.key: record.successor for record in found.values() if record.is_gone and record.successor}
        wanted = {*became.values()} - found.keys()
        if not wanted:
            break
        async with opened.database.batch() as db:
            known = await links.of_records(db, opened.id, [*became, *wanted])
        # One that is live to our knowledge needs no reading: should it be gone as well, its own change will say so.
        ours = _ours(became, known)
        unknown = [key for key in wanted if key in ours and (key not in known or known[key].state is State.GONE)]
        read = {record.key: record for record in await reading.fetch(opened, unknown)}
        if not read.keys() - found.keys():
            break
        found |= {key: record for key, record in read.items() if key not in found}
    return list(found.values())


def _ours(became: Mapping[Key, Key], known: Mapping[Key, Link]) -> set[Key]:
    """Whatever records that we know became, over any number of steps."""
    reached = {key for key in became if key in known}
    while more := {became[key] for key in reached if key in became} - reached:
        reached |= more
    return reached


def heirs(records: Mapping[Key, Record], known: Mapping[Key, Link]) -> tuple[list[Heir], set[Key]]:
    """Who inherits what by these records, and what erased contacts' records became, which is theirs too.

    `known` are the links of these records, and of all that they became.
    """
    found, erased = [], set()
    for record in records.values():
        link = known.get(record.key)
        if not record.is_gone or record.successor is None or link is None:
            continue
        successor = _end(record, records, known)
        if successor is None:
            continue
        heir = known.get(successor)
        if link.state is State.ERASED:
            if heir is None:
                erased.add(successor)
        elif link.contact is not None and (heir is None or heir.state is not State.ERASED):
            is_new = heir is None or heir.contact is None
            if is_new or (heir is not None and heir.contact != link.contact):
                found.append(Heir(record.key, link.contact, successor, is_new))
    return [one for one in found if one.successor not in erased], erased


def _end(record: Record, records: Mapping[Key, Record], known: Mapping[Key, Link]) -> Key | None:
    """Where the chain from a record ends: the last that is there, else the last that was somebody's."""
    there, anybodys = None, None
    passed = {record.key}
    key = record.successor
    while key is not None and key not in passed:
        passed.add(key)
        now, link = records.get(key), known.get(key)
        if (now is not None and not now.is_gone) or (now is None and link is not None and link.state is State.LIVE):
            there = key
        elif link is not None and (link.contact is not None or link.state is State.ERASED):
            anybodys = key
        key = now.successor if now is not None and now.is_gone else None
    return there or anybodys


async def inherit(db: Connection, connection: UUID, found: Iterable[Heir], now: datetime) -> None:
    """Let records that nobody has be whose their predecessors were: of several predecessors, the first one's.

    Before anybody is locked, as all identities are claimed.
    """
    new: dict[tuple[str, str], UUID] = {}
    for one in found:
        if one.is_new:
            new.setdefault((record_kind(connection, one.successor.object), one.successor.id), one.contact)
    if not new:
        return
    claims = sorted(new.items())
    await db.execute(
        """
        INSERT INTO identity (kind, value, contact_id, since)
        SELECT claim.*, $4 FROM unnest($1::text[], $2::text[], $3::uuid[]) AS claim(kind, value, contact_id)
        ORDER BY kind, value ON CONFLICT DO NOTHING
        """,
        [kind for (kind, _), _ in claims],
        [value for (_, value), _ in claims],
        [contact for _, contact in claims],
        now,
    )


def refs(connection: UUID, found: Iterable[Heir]) -> list[Ref]:
    """All whom these concern, to be met."""
    return [ref(connection, key) for heir in found for key in (heir.loser, heir.successor)]


def ref(connection: UUID, key: Key) -> Ref:
    return Ref(record=(record_kind(connection, key.object), key.id))


async def join(db: Connection, met: Met, found: Sequence[Heir], opened: Opened, now: datetime) -> tuple[Met, set[UUID]]:
    """Make those one who have records that became one; returns who everybody is now, and who is made of several.

    All of them were met, and so are locked. Who was taken apart by hand stays so.
    """
    into = await _pairs(db, met, found, opened.id)
    if not into:
        return met, set()
    joins = [Join(gone, survivor, Tie.MANUAL) for gone, survivor in into.items()]
    stay = await joining.join(db, met.plan, joins, {Ref(): opened.source}, now)
    await ingest.judge(db, stay, opened.policy)
    await ingest.save(db, stay, now)
    await met.plan.scorer.score(db, sorted(one.id for one in stay), now, Cause.MERGE)
    who = met.who
    people = {one: row for one, row in met.people.items() if one not in into} | {one.id: one for one in stay}
    become = who._replace(
        contacts={ref: into.get(one, one) for ref, one in who.contacts.items()},
        created={into.get(one, one) for one in who.created},
        holders={key: into.get(one, one) for key, one in who.holders.items()},
        attached={into.get(one, one) for one in who.attached},
    )
    return met._replace(who=become, people=people), {one.id for one in stay}


async def _pairs(db: Connection, met: Met, found: Sequence[Heir], connection: UUID) -> dict[UUID, UUID]:
    """Who becomes part of whom, each of the last of a chain."""
    into: dict[UUID, UUID] = {}

    def last(contact: UUID) -> UUID:
        while contact in into:
            contact = into[contact]
        return contact

    for heir in found:
        gone, survivor = (last(met.who.contacts[ref(connection, key)]) for key in (heir.loser, heir.successor))
        if gone != survivor:
            into[gone] = survivor
    if into:
        rows = await db.fetch(
            "SELECT gone FROM merge WHERE gone = ANY($1) AND undone_at IS NOT NULL", [*into, *into.values()]
        )
        apart = {row["gone"] for row in rows}
        into = {one: last(one) for one in into if not {one, last(one)} & apart}
    return into
