"""Records written and created, two hundred in a call; very many of one shape by a bulk job.

Source: Salesforce's REST pages on sObject Collections.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from app.connectors.faults import Fault, Refused, Unreachable
from app.connectors.salesforce import outcomes
from app.connectors.salesforce.api import WRITING, Api
from app.connectors.salesforce.bulk import MOST_ROWS, Bulk
from app.connectors.salesforce.fields import EMAIL, Described
from app.connectors.salesforce.people import LEAD
from app.connectors.salesforce.values import told
from app.connectors.shapes import CrmField, End, Kind, NewPerson, Outcome, Value, Write

COLLECTION = 200
_BULK_CALLS = 8
"""What a job costs if its first poll finds it done: made, filled, closed, polled, three results, deleted."""
_LONGEST_FIRST, _LONGEST_LAST = 40, 80
# What spoils a whole call is one record's fault: a value that is none of its field's type, a field that there is not.
_SPOILING = {"INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE", "INVALID_TYPE", "JSON_PARSER_ERROR", "MALFORMED_ID"}
_TYPES: Mapping[Kind, tuple[type, ...]] = {
    Kind.BOOLEAN: (bool,),
    Kind.NUMBER: (int, float),
    Kind.CHOICES: (list,),
    Kind.TEXT: (str,),
    Kind.CHOICE: (str,),
    Kind.INSTANT: (str,),
    Kind.DAY: (str,),
}
_Json = dict[str, Any]  # Any: JSON
_WRONG_KIND = Refused("WRONG_KIND", "the value is none of the field's kind")
_NOT_REACHED = Outcome(End.AGAIN, code="NOT_REACHED", reason="a call before it failed")


class Writing:
    """`bulk_from`: so many writes of one object and of the same fields are a bulk job."""

    def __init__(self, api: Api, described: Described, bulk: Bulk, bulk_from: int) -> None:
        self._api = api
        self._described = described
        self._bulk = bulk
        self._bulk_from = bulk_from

    def cost(self, writes: int) -> int:
        """Requests."""
        calls = math.ceil(writes / COLLECTION)
        return min(calls, _BULK_CALLS * math.ceil(writes / MOST_ROWS)) if writes >= self._bulk_from else calls

    async def write(self, writes: Sequence[Write]) -> list[Outcome]:
        """Where a call fails after others were answered, the rest is to be done again: what is known is not lost."""
        found = await self._misfits(writes)
        left = [at for at in range(len(writes)) if at not in found]
        try:
            for many in self._jobs(writes, left):
                done = await self._bulk.update([writes[at] for at in many])
                found.update((at, one) for at, one in zip(many, done, strict=True) if one is not None)
            rest = sorted((at for at in left if at not in found), key=lambda at: writes[at].key.object)
            for begin in range(0, len(rest), COLLECTION):
                some = rest[begin : begin + COLLECTION]
                done_now = await self._sent("PATCH", [_record(writes[at]) for at in some])
                found.update(zip(some, done_now, strict=True))
        except Fault:
            if not any(at in found for at in left):
                raise
        return [found.get(at, _NOT_REACHED._replace(id=one.key.id)) for at, one in enumerate(writes)]

    async def create(self, people: Sequence[NewPerson]) -> list[Outcome]:
        order = sorted(range(len(people)), key=lambda at: people[at].object)
        found: dict[int, Outcome] = {}
        for begin in range(0, len(order), COLLECTION):
            some = order[begin : begin + COLLECTION]
            found.update(zip(some, await self._sent("POST", [_new(people[at]) for at in some]), strict=True))
        return [found[at] for at in range(len(people))]

    # --- parts --------------------------------------------------------------------------------------------------------

    async def _misfits(self, writes: Sequence[Write]) -> dict[int, Outcome]:
        """Those that need not be sent: their object is hidden, or a value is none of its field's kind.

        The second would spoil the call of all the others.
        """
        found: dict[int, Outcome] = {}
        for object_ in dict.fromkeys(one.key.object for one in writes):
            those = [(at, one) for at, one in enumerate(writes) if one.key.object == object_]
            try:
                known = await self._described.fields(object_)
            except Refused as fault:
                found.update((at, outcomes.refused(fault, one.key.id)) for at, one in those)
                continue
            for at, one in those:
                wrong = tuple(name for name, value in one.values.items() if _is_misfit(known.get(name), value))
                if wrong:
                    found[at] = outcomes.refused(_WRONG_KIND, one.key.id, wrong)
        return found

    def _jobs(self, writes: Sequence[Write], left: Sequence[int]) -> list[list[int]]:
        """The places of writes that are many enough for a job: they set the same fields of the same object."""
        shapes: dict[tuple[str, frozenset[str]], list[int]] = defaultdict(list)
        for at in left:
            if self._bulk.can_say(writes[at]):
                shapes[writes[at].key.object, frozenset(writes[at].values)].append(at)
        many = [those for those in shapes.values() if len(those) >= self._bulk_from]
        return [those[begin : begin + MOST_ROWS] for those in many for begin in range(0, len(those), MOST_ROWS)]

    async def _sent(self, method: str, records: Sequence[_Json]) -> list[Outcome]:
        """One outcome for each record. A call that one record spoils did nothing, and is made anew in parts."""
        try:
            reply = await self._api.call(
                method, "composite/sobjects", headers=WRITING, json={"allOrNone": False, "records": records}
            )
        except Refused as fault:
            if fault.code not in _SPOILING:
                raise
            return await self._in_parts(method, records, fault)
        said = reply.json()
        if not isinstance(said, list) or len(said) != len(records):
            raise Unreachable("a call that wrote was not answered for each record")
        return [outcomes.of_result(one, record.get("id"), record) for one, record in zip(said, records, strict=True)]

    async def _in_parts(self, method: str, records: Sequence[_Json], fault: Refused) -> list[Outcome]:
        named = outcomes.fields_named(fault.reason)
        if len(records) == 1:
            return [outcomes.refused(fault, records[0].get("id"), named)]
        guilty = [at for at, record in enumerate(records) if set(named) & record.keys()]
        if guilty:
            rest = [record for at, record in enumerate(records) if at not in set(guilty)]
            done = iter(await self._sent(method, rest) if rest else ())
            own = {at: outcomes.refused(fault, records[at].get("id"), named) for at in guilty}
            return [own.get(at) or next(done) for at in range(len(records))]
        half = len(records) // 2
        return [*await self._sent(method, records[:half]), *await self._sent(method, records[half:])]


def _is_misfit(field: CrmField | None, value: Value) -> bool:
    if field is None or value is None or field.kind not in _TYPES:
        return False
    if field.kind is Kind.NUMBER:
        return isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    return not isinstance(value, _TYPES[field.kind])


def _record(write: Write) -> _Json:
    return {
        "attributes": {"type": write.key.object},
        "id": write.key.id,
        **{name: told(value) for name, value in write.values.items()},
    }


def _new(person: NewPerson) -> _Json:
    """With what Salesforce demands: a last name, and of a lead the company."""
    local, _, domain = person.email.rpartition("@")
    first, _, last = " ".join((person.name or "").split()).rpartition(" ")
    made: _Json = {"attributes": {"type": person.object}, "LastName": (last or local or person.email)[:_LONGEST_LAST]}
    if first:
        made["FirstName"] = first[:_LONGEST_FIRST]
    if person.object == LEAD:
        made["Company"] = domain or "Unknown"
    return made | {EMAIL: person.email} | {name: told(value) for name, value in person.values.items()}
