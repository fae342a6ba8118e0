"""A CRM in memory that is its own connector: what the sync is tested with before real wire formats come in.

One object, `person`. It stamps what it writes with a clock of its own, a microsecond later each time, and can be told
to refuse, to change back, to pass over in silence, to lose an answer.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.connectors.faults import Unreachable
from app.connectors.shapes import (
    Account,
    Activity,
    ActivityPage,
    Call,
    Checked,
    CrmField,
    DefaultPair,
    End,
    Hint,
    Key,
    Kind,
    MadeField,
    NewPerson,
    Notice,
    Outcome,
    Page,
    Record,
    Value,
    WantedField,
    Write,
)

PERSON = "person"
PAGE = 3
"""Records on a page: few, so that every test crosses a border."""

FIELDS = (
    CrmField("mail", "E-mail", Kind.TEXT, is_writable=True),
    CrmField("full_name", "Name", Kind.TEXT, is_writable=True),
    CrmField("out", "Do not mail", Kind.BOOLEAN, is_writable=True),
    CrmField("bad_since", "Bounced on", Kind.INSTANT, is_writable=True),
    CrmField("industry", "Industry", Kind.TEXT, is_writable=True, max_length=20),
    CrmField("stage", "Stage", Kind.CHOICE, is_writable=True, options=("lead", "customer")),
    CrmField("number", "Number", Kind.NUMBER, is_writable=False),
)


@dataclass
class Person:
    values: dict[str, Value]
    addresses: tuple[str, ...]
    modified_at: datetime
    by_us: bool = False
    successor: Key | None = None
    is_gone: bool = False


@dataclass
class Toy:
    """The CRM and the connector to it."""

    people: dict[str, Person] = field(default_factory=dict)
    fields: dict[str, CrmField] = field(default_factory=lambda: {one.name: one for one in FIELDS})
    done: list[Activity] = field(default_factory=list)
    """In the order of their edits; the last of an id holds."""
    refuses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Record → the fields that it refuses, or nothing for whatever is written."""
    locked: set[str] = field(default_factory=set)
    stubborn: set[str] = field(default_factory=set)
    """Fields that stay as they are, in silence."""
    flow: dict[str, Value] = field(default_factory=dict)
    """What is set, under our own name, after each of our writes."""
    lose_next: int = 0
    """So many writes are done, and their answers lost."""
    may_make_fields: bool = True
    written: list[Write] = field(default_factory=list)
    calls: int = 0
    now: datetime = datetime(2026, 5, 15, 11, tzinfo=UTC)
    batch: int = 2
    bulk: int = 5
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    # --- what people do there -----------------------------------------------------------------------------------------

    def add(self, *addresses: str, **values: Value) -> str:
        id_ = str(next(self._ids))
        mail = addresses[0] if addresses else None
        unset: dict[str, Value] = dict.fromkeys(self.fields)
        self.people[id_] = Person({**unset, "out": False, "mail": mail, **values}, addresses, self.tick())
        return id_

    def edit(self, id_: str, *, by_us: bool = False, **values: Value) -> None:
        person = self.people[id_]
        person.values.update(values)
        if "mail" in values:
            person.addresses = (str(values["mail"]), *person.addresses[1:]) if values["mail"] else ()
        person.modified_at, person.by_us = self.tick(), by_us

    def delete(self, id_: str, successor: str | None = None) -> None:
        person = self.people[id_]
        person.is_gone, person.modified_at = True, self.tick()
        person.successor = None if successor is None else Key(PERSON, successor)

    def do(self, id_: str, type_: str, *people: str, **properties: Value) -> None:
        at = self.tick()
        self.done.append(Activity(id_, type_, tuple(Key(PERSON, one) for one in people), at, properties))

    def tick(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now

    # --- the connector ------------------------------------------------------------------------------------------------

    @property
    def objects(self) -> Sequence[str]:
        return (PERSON,)

    async def check(self) -> Checked:
        return Checked(Account("Toys", "us", "The sync"), [])

    async def describe(self, object_: str) -> Sequence[CrmField]:
        assert object_ == PERSON
        return list(self.fields.values())

    def defaults(self, object_: str, fields: Sequence[CrmField]) -> Sequence[DefaultPair]:  # noqa: ARG002
        pairs = (("email", "mail", "in"), ("name", "full_name", "in"), ("opted_out", "out", "both"))
        return [
            DefaultPair(PERSON, here, there, way) for here, there, way in (*pairs, ("bounced_at", "bad_since", "both"))
        ]

    async def ensure(self, wanted: Sequence[WantedField]) -> Sequence[MadeField]:
        made = []
        for one in wanted:
            was_there = one.name in self.fields
            if not was_there and not self.may_make_fields:
                made.append(MadeField(one, None, recipe=f"make a field {one.label!r}"))
                continue
            self.fields.setdefault(
                one.name,
                CrmField(one.name, one.label, one.kind, True, True, one.options, one.max_length, one.places),
            )
            for person in self.people.values():
                person.values.setdefault(one.name, None)
            made.append(MadeField(one, self.fields[one.name], was_there))
        return made

    async def changes(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:  # noqa: ARG002
        self.calls += 1
        since = cursor or ""
        changed = sorted((one.modified_at.isoformat(), id_) for id_, one in self.people.items())
        found = [(at, id_) for at, id_ in changed if f"{at} {id_}" > since][: PAGE + 1]
        page = found[:PAGE]
        cursor = " ".join(page[-1]) if page else since
        return Page([self._record(id_, fields) for _, id_ in page], cursor, len(found) <= PAGE)

    async def everybody(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:  # noqa: ARG002
        self.calls += 1
        found = sorted(
            (int(id_) for id_, one in self.people.items() if not one.is_gone and int(id_) > int(cursor or 0))
        )
        page = [str(id_) for id_ in found[:PAGE]]
        return Page(
            [self._record(id_, fields) for id_ in page], page[-1] if page else cursor or "0", len(found) <= PAGE
        )

    async def fetch(self, object_: str, ids: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:  # noqa: ARG002
        self.calls += 1
        return [
            self._record(id_, fields) if id_ in self.people else Record(Key(PERSON, id_), is_gone=True) for id_ in ids
        ]

    async def find(self, object_: str, addresses: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:  # noqa: ARG002
        self.calls += 1
        wanted = {one.lower() for one in addresses}
        return [
            self._record(id_, fields)
            for id_, one in self.people.items()
            if not one.is_gone and wanted & {address.lower() for address in one.addresses}
        ]

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        self.calls += 1
        assert len(writes) <= self.bulk
        outcomes = [self._write(one) for one in writes]
        if self.lose_next:
            self.lose_next -= 1
            raise Unreachable("no answer")
        return outcomes

    def _write(self, write: Write) -> Outcome:
        person = self.people.get(write.key.id)
        if person is None or person.is_gone:
            return Outcome(End.GONE, write.key.id, code="GONE", reason="entity is deleted")
        if write.key.id in self.locked:
            return Outcome(End.AGAIN, write.key.id, code="LOCKED", reason="somebody else writes")
        refused = self.refuses.get(write.key.id)
        if refused is not None and (not refused or set(refused) & write.values.keys()):
            return Outcome(End.REFUSED, write.key.id, code="RULE", reason="an admin's rule", fields=refused)
        assert write.values.keys() <= {name for name, one in self.fields.items() if one.is_writable}
        self.written.append(write)
        kept = {name: value for name, value in write.values.items() if name not in self.stubborn}
        self.edit(write.key.id, by_us=True, **kept)
        if self.flow:
            self.edit(write.key.id, by_us=True, **self.flow)
        return Outcome(End.DONE, write.key.id, {name: person.values[name] for name in write.values}, person.modified_at)

    def cost(self, writes: int) -> int:
        return -(-writes // self.batch)

    async def create(self, people: Sequence[NewPerson]) -> Sequence[Outcome]:
        self.calls += 1
        ids = [self.add(one.email, full_name=one.name, **one.values) for one in people]
        for id_ in ids:
            self.people[id_].by_us = True
        if self.lose_next:
            self.lose_next -= 1
            raise Unreachable("no answer")
        return [Outcome(End.DONE, id_, None, self.people[id_].modified_at) for id_ in ids]

    async def activities(self, cursor: str | None) -> ActivityPage:
        self.calls += 1
        begin = int(cursor or 0)
        page = self.done[begin : begin + PAGE]
        return ActivityPage(page, str(begin + len(page)), begin + PAGE >= len(self.done))

    def read_notice(self, call: Call) -> Notice:
        return Notice([Hint(Key(PERSON, call.body.decode()))])

    async def subscribe(self, url: str, user: str, password: str) -> str | None:  # noqa: ARG002
        return None

    async def aclose(self) -> None:
        pass

    def _record(self, id_: str, fields: Sequence[str]) -> Record:
        one = self.people[id_]
        values = {name: one.values[name] for name in fields if name in one.values}
        return Record(
            Key(PERSON, id_),
            {} if one.is_gone else values,
            () if one.is_gone else one.addresses,
            one.modified_at,
            one.by_us,
            one.is_gone,
            one.successor,
        )
