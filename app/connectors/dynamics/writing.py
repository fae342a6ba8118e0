"""Records written and created: very many by one call for many, which is all or nothing; else each in a batch.

A row that spoils a call for many is sought in parts of it, and in the end by a batch, whose operations stand for
themselves. What there is after a write is read back: a plug-in may have changed it, and who was merged can still be
written to. An update never creates: each carries `If-Match: *`, and a call for many never does.

Source: Microsoft Learn, "Use bulk operation messages", "Perform conditional operations using the Web API".
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.connectors.dynamics import bodies, outcomes, values
from app.connectors.dynamics.api import TAG, Api, address
from app.connectors.dynamics.batches import Operation
from app.connectors.dynamics.bodies import Json
from app.connectors.dynamics.columns import IDS, LEAD, SETS, Described, Table
from app.connectors.dynamics.people import IDS_AT_ONCE, People
from app.connectors.faults import Fault, Refused, Unreachable
from app.connectors.http import Reply
from app.connectors.shapes import End, Kind, NewPerson, Outcome, Record, Values, Write

FEW = 10
"""So many are a batch from the beginning: that says itself what became of them."""
MANY = 500
"""Rows in one call for many."""
PART = 100
"""Rows in a part of one that was refused, and operations in a batch, where each waits for the one before."""
_SIDE_BY_SIDE = 3
"""Calls: they take 900 of the 1,200 seconds of execution that there are in five minutes."""
_REPRESENTATION = "return=representation"
_NO_CONTENT, _CREATED, _OK = 204, 201, 200


class _Item(NamedTuple):
    place: int
    write: Write
    id: str
    body: Json


class Writing:
    """`headers`: what each call that writes carries, if an administrator chose so."""

    def __init__(self, api: Api, described: Described, people: People, headers: Mapping[str, str]) -> None:
        self._api = api
        self._described = described
        self._people = people
        self._headers = headers
        self._without_many: set[str] = set()
        """Tables that have no call for many."""

    def cost(self, writes: int) -> int:
        """Requests: each row is one, and so is each list by which what many rows hold by then is read back."""
        full, rest = divmod(writes, MANY)
        lists = full * _lists(MANY) + (_lists(rest) if rest > FEW else 0)
        return writes + lists

    async def write(self, writes: Sequence[Write]) -> list[Outcome]:
        """Where a call fails after others were answered, the rest is to be done again: what is known is not lost."""
        tables = await self._tables([(one.key.object, one.values) for one in writes])
        found: dict[int, Outcome] = {}
        left: list[_Item] = []
        for at, (key, written) in enumerate(writes):
            table, id_ = tables[key.object], values.guid(key.id)
            if table is None or id_ is None:
                found[at] = Outcome(End.GONE, key.id, code="no_id", reason="there is no such record")
            elif wrong := bodies.misfits(table, written):
                found[at] = outcomes.unfit(key.id, wrong)
            else:
                left.append(_Item(at, writes[at], id_, bodies.body(table, written)))
        sent = {item.place for item in left}
        while left:
            # Two writes of one record at once would lock each other out.
            firsts = {(item.write.key.object, item.id): item for item in reversed(left)}
            stopped = await self._all(sorted(firsts.values(), key=lambda item: item.place), found)
            if stopped is not None:
                if not sent & found.keys():
                    raise stopped
                break
            left = [item for item in left if item.place not in found]
        return [found.get(at, outcomes.NOT_REACHED._replace(id=one.key.id)) for at, one in enumerate(writes)]

    async def create(self, people: Sequence[NewPerson]) -> list[Outcome]:
        """Each in a batch, which is never sent twice."""
        tables = await self._tables([(one.object, one.values) for one in people])
        found: dict[int, Outcome] = {}
        left: dict[int, Operation] = {}
        for at, one in enumerate(people):
            table = tables[one.object]
            if table is None:
                found[at] = outcomes.of_fault(Refused("no_table", f"there is no table {one.object}"), None, {})
            elif wrong := bodies.misfits(table, one.values):
                found[at] = outcomes.unfit(None, wrong)
            else:
                left[at] = self._operation("POST", table, SETS[table.object], bodies.new(table, one), one.values)
        order = list(left)
        for begin in range(0, len(order), PART):
            some = order[begin : begin + PART]
            try:
                answers = await self._api.batch([left[at] for at in some])
            except Fault:
                if begin == 0:
                    raise
                break
            for at, reply in zip(some, answers, strict=True):
                found[at] = await self._created(people[at], tables[people[at].object], reply)
        return [found.get(at, outcomes.NOT_REACHED) for at in range(len(people))]

    async def _tables(self, written: Sequence[tuple[str, Values]]) -> dict[str, Table | None]:
        """Tables that know all that is written, as far as they do at all, and of choices the options."""
        found: dict[str, Table | None] = {}
        for object_ in dict.fromkeys(of for of, _ in written):
            some = [one for of, one in written if of == object_]
            names = {name for one in some for name in one}
            table = await self._described.table(object_)
            if table is not None and _has_choices(table, names):
                table = await self._described.table(object_, is_whole=True)
            if table is not None and any(bodies.has_news(table, one) for one in some):
                table = await self._described.table(object_, is_whole=table.is_whole, is_strong=True)
            found[object_] = table
        return found

    # --- many ---------------------------------------------------------------------------------------------------------

    async def _all(self, items: Sequence[_Item], found: dict[int, Outcome]) -> Fault | None:
        """Write these, no record twice, in chunks side by side; returns what stopped the rest, if anything did."""
        chunks: list[list[_Item]] = []
        for object_ in dict.fromkeys(item.write.key.object for item in items):
            chunks += _pieces([item for item in items if item.write.key.object == object_], MANY)
        turns, stopped = asyncio.Semaphore(_SIDE_BY_SIDE), asyncio.Event()

        async def one(chunk: list[_Item]) -> None:
            async with turns:
                if stopped.is_set():
                    return
                try:
                    await self._chunk(chunk, found)
                except BaseException:
                    stopped.set()
                    raise

        ended = await asyncio.gather(*map(one, chunks), return_exceptions=True)
        return outcomes.first_of(ended)

    async def _chunk(self, items: list[_Item], found: dict[int, Outcome]) -> None:
        """What is known goes into `found` at once: the next call may fail."""
        object_ = items[0].write.key.object
        refusal: Fault | None = None
        if len(items) > FEW and object_ not in self._without_many:
            try:
                found.update(await self._at_once(items))
                return
            except (Refused, Unreachable) as fault:
                refusal = fault
            if len(items) > PART:
                for piece in _pieces(items, PART):
                    await self._chunk(piece, found)
                return
        for piece in _pieces(items, PART):
            done = await self._one_by_one(piece)
            found.update(done)
            if isinstance(refusal, Refused) and {End.DONE} == {one.end for one in done.values()}:
                # It was refused for no row of it.
                self._without_many.add(object_)

    async def _at_once(self, items: list[_Item]) -> dict[int, Outcome]:
        """Raises Refused if a row is at fault; then nothing is done."""
        object_ = items[0].write.key.object
        targets = [
            {"@odata.type": f"Microsoft.Dynamics.CRM.{object_}", IDS[object_]: item.id, **item.body} for item in items
        ]
        reply = await self._api.call(
            "POST",
            f"{address(SETS[object_] + '/Microsoft.Dynamics.CRM.UpdateMultiple')}?tag={TAG}",
            cost=len(items),
            headers=self._headers,
            json={"Targets": targets},
        )
        if reply.status != _NO_CONTENT:
            raise Unreachable(f"a call for many was answered by {reply.status}")
        names = list(dict.fromkeys(name for item in items for name in item.write.values))
        try:
            records = await self._people.fetch(object_, [item.write.key.id for item in items], names, heirs=False)
        except Fault:
            # It is done, whatever is to be seen of it.
            return {item.place: Outcome(End.DONE, item.write.key.id) for item in items}
        return {item.place: _done(item.write, one) for item, one in zip(items, records, strict=True)}

    # --- each for itself ----------------------------------------------------------------------------------------------

    async def _one_by_one(self, items: list[_Item]) -> dict[int, Outcome]:
        object_ = items[0].write.key.object
        table = await self._described.tables(object_)
        operations = [
            self._operation("PATCH", table, f"{SETS[object_]}({item.id})", item.body, item.write.values)
            for item in items
        ]
        found = {}
        for item, reply in zip(items, await self._api.batch(operations, again=True), strict=True):
            record = await self._record(table, reply, item.write.values)
            if record is not None:
                found[item.place] = _done(item.write, record)
            elif reply.is_success:
                found[item.place] = Outcome(End.DONE, item.write.key.id)
            else:
                found[item.place] = outcomes.of_part(reply, item.write.key.id, item.write.values)
        closed = [item for item in items if found[item.place].end is End.REFUSED] if object_ == LEAD else []
        if closed:
            # A lead that was qualified is read-only, and says no more than that it is.
            ids = [item.write.key.id for item in closed]
            for item, one in zip(closed, await self._people.fetch(object_, ids, [], heirs=False), strict=True):
                if one.is_gone:
                    found[item.place] = found[item.place]._replace(end=End.GONE)
        return found

    def _operation(self, method: str, table: Table, path: str, body: Json, written: Values) -> Operation:
        headers = {**self._headers, "Prefer": _REPRESENTATION}
        if method == "PATCH":
            headers["If-Match"] = "*"
        columns = ",".join(self._people.columns(table, written))
        return Operation(method, f"{address(path, select=columns)}&tag={TAG}", headers, body)

    async def _record(self, table: Table, reply: Reply, written: Values) -> Record | None:
        """The record that an answer shows. Raises Unreachable for what is none."""
        if reply.status not in (_OK, _CREATED):
            return None
        said = reply.json()
        if not isinstance(said, dict) or values.guid(said.get(IDS[table.object])) is None:
            raise Unreachable("a write was answered by what is no record")
        [record] = await self._people.records(table, [said], list(written), heirs=False)
        return record

    async def _created(self, person: NewPerson, table: Table | None, reply: Reply) -> Outcome:
        if not reply.is_success:
            return outcomes.of_part(reply, None, {**person.values, "email": person.email, "name": person.name})
        record = None if table is None else await self._record(table, reply, person.values)
        if record is not None:
            return Outcome(End.DONE, record.key.id, record.values, record.modified_at)
        id_ = values.guid(reply.headers.get("odata-entityid", "").rpartition("(")[2].rstrip(")"))
        if id_ is None:
            return Outcome(End.AGAIN, code="no_id", reason="it is not said which record was made")
        return Outcome(End.DONE, id_)


def _done(write: Write, record: Record) -> Outcome:
    """Of a write that was done, by how the record is then."""
    if record.is_gone:
        return Outcome(End.GONE, write.key.id, code="merged", reason="the record is deleted, merged or qualified")
    kept = {name: record.values[name] for name in write.values if name in record.values}
    return Outcome(End.DONE, write.key.id, kept, record.modified_at)


def _has_choices(table: Table, names: set[str]) -> bool:
    kinds = {column.shown.kind for name in names if (column := table.mappable(name)) is not None}
    return bool(kinds & {Kind.CHOICE, Kind.CHOICES})


def _lists(rows: int) -> int:
    return math.ceil(rows / IDS_AT_ONCE)


def _pieces(items: list[_Item], size: int) -> list[list[_Item]]:
    return [items[begin : begin + size] for begin in range(0, len(items), size)]
