"""CreateMultiple, UpdateMultiple and UpsertMultiple: all rows, or none. Source: "Use bulk operation messages"."""

from collections.abc import Callable

from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.org import MANY, Org
from app.sandbox.dynamics.paths import segments
from app.sandbox.dynamics.records import Records
from app.sandbox.dynamics.wire import (
    NO_SUCH_ROW,
    Call,
    Json,
    Refusal,
    Reply,
    guid,
    no_property,
    payload_fault,
    query_fault,
)
from app.sandbox.dynamics.writing import Transaction

_PREFIX = "Microsoft.Dynamics.CRM."


class Many:
    def __init__(self, org: Org, records: Records) -> None:
        self._org = org
        self._records = records

    def act(self, call: Call, of: Table, message: str) -> Reply:
        acts: dict[str, Callable[[Call, Table, list[Json], Transaction], Reply]] = {
            "CreateMultiple": self._create, "UpdateMultiple": self._update, "UpsertMultiple": self._upsert,
        }  # fmt: skip
        assert set(acts) == set(MANY)
        if not of.takes_many or of.name in self._org.faults.no_multiple:
            raise Refusal("0x80040800", f"The '{message}' method does not support entities of type '{of.name}'.")
        targets = self._targets(call, of)
        with self._records.transaction(call) as transaction:
            return acts[message](call, of, targets, transaction)

    def _create(self, call: Call, of: Table, targets: list[Json], transaction: Transaction) -> Reply:
        ids = [transaction.create(of, one) for one in targets]
        body = {"@odata.context": f"{call.root}$metadata#{_PREFIX}CreateMultipleResponse", "Ids": ids}
        return Reply(body=body, rows=len(ids))

    def _update(self, call: Call, of: Table, targets: list[Json], transaction: Transaction) -> Reply:  # noqa: ARG002 - as the others
        by_id: dict[str, Json] = {}
        for one in targets:
            id_ = guid(one.get(of.primary_id))
            if id_ is None:
                raise no_property(of.primary_id, of.name)
            if id_ in by_id:
                raise Refusal("0x80040237", "Cannot insert duplicate key.")
            by_id[id_] = {name: value for name, value in one.items() if name != of.primary_id}
        rows = self._org.rows(of.name).by_id
        absent = [id_ for id_ in by_id if id_ not in rows]
        if absent:
            raise Refusal(NO_SUCH_ROW, f"{of.label} With Ids = {','.join(absent)} Do Not Exist", 404)
        for id_, body in by_id.items():
            transaction.update(of, id_, body)
        return Reply(204, rows=len(by_id))

    def _upsert(self, call: Call, of: Table, targets: list[Json], transaction: Transaction) -> Reply:
        for one in targets:
            address = one.get("@odata.id", f"{of.set_name}({one.get(of.primary_id)})")
            found = segments(str(address).removeprefix(call.root))
            if len(found) != 1 or found[0].name != of.set_name:
                raise payload_fault(f"'{address}' is not the address of a row of '{of.set_name}'.")
            self._records.upsert(transaction, of, found[0], one)
        return Reply(204, rows=len(targets))

    def _targets(self, call: Call, of: Table) -> list[Json]:
        targets = call.object().get("Targets")
        if not isinstance(targets, list) or not targets or not all(isinstance(one, dict) for one in targets):
            raise payload_fault("'Targets' is a collection of entities.")
        for one in targets:
            said = str(one.get("@odata.type", "")).removeprefix("#")
            if said != f"{_PREFIX}{of.name}":
                raise query_fault(f"Each of 'Targets' has the '@odata.type' '{_PREFIX}{of.name}', and not '{said}'.")
        return targets
