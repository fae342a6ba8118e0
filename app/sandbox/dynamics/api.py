"""Which call of the Web API is carried out by what."""

from collections import Counter
from typing import TypeVar

from app.sandbox.dynamics import batch
from app.sandbox.dynamics.actions import Actions
from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.limits import Limits
from app.sandbox.dynamics.many import Many
from app.sandbox.dynamics.metadata import Metadata
from app.sandbox.dynamics.org import MANY, Org
from app.sandbox.dynamics.paths import Segment, segments
from app.sandbox.dynamics.records import Records
from app.sandbox.dynamics.wire import Call, Refusal, Reply, no_segment, query_fault

Act = TypeVar("Act")
_PREFIX = "Microsoft.Dynamics.CRM."
_DEADLOCK = Refusal(
    "0x80044150", "Generic SQL error. Sql Number: 1205 Transaction was deadlocked on lock resources.", 500
)


class Api:
    def __init__(self, org: Org, limits: Limits) -> None:
        self.calls: Counter[str] = Counter()
        """By what is called, those inside of batches too: `GET contacts`, `PATCH contacts(*)`."""
        self.rows: Counter[str] = Counter()
        """Rows read and written, likewise."""
        self._org = org
        self._limits = limits
        self._records = Records(org)
        self._many = Many(org, self._records)
        self._actions = Actions(org, self._records)
        self._metadata = Metadata(org)

    def handle(self, call: Call) -> Reply:
        """Carry out a call; never raises."""
        is_detailed = "*" in (call.prefers("odata.include-annotations") or "")
        try:
            path = segments(call.path)
            name = f"{call.method} {'/'.join(one.name if one.key is None else f'{one.name}(*)' for one in path)}"
            self.calls[name] += 1
            reply = self._act(call, path)
        except Refusal as fault:
            return fault.reply(is_detailed=is_detailed)
        self.rows[name] += reply.rows
        return reply

    def _inner(self, call: Call) -> Reply:
        """An operation inside of a batch."""
        faults = self._org.faults
        match faults.fail_parts.pop(0) if faults.fail_parts else "":
            case "throttled":
                return self._limits.throttled().reply()
            case "deadlock":
                return _DEADLOCK.reply()
        return self.handle(call)

    def _act(self, call: Call, path: list[Segment]) -> Reply:
        first = path[0]
        match first.name:
            case "":
                self._only(call, "GET")
                sets = [
                    {"name": one.set_name, "kind": "EntitySet", "url": one.set_name}
                    for one in self._org.tables.values()
                    if self._org.is_there(one)
                ]
                return Reply(body={"@odata.context": f"{call.root}$metadata", "value": sets})
            case "$batch":
                self._only(call, "POST")
                return batch.run(call, self._records, self._inner, f"/{call.root.split('/', 3)[-1]}")
            case "WhoAmI":
                self._only(call, "GET")
                return self._actions.who_am_i(call)
            case "Merge":
                self._only(call, "POST")
                return self._actions.merge(call)
            case "EntityDefinitions":
                return self._metadata.handle(call, path)
        of = self._org.table(first.name)
        if first.key is None:
            return self._of_set(call, of, path[1:])
        return self._of_row(call, of, first, path[1:])

    def _of_set(self, call: Call, of: Table, rest: list[Segment]) -> Reply:
        if not rest:
            return self._by_method(call, {"GET": self._records.query, "POST": self._records.create})(call, of)
        message = rest[0].name.removeprefix(_PREFIX)
        if len(rest) == 1 and message in MANY and rest[0].name.startswith(_PREFIX):
            self._only(call, "POST")
            return self._many.act(call, of, message)
        if len(rest) == 1 and rest[0].name == "$count":
            self._only(call, "GET")
            return self._records.count(call, of)
        raise no_segment(rest[0].name)

    def _of_row(self, call: Call, of: Table, key: Segment, rest: list[Segment]) -> Reply:
        records = self._records
        if not rest:
            acts = {"GET": records.read, "PATCH": records.patch, "DELETE": records.delete}
            return self._by_method(call, acts)(call, of, key)
        name = rest[0].name
        if len(rest) == 1 and name == f"{_PREFIX}QualifyLead":
            self._only(call, "POST")
            return self._actions.qualify(call, of, key)
        if len(rest) == 1 and name in of.by_property:
            if call.method == "GET":
                return records.read_value(call, of, key, name)
            self._by_method(call, {"PUT": None, "DELETE": None})
            return records.write_value(call, of, key, name)
        raise no_segment(name)

    def _by_method(self, call: Call, acts: dict[str, Act]) -> Act:
        if call.method not in acts:
            message = f"The requested resource does not support http method '{call.method}'."
            raise query_fault(message, 405)
        return acts[call.method]

    def _only(self, call: Call, method: str) -> None:
        self._by_method(call, {method: None})
