"""Where a CRM and we say something else of somebody, who is right, and why it is not told yet. Changes nothing.

A page of records is fetched as they are now and compared, field by field, with what we say now. Nothing to report
means that every mapped field agrees.
"""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from app.connectors.shapes import Key, Record, Value
from app.store.db import Connection
from app.sync import hearing, links, ours, reading, reconcile
from app.sync.links import Link, State
from app.sync.mapping import Pair, fits, to_here, to_there
from app.sync.reconcile import Ours, Side, Theirs, Verdict
from app.sync.shapes import Opened

MOST = 200
"""Records of a page."""

_MISSING = object()


class Right(StrEnum):
    """Whose value holds."""

    HERE = "here"
    THERE = "there"
    BOTH_MOVED = "both_moved"
    """Both moved since they last agreed: the pair's policy decides with the next look for changes."""


class Why(StrEnum):
    WAITS = "waits"
    """In the outbox: it is told with the next drain, or when the budget allows."""
    HELD = "held"
    """The CRM refused it, keeps it otherwise or changes it back: tried again later, or parked. Or it is what cannot be
    taken here, such as an address that is another contact's."""
    NOT_PULLED = "not_pulled"
    """Changed there since the last look for changes."""
    QUIET = "quiet"
    """Changed here without side effects: it is told with the contact's next change."""
    ONE_WAY = "one_way"
    """It flows in only, and was changed here since."""
    SEVERAL_RECORDS = "several_records"
    """It flows in only, and another record of the contact says otherwise."""
    DOES_NOT_FIT = "does_not_fit"
    """The field there cannot hold what we say."""
    HIDDEN = "hidden"
    """The CRM does not show the field to our user."""
    GONE = "gone"
    """The record was deleted, merged or converted there, and not looked at since."""
    NOBODY = "nobody"
    """No contact has this record (any more)."""


_SAID = {
    Why.WAITS: "waits in the outbox",
    Why.NOT_PULLED: "changed there and not pulled yet",
    Why.QUIET: "changed here without side effects: told with the contact's next change",
    Why.ONE_WAY: "flows in only, and was changed here since",
    Why.SEVERAL_RECORDS: "flows in only, and another record of the contact says otherwise",
    Why.DOES_NOT_FIT: "the field there cannot hold it",
    Why.HIDDEN: "the CRM does not show this field to our user",
    Why.GONE: "deleted, merged or converted there and not pulled yet",
    Why.NOBODY: "no contact has this record",
}


class Field(NamedTuple):
    """A pair on both sides, ours as it would be written there."""

    here: str
    there: str
    value_here: Value
    value_there: Value
    right: Right | None = None
    """None where they agree, or nobody can say."""
    why: Why | None = None
    detail: str | None = None
    """In words; of what is held, with the CRM's reason."""

    @property
    def is_agreed(self) -> bool:
        return self.why is None


class Compared(NamedTuple):
    """A record on both sides."""

    key: Key
    contact: UUID | None
    fields: Sequence[Field]

    @property
    def is_agreed(self) -> bool:
        return all(one.is_agreed for one in self.fields)

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return {
            "object": self.key.object,
            "record": self.key.id,
            "contact_id": self.contact,
            "fields": [
                {
                    "here": one.here,
                    "there": one.there,
                    "value_here": one.value_here,
                    "value_there": one.value_there,
                    "agreed": one.is_agreed,
                    "right": one.right,
                    "why": one.why,
                    "detail": one.detail,
                }
                for one in self.fields
            ],
        }

    @property
    def differing(self) -> list[Field]:
        return [one for one in self.fields if not one.is_agreed]


@dataclass
class Totals:
    """Of whatever was compared."""

    records: int = 0
    fields: int = 0
    different_records: int = 0
    different_fields: int = 0
    by_why: Counter[Why] = field(default_factory=Counter)

    def add(self, compared: Iterable[Compared]) -> None:
        for one in compared:
            self.records += 1
            self.fields += len(one.fields)
            self.different_records += not one.is_agreed
            self.different_fields += len(one.differing)
            self.by_why.update(each.why for each in one.differing if each.why is not None)

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return {**asdict(self), "by_why": {why.value: fields for why, fields in self.by_why.items()}}


class Report(NamedTuple):
    """A page. `next` None: there are no more records."""

    records: Sequence[Compared]
    next: Key | None
    totals: Totals


async def page(opened: Opened, *, limit: int = MOST, after: Key | None = None, only_different: bool = False) -> Report:
    """The records that we know, by object and id. Costs what fetching them does. Raises Fault.

    With `only_different` a page may hold few or none and yet not be the last.
    """
    async with opened.database.batch() as db:
        keys = await _keys(db, opened.id, after, min(limit, MOST) + 1)
    chosen = keys[: min(limit, MOST)]
    found = await _compared(opened, chosen)
    # Both sides may have moved between the two looks: what differs is looked at twice.
    again = [one.key for one in found.values() if not one.is_agreed]
    if again:
        found |= await _compared(opened, again)
    totals = Totals()
    totals.add(found.values())
    shown = [one for one in found.values() if not (only_different and one.is_agreed)]
    if only_different:
        shown = [one._replace(fields=one.differing) for one in shown]
    return Report(shown, chosen[-1] if len(keys) > len(chosen) else None, totals)


async def all_of(opened: Opened) -> AsyncIterator[Compared]:
    """Every record. Raises Fault."""
    after: Key | None = None
    while True:
        report = await page(opened, after=after)
        for one in report.records:
            yield one
        if (after := report.next) is None:
            return


async def count(db: Connection, connection: UUID) -> int:
    """How many records there are to compare."""
    found: int = await db.fetchval("SELECT count(*) FROM link WHERE connection_id = $1 AND state = 'live'", connection)
    return found


async def _keys(db: Connection, connection: UUID, after: Key | None, limit: int) -> list[Key]:
    rows = await db.fetch(
        """
        SELECT object, record FROM link
        WHERE connection_id = $1 AND state = 'live' AND ($2::text IS NULL OR (object, record) > ($2, $3::text))
        ORDER BY object, record LIMIT $4
        """,
        connection,
        None if after is None else after.object,
        None if after is None else after.id,
        limit,
    )
    return [Key(*row) for row in rows]


class _State(NamedTuple):
    """What we know and say of some records."""

    links: Mapping[Key, Link]
    ours: Mapping[UUID, Ours]
    waiting: Collection[UUID]
    several: Collection[UUID]
    """Contacts with several live records."""


async def _compared(opened: Opened, keys: Sequence[Key]) -> dict[Key, Compared]:
    """Those of these records that are still ours to compare, in their order."""
    records = {one.key: one for one in await reading.fetch(opened, keys)}
    state = await _state(opened, keys)
    return {
        key: Compared(key, link.contact, _fields(opened, link, records[key], state))
        for key in keys
        if (link := state.links.get(key)) is not None and link.state is State.LIVE and key in records
    }


async def _state(opened: Opened, keys: Sequence[Key]) -> _State:
    async with opened.database.batch() as db:
        plan = await opened.plans.hold(db)
        found = await links.of_records(db, opened.id, keys)
        people = {link.contact for link in found.values() if link.contact is not None}
        said = await ours.load(db, plan, people)
        theirs = await links.of_contacts(db, opened.id, people)
        waiting = await db.fetch(
            """
            SELECT o.contact_id FROM unnest($2::uuid[]) AS wanted(id) CROSS JOIN LATERAL (
                SELECT contact_id FROM outbox WHERE connection_id = $1 AND contact_id = wanted.id OFFSET 0
            ) o
            """,
            opened.id,
            list(people),
        )
    several = {who for who, known in theirs.items() if sum(one.state is State.LIVE for one in known) > 1}
    return _State(found, said, {row[0] for row in waiting}, several)


def _fields(opened: Opened, link: Link, record: Record, state: _State) -> list[Field]:
    pairs = reading.pairs(opened.options, link.key.object)
    said = None if link.contact is None else state.ours.get(link.contact)
    if record.is_gone or said is None:
        why = Why.GONE if record.is_gone else Why.NOBODY
        right = Right.THERE if record.is_gone else None
        return [
            Field(one.here, one.there, _told(one, said), record.values.get(one.there), right, why, _SAID[why])
            for one in pairs
        ]
    theirs = Theirs(record.values, record.modified_at, record.by_us)
    verdicts = {one.pair: one for one in reconcile.judge(pairs, link.shadow, said, theirs)}
    return [_field(one, verdicts.get(one), link, said, record, state) for one in pairs]


def _field(pair: Pair, verdict: Verdict | None, link: Link, said: Ours, record: Record, state: _State) -> Field:
    shown = Field(pair.here, pair.there, _told(pair, said), record.values.get(pair.there))
    if verdict is None:
        return shown._replace(why=Why.HIDDEN, detail=_SAID[Why.HIDDEN])
    if verdict.side is Side.AGREED:
        return shown
    why = _why(pair, verdict, link, said, record, state)
    right = Right.BOTH_MOVED if verdict.is_conflict else Right(verdict.side)
    if why is not Why.HELD:
        return shown._replace(right=right, why=why, detail=_SAID[why])
    held = link.held[pair.there]
    # What cannot be taken here is the CRM's to say all the same.
    right = Right.THERE if held["why"] == hearing.NOT_TAKEN else right
    return shown._replace(right=right, why=why, detail=_of_held(held))


def _why(pair: Pair, verdict: Verdict, link: Link, said: Ours, record: Record, state: _State) -> Why:
    known: Any = link.shadow.get(pair.there, _MISSING)  # Any: a value, or none
    if verdict.side is Side.THERE:
        return Why.NOT_PULLED
    if pair.there in link.held:
        return Why.HELD
    if not pair.goes_out:
        return Why.SEVERAL_RECORDS if link.contact in state.several else Why.ONE_WAY
    if not fits(pair, said.values.get(pair.here)):
        return Why.DOES_NOT_FIT
    if link.contact in state.waiting:
        return Why.WAITS
    if known is _MISSING or to_here(pair, known) != to_here(pair, record.values[pair.there]):
        return Why.NOT_PULLED
    return Why.QUIET


def _told(pair: Pair, said: Ours | None) -> Value:
    return None if said is None else to_there(pair, said.values.get(pair.here))


def _of_held(entry: Mapping[str, Any]) -> str:  # Any: JSON, `sync/holding.py`'s
    if entry["why"] == hearing.NOT_TAKEN:
        return f"not taken here: {entry['reason']}"
    if entry["until"] is None:
        return f"parked after {entry['tries']} tries: {entry['reason']}"
    return f"held until {datetime.fromisoformat(entry['until']):%Y-%m-%d %H:%M:%S}: {entry['reason']}"
