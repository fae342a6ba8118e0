"""Writing contacts, a hundred in a call; opt-outs by a call each, before all else.

An id that is unknown is told beside those that were done; one value that cannot be, one address that is another's, or
one locked contact fails its whole batch: then that is parted. So values are looked at here first. The id of a contact
that was merged may answer as the survivor, and so did write to it: it is said to be gone. Source: models of HubSpot's
clients and recorded answers, October 2026; that a lock is told by 423 is of the documentation of errors.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from app.connectors.faults import Fault
from app.connectors.hubspot import fields as contact_fields
from app.connectors.hubspot.api import (
    CONTACTS,
    LOCKED,
    Api,
    Batch,
    Json,
    Problem,
    batch_of,
    parts,
    problem,
)
from app.connectors.hubspot.contacts import modified_at
from app.connectors.hubspot.fields import BOUNCED, EMAIL, FIRST_NAME, LAST_NAME, OPT_OUT, Fields, Listing
from app.connectors.hubspot.preferences import Preferences
from app.connectors.hubspot.values import Unfit
from app.connectors.pacing import side_by_side
from app.connectors.shapes import End, NewPerson, Outcome, Values, Write

_NOT_REACHED = Outcome(End.AGAIN, code="not_reached", reason="a call before it failed")
_UNKNOWN, _CONFLICT = "PROPERTY_DOESNT_EXIST", "CONFLICT"
_NAMED = (_UNKNOWN, "READ_ONLY_VALUE")
"""Whoever has the property is refused, whatever the value is."""
_PARTED = (400, 409, LOCKED)
_MOST_LOCKS = 24
"""Locked batches that are parted; then it is no single contact that is locked."""


class _Row(NamedTuple):
    """What is to be sent of a write, or of somebody new; `at` is its place."""

    at: int
    id: str | None
    said: dict[str, str]


class Writing:
    def __init__(self, api: Api, fields: Fields) -> None:
        self._api = api
        self._fields = fields
        self._preferences = Preferences(api)

    async def write(self, writes: Sequence[Write]) -> list[Outcome]:
        """Where a call fails after others were answered, the rest is to be done again: what is known is not lost."""
        attempt = _Attempt(self._api, self._fields, await self._listing([one.values for one in writes]))
        rows = [_Row(at, one.key.id, attempt.told(at, one)) for at, one in enumerate(writes)]
        known = [row for row in rows if row.at not in attempt.found]
        flags = {row.at: bool(writes[row.at].values[OPT_OUT]) for row in known if OPT_OUT in writes[row.at].values}
        try:
            await self._opt([row for row in known if row.at in flags], flags, attempt)
            for some in _batches([row for row in known if row.said and row.at not in attempt.found]):
                await attempt.update(some)
            await self._look([row for row in known if _is_doubtful(writes[row.at].values)], writes, attempt)
        except Fault:
            if not any(row.at in attempt.found for row in known):
                raise
        for row in known:
            if not writes[row.at].values:
                attempt.found[row.at] = Outcome(End.DONE, row.id, {})
        return [attempt.found.get(at, _NOT_REACHED._replace(id=one.key.id)) for at, one in enumerate(writes)]

    async def create(self, people: Sequence[NewPerson]) -> list[Outcome]:
        """As `write`. Whoever opts out does so before there is a contact to be mailed. A second one of an address
        waits: HubSpot has one contact for it."""
        attempt = _Attempt(self._api, self._fields, await self._listing([one.values for one in people]))
        rows = [_Row(at, None, attempt.told_new(at, one)) for at, one in enumerate(people)]
        known = [row for row in rows if row.at not in attempt.found]
        firsts = {row.said[EMAIL]: row for row in reversed(known)}
        known = [row for row in known if firsts[row.said[EMAIL]] is row]
        try:
            for row in known:
                if people[row.at].values.get(OPT_OUT):
                    refusal = await self._preferences.of_address(row.said[EMAIL], None, is_out=True)
                    if refusal is not None:
                        attempt.found[row.at] = refusal
            for some in parts([row for row in known if row.at not in attempt.found]):
                await attempt.create(some)
            await self._look([row for row in known if _is_doubtful(people[row.at].values)], people, attempt)
        except Fault:
            if not any(row.at in attempt.found for row in known):
                raise
        return [attempt.found.get(at, _NOT_REACHED) for at in range(len(people))]

    async def _opt(self, rows: Sequence[_Row], flags: Mapping[int, bool], attempt: "_Attempt") -> None:
        """Have them opt out and in, as far as they do not; whoever that is refused of is written nothing else."""
        there = await self._preferences.read([str(row.id) for row in rows])

        async def one(row: _Row) -> None:
            outcome = await self._preferences.say(str(row.id), there.get(str(row.id)), is_out=flags[row.at])
            if outcome is not None:
                attempt.found[row.at] = outcome

        await side_by_side(one, rows)

    async def _look(self, rows: Sequence[_Row], said: Sequence[Write | NewPerson], attempt: "_Attempt") -> None:
        """How the flags are by now: HubSpot may take its time, or know of a bounce of its own. Who had nothing else to
        be told is done; whoever cannot be looked at is to be done again."""
        before: dict[int, Outcome] = {}
        for row in rows:
            outcome = attempt.found.get(row.at)
            if outcome is None and not row.said and row.id is not None:
                before[row.at] = Outcome(End.DONE, row.id)
            elif outcome is not None and outcome.end is End.DONE:
                before[row.at] = attempt.found.pop(row.at)
        there = await self._preferences.read([str(one.id) for one in before.values()])
        for at, one in before.items():
            attempt.found[at] = attempt.seen(one, there.get(str(one.id)), said[at].values)

    async def _listing(self, written: Sequence[Values]) -> Listing:
        return await self._fields.knowing({name for one in written for name in one})


class _Attempt:
    """One call's outcomes, by place, as far as they are known."""

    def __init__(self, api: Api, fields: Fields, listing: Listing) -> None:
        self._api = api
        self._fields = fields
        self._listing = listing
        self._listed_anew: Listing | None = None
        self._locks = 0
        self.found: dict[int, Outcome] = {}

    def told(self, at: int, write: Write) -> dict[str, str]:
        if not (write.key.id.isascii() and write.key.id.isdigit()):
            self.found[at] = Outcome(End.GONE, write.key.id, code="no_id", reason="contacts have numbers")
            return {}
        return self._said(at, write.key.id, write.values)

    def told_new(self, at: int, person: NewPerson) -> dict[str, str]:
        first, _, last = " ".join((person.name or "").split()).rpartition(" ")
        names = {FIRST_NAME: first or last, LAST_NAME: last if first else ""}
        said = {name: value for name, value in self._said(at, None, person.values).items() if value}
        return {**{name: value for name, value in names.items() if value}, **said, EMAIL: person.email.strip().lower()}

    def _said(self, at: int, id_: str | None, written: Values) -> dict[str, str]:
        try:
            return contact_fields.told(written, self._listing)
        except Unfit as fault:
            reason = "there is no such property, it cannot be written, or it does not take this value"
            self.found[at] = Outcome(End.REFUSED, id_, code="unfit", reason=reason, fields=(fault.name,))
            return {}

    def seen(self, before: Outcome, there: Json | None, written: Values) -> Outcome:
        """An outcome with the flags as they were read afterwards."""
        if there is None:
            reason = "the contact is deleted, or merged into another"
            return Outcome(End.GONE, before.id, code="not_there", reason=reason)
        flags = contact_fields.read(there, {OPT_OUT, BOUNCED} & written.keys(), self._listing)
        # That nobody said anything is no.
        flags = {name: value or False for name, value in flags.items()}
        return before._replace(kept={**(before.kept or {}), **flags}, modified_at=modified_at(there))

    # --- calls --------------------------------------------------------------------------------------------------------

    async def update(self, rows: Sequence[_Row]) -> None:
        inputs = [{"id": row.id, "properties": row.said} for row in rows]
        done = await self._sent("update", rows, inputs, again=True)
        if done is None:
            return
        by_id = {row["id"]: row for row in sorted(done.rows, key=lambda row: str(row.get("updatedAt")))}
        told = {id_: one.problem for one in done.errors for id_ in one.ids}
        are_all_told = len(done.rows) + len(told) >= len(rows)
        for row in rows:
            if row.id in by_id:
                self.found[row.at] = self._done(by_id[row.id], row)
            elif row.id in told:
                self.found[row.at] = _failed(row, told[row.id])
            elif are_all_told:
                self.found[row.at] = Outcome(
                    End.GONE, row.id, code="merged", reason="another contact answers to its id"
                )

    async def create(self, rows: Sequence[_Row]) -> None:
        done = await self._sent("create", rows, [{"properties": row.said} for row in rows], again=False)
        if done is None:
            return
        by_address = {str(row["properties"].get(EMAIL)).lower(): row for row in done.rows}
        for row in rows:
            if row.said[EMAIL] in by_address:
                self.found[row.at] = self._done(by_address[row.said[EMAIL]], row)

    async def _sent(self, what: str, rows: Sequence[_Row], inputs: Sequence[Json], *, again: bool) -> Batch | None:
        """None if it was refused; by then it was made in parts, and they are noted."""
        path, said = f"{CONTACTS}/batch/{what}", {"inputs": list(inputs)}
        reply = await self._api.call("POST", path, again=again, takes_locks=True, json=said)
        if reply.is_success:
            return batch_of(reply)
        why = problem(reply)
        self._locks += reply.status == LOCKED
        if reply.status not in _PARTED:
            raise why.fault
        if reply.status == LOCKED and (len(rows) == 1 or self._locks > _MOST_LOCKS):
            self.found |= {row.at: Outcome(End.AGAIN, row.id, code=why.code, reason=why.reason) for row in rows}
        elif len(rows) == 1:
            self.found[rows[0].at] = await self._refused(rows[0], why)
        else:
            # What is there all the same or not, those who have it fail together.
            guilty = [row for row in rows if why.code in _NAMED and row.said.keys() & {*why.fields}]
            rest = [row for row in rows if row not in guilty]
            half = len(rows) // 2
            for row in guilty:
                self.found[row.at] = await self._refused(row, why)
            for some in [rest] if guilty else [rows[:half], rows[half:]]:
                if some:
                    await (self.update(some) if what == "update" else self.create(some))
        return None

    async def _refused(self, row: _Row, why: Problem) -> Outcome:
        if why.code == _UNKNOWN and self._listed_anew is None:
            self._listed_anew = await self._fields.listing(timedelta())
        if why.code == _UNKNOWN and why.fields and {*why.fields} <= (self._listed_anew or {}).keys():
            return Outcome(End.AGAIN, row.id, code=why.code, reason="the property is new: not everybody knows it yet")
        return _failed(row, why)

    def _done(self, there: Json, row: _Row) -> Outcome:
        return Outcome(End.DONE, there["id"], contact_fields.read(there, row.said, self._listing), modified_at(there))


def _failed(row: _Row, why: Problem) -> Outcome:
    named = tuple(name for name in why.fields if name in row.said)
    if why.code == "OBJECT_NOT_FOUND" and row.id is not None:
        return Outcome(End.GONE, row.id, code=why.code, reason=why.reason)
    # Somebody has the new one's address: they are found the next time.
    is_again = why.code in ("LOCKED", "RATE_LIMITS") or (why.code == _CONFLICT and row.id is None)
    end = End.AGAIN if is_again else End.REFUSED
    fields = named or ((EMAIL,) if why.code == _CONFLICT and EMAIL in row.said else ())
    return Outcome(end, row.id, code=why.code, reason=why.reason, fields=fields if end is End.REFUSED else ())


def _is_doubtful(written: Values) -> bool:
    """Whether what is there afterwards may be otherwise."""
    return OPT_OUT in written or (BOUNCED in written and not written[BOUNCED])


def _batches(rows: Sequence[_Row]) -> list[Sequence[_Row]]:
    """Of a hundred; no contact twice in one."""
    rounds: list[list[_Row]] = []
    times: dict[str | None, int] = {}
    for row in rows:
        times[row.id] = times.get(row.id, -1) + 1
        if times[row.id] == len(rounds):
            rounds.append([])
        rounds[times[row.id]].append(row)
    return [some for one in rounds for some in parts(one)]
