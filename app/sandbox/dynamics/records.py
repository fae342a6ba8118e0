"""The calls for rows: query, read, create, change, upsert, delete. Source: the pages on table row operations."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from app.sandbox.dynamics import conditions, expanding, queries
from app.sandbox.dynamics import values as checks
from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.cookies import Cookies
from app.sandbox.dynamics.odata import Literal
from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.paths import Segment
from app.sandbox.dynamics.queries import Queries
from app.sandbox.dynamics.showing import etag, shower
from app.sandbox.dynamics.tracking import Tracking
from app.sandbox.dynamics.wire import (
    Call,
    Json,
    Refusal,
    Reply,
    Row,
    guid,
    no_property,
    no_row,
    query_fault,
)
from app.sandbox.dynamics.writing import Transaction

_BYPASSES = ("mscrm.bypassbusinesslogicexecution", "mscrm.bypasscustompluginexecution")
_KEY_TAKEN = "A record with matching key values already exists."


class Records:
    def __init__(self, org: Org) -> None:
        self._org = org
        cookies = Cookies(org.faults)
        self._queries = Queries(org, cookies)
        self._tracking = Tracking(org, cookies)

    def query(self, call: Call, of: Table) -> Reply:
        self._org.check(call.user_id, "Read", of)
        if self._tracking.is_asked(call):
            return self._tracking.rows(call, of)
        return self._queries.rows(call, of)

    def count(self, call: Call, of: Table) -> Reply:
        """`contacts/$count`."""
        self._org.check(call.user_id, "Read", of)
        options = queries.check_options(call)
        number = self._tracking.count(call, of)
        if number is None:
            number = self._queries.count(queries.parsed(of, options))
        return Reply(body=str(min(number, queries.MOST_ROWS)).encode(), headers={"Content-Type": "text/plain"})

    def read(self, call: Call, of: Table, key: Segment) -> Reply:
        self._org.check(call.user_id, "Read", of)
        row = self._row(of, key)
        if call.headers.get("if-none-match", "") == etag(row):
            return Reply(304)
        return Reply(body=self._shown(call, of, row), headers={"ETag": etag(row)}, rows=1)

    def read_value(self, call: Call, of: Table, key: Segment, name: str) -> Reply:
        """One column of a row."""
        self._org.check(call.user_id, "Read", of)
        row = self._row(of, key)
        value = self._org.read(of, conditions.property_of(of, name), row)
        if value is None:
            return Reply(204, rows=1)
        context = f"{call.root}$metadata#{of.set_name}({row[of.primary_id]})/{name}"
        return Reply(body={"@odata.context": context, "value": value}, rows=1)

    def write_value(self, call: Call, of: Table, key: Segment, name: str) -> Reply:
        """PUT or DELETE of one column of a row."""
        if name not in of.by_property:
            raise no_property(name, of.name)
        value = call.object().get("value") if call.method == "PUT" else None
        with self.transaction(call) as transaction:
            transaction.update(of, str(self._row(of, key)[of.primary_id]), {name: value})
        return Reply(204, rows=1)

    def create(self, call: Call, of: Table) -> Reply:
        with self.transaction(call) as transaction:
            id_ = transaction.create(of, call.object())
            return self._written(call, of, id_, created=True)

    def patch(self, call: Call, of: Table, key: Segment) -> Reply:
        """Changes a row. One that is not there is made, unless `If-Match` says otherwise."""
        self._org.check(call.user_id, "Write", of)
        body = call.object()
        match, none_match = call.headers.get("if-match"), call.headers.get("if-none-match")
        found = self._found(of, key)
        with self.transaction(call) as transaction:
            if found is None and match is None:
                id_ = transaction.create(of, {**self._keys(of, key), **body}, guid(key.key))
                return self._written(call, of, id_, created=True)
            if found is None:
                raise no_row(of.name, key.text, "")
            if none_match == "*":
                raise Refusal("0x80060892", _KEY_TAKEN, 412)
            id_ = str(found[of.primary_id])
            transaction.update(of, id_, body, etag=match if match not in (None, "*") else None)
            return self._written(call, of, id_, created=False)

    def delete(self, call: Call, of: Table, key: Segment) -> Reply:
        match = call.headers.get("if-match")
        row = self._row(of, key)
        with self.transaction(call) as transaction:
            transaction.delete(of, str(row[of.primary_id]), etag=match if match not in (None, "*") else None)
        return Reply(204, rows=1)

    def upsert(self, transaction: Transaction, of: Table, key: Segment, body: Json) -> None:
        """As `patch` does without conditions."""
        found = self._found(of, key)
        if found is None:
            transaction.create(of, {**self._keys(of, key), **body}, guid(key.key))
        else:
            transaction.update(of, str(found[of.primary_id]), body)

    @contextmanager
    def transaction(self, call: Call) -> Iterator[Transaction]:
        """That of the change set, or one that ends with this."""
        if call.transaction is not None:
            yield call.transaction
            return
        made = self.new_transaction(call)
        try:
            yield made
        except Refusal:
            made.undo()
            raise
        made.commit()

    def new_transaction(self, call: Call) -> Transaction:
        """Raises Refusal if it is to pass by plug-ins, and the user may not."""
        finds = call.headers.get("mscrm.suppressduplicatedetection", "").lower() == "false"
        bypasses = any(name in call.headers for name in _BYPASSES)
        if bypasses:
            self._org.check_privilege(call.user_id, "prvBypassCustomBusinessLogic", "organization")
        return Transaction(
            self._org, call.user_id, root=call.root, tag=call.query.get("tag"), finds_duplicates=finds,
            passes_plugins=bypasses,
        )  # fmt: skip

    # --- parts --------------------------------------------------------------------------------------------------------

    def _found(self, of: Table, key: Segment) -> Row | None:
        """The row that a key names. Raises Refusal for what is no key."""
        rows = self._org.rows(of.name)
        id_ = guid(key.key)
        if id_ is not None:
            return rows.by_id.get(id_)
        wanted = self._keys(of, key)
        first = next(iter(wanted))
        if first == of.primary_id:
            return rows.by_id.get(wanted[first])
        for one in rows.having(first, wanted[first]):
            if all(rows.by_id[one].get(name) == value for name, value in wanted.items()):
                return rows.by_id[one]
        return None

    def _keys(self, of: Table, key: Segment) -> Row:
        """The values of an alternate key. Raises Refusal if there is no such key."""
        if guid(key.key) is not None:
            return {}
        if not isinstance(key.key, dict):
            raise query_fault(f"Bad Request - Error in query syntax: '{key.text}' is not a key.")
        names = set(key.key)
        is_active = not self._org.faults.keys_wait
        if names != {of.primary_id} and not any(names == set(one.columns) and is_active for one in of.keys.values()):
            raise query_fault(f"The specified key properties '{','.join(key.key)}' are not a key of '{of.name}'.")
        return {name: checks.kept(of, of.columns[name], _plain(value)) for name, value in key.key.items()}

    def _row(self, of: Table, key: Segment) -> Row:
        row = self._found(of, key)
        if row is None:
            raise no_row(of.name, key.text)
        return row

    def _written(self, call: Call, of: Table, id_: str, *, created: bool) -> Reply:
        headers = {"OData-EntityId": f"{call.root}{of.set_name}({id_})"}
        if call.prefers("return") != "representation":
            return Reply(204, headers=headers, rows=1)
        row = self._org.rows(of.name).by_id[id_]
        headers |= {"Preference-Applied": "return=representation", "ETag": etag(row)}
        return Reply(201 if created else 200, self._shown(call, of, row), headers, rows=1)

    def _shown(self, call: Call, of: Table, row: Row) -> Json:
        options = queries.check_options(call)
        annotations = call.prefers("odata.include-annotations")
        branches = expanding.parsed(self._org, of, options, annotations)
        columns = conditions.selected(of, options)
        names = "" if columns is None else f"({','.join(column.property for column in columns)})"
        shown = shower(self._org, of, columns, annotations)(row)
        context = {"@odata.context": f"{call.root}$metadata#{of.set_name}{names}/$entity"}
        return {**context, **expanding.expanded(shown, row, branches)}


def _plain(value: Literal) -> Any:  # Any: JSON
    """A key's literal as JSON has it."""
    return orjson.loads(value.text) if value.kind in ("number", "boolean") else value.text
