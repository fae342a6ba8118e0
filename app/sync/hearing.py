"""What a record says of its contact, heard in the engine's words: each field for which the CRM is right.

What cannot be taken is left out, and noted on the link: an address that is another contact's, a value that is not of
its property's declared type. So it stays in the CRM as it is, until somebody says something else there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.connectors.shapes import Record, Value
from app.engine import declared, identity
from app.engine.contacts import Change, Edits, Met
from app.engine.identity import Ref
from app.engine.profiles import MOST_TAGS
from app.engine.properties import to_text
from app.store.tables import Contact
from app.sync import holding, mapping, ours, reading
from app.sync.links import Link
from app.sync.mapping import BOUNCED, BOUNCED_AT, EMAIL, NAME, OPTED_OUT, PROPERTY, STAGE, TAGS, Pair
from app.sync.reconcile import Ours, Side, Theirs, Verdict, judge

ADDRESS_TAKEN, WRONG_TYPE = "address_taken", "wrong_type"
"""Why a value is not taken here: codes in `link.held`."""

NOT_TAKEN = "not_taken"
_LONGEST = 200


@dataclass
class Heard:
    """What hearing a record came to."""

    held: dict[str, Any]  # Any: JSON, `sync/holding.py`'s
    conflicts: int = 0
    reversals: int = 0


class Hearing:
    """Records of a page, heard one after the other, each beside its contact as the ones before left it."""

    def __init__(self, met: Met, scores: Mapping[UUID, Mapping[int, Decimal | None]], by: str, now: datetime) -> None:
        self._met = met
        self._scores = scores
        self._by = by
        self._now = now
        self.people: dict[UUID, Contact] = {}
        """Those of whom something was said; all else that was met is neither written nor scored."""
        self.edits = Edits(met._replace(people=self.people))

    def ours(self, contact: UUID) -> Ours:
        """What we say of somebody who was met, just now."""
        return ours.of(self._met.people[contact], self._scores.get(contact, {}), self._met.plan)

    def hear(self, ref: Ref, record: Record, link: Link, pairs: Sequence[Pair]) -> Heard:
        """Let a record be heard; `link` is how it was known until now."""
        owner = self._met.who.contacts[ref]
        verdicts = judge(pairs, link.shadow, self.ours(owner), Theirs(record.values, record.modified_at, record.by_us))
        said = _Said(self._met, owner, record, self._now)
        for verdict in verdicts:
            if verdict.side is Side.THERE:
                said.take(verdict.pair, record.values[verdict.pair.there])
        changes = list(said.changes(link))
        if not changes and owner in self._met.who.attached:
            # An address that is new to it may be that of somebody who was erased.
            changes = [(Change(frozenset()), self._now)]
        for change, at in changes:
            self.people[owner] = self._met.people[owner]
            self.edits.add(ref, change, self._by, at)
        back = self._reversed(verdicts, said, link, owner)
        moved = {name for name, value in record.values.items() if name in link.shadow and link.shadow[name] != value}
        held = holding.free(link.held, moved - back)
        for name in back:
            held = holding.reversed_(held, name, link.shadow[name], self._now)
        conflicts = said.conflicts + sum(one.is_conflict for one in verdicts)
        return Heard(held | said.left, conflicts, len(back))

    def _reversed(self, verdicts: Sequence[Verdict], said: "_Said", link: Link, owner: UUID) -> set[str]:
        """The CRM's fields that are to be told again what they were: its word was not taken, or does not count over
        what was said here since."""
        after, back = self.ours(owner), set()
        for pair, side, _, is_reversal in verdicts:
            is_heard = (
                side is Side.THERE and pair.goes_out and pair.there in link.shadow and pair.there not in said.left
            )
            value = after.values.get(pair.here)
            if is_reversal or (is_heard and not mapping.same(pair, value, said.record.values[pair.there])):
                back.add(pair.there)
        return back


@dataclass
class _Said:
    """What a record says of a contact, as far as it can be taken."""

    met: Met
    owner: UUID
    record: Record
    now: datetime
    left: dict[str, Any] = field(default_factory=dict)  # Any: JSON, as in `link.held`
    conflicts: int = 0
    _words: dict[str, Any] = field(default_factory=dict)  # Any: a change's fields
    _properties: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    _flags: dict[str, Any] = field(default_factory=dict)  # Any: as the sync reads them

    def take(self, pair: Pair, value: Value) -> None:
        said = mapping.to_here(pair, value)
        if pair.here == EMAIL:
            self._take_address(pair, value)
        elif pair.here in mapping.FLAGS:
            self._flags[pair.here] = said
        elif pair.here.startswith(PROPERTY):
            self._take_property(pair, said)
        elif pair.here == TAGS:
            self._take_line(pair, tuple(said), said)
        elif pair.here in (NAME, STAGE):
            self._take_line(pair, said, [] if said is None else [said])

    def _take_line(self, pair: Pair, value: Any, lines: Sequence[Any]) -> None:  # Any: whatever the field holds
        if len(lines) <= MOST_TAGS and all(isinstance(one, str) and 0 < len(one) <= _LONGEST for one in lines):
            self._words[pair.here] = value
        else:
            self._leave(pair, WRONG_TYPE, f"expected text of at most {_LONGEST} characters")

    def _take_address(self, pair: Pair, value: Value) -> None:
        address = reading.normal(value)
        holder = self.met.who.holders.get((identity.EMAIL, address or ""), self.owner)
        if holder != self.owner:
            self.conflicts += 1
            self._leave(pair, ADDRESS_TAKEN, "another contact has this address: merge the two, or mend it in the CRM")
        elif address is not None or mapping.to_here(pair, value) is None:
            self._words[EMAIL] = address

    def _take_property(self, pair: Pair, value: Any) -> None:  # Any: JSON
        name = pair.here.removeprefix(PROPERTY)
        typed = declared.read_all({name: value}, self.met.plan.contacts)
        becomes = {**self.met.people[self.owner].properties, **self._properties, **typed.properties}
        wrong = typed.wrong.get(name) or _too_much(becomes)
        if wrong is None:
            self._properties |= typed.properties
        else:
            self._leave(pair, WRONG_TYPE, wrong)

    def _leave(self, pair: Pair, code: str, reason: str) -> None:
        said = {"why": NOT_TAKEN, "code": code, "reason": reason, "tries": 1, "value": None}
        self.left[pair.there] = {**said, "since": self.now.isoformat(), "until": None}

    def changes(self, link: Link) -> Iterator[tuple[Change, datetime]]:
        """Each change, and when it was said."""
        moment = min(self.record.modified_at or self.now, self.now)
        said = {**self._words, **({"properties": self._properties} if self._properties else {})}
        if said:
            yield Change(frozenset(said), **said), moment
        if OPTED_OUT in self._flags:
            is_out = self._flags[OPTED_OUT]
            # When somebody opted in there nobody says: after the record was last known to say otherwise.
            after = moment if link.flags_at is None else link.flags_at + timedelta(microseconds=1)
            at = moment if is_out else min(after, self.now)
            yield Change(frozenset({"opted_out"}), opted_out=is_out), at
        if BOUNCED in self._flags or BOUNCED_AT in self._flags:
            since = self._flags.get(BOUNCED_AT) or (moment if self._flags.get(BOUNCED) else None)
            at = self.now if since is None else min(since, self.now)
            yield Change(frozenset({"bounced"}), bounced=since is not None), at


def _too_much(properties: dict[str, Any]) -> str | None:  # Any: JSON
    try:
        to_text(properties)
    except ValueError as fault:
        return str(fault)
    return None
