"""Which call of the REST API is carried out by what."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from app.sandbox.salesforce import composite
from app.sandbox.salesforce.bulk import Bulk
from app.sandbox.salesforce.bulk_queries import BulkQueries
from app.sandbox.salesforce.login import identity
from app.sandbox.salesforce.many import Many
from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.queries import Queries
from app.sandbox.salesforce.records import Records
from app.sandbox.salesforce.tooling import Tooling
from app.sandbox.salesforce.wire import Call, Json, Refusal, Reply, not_found

_JSON_METHODS = ("POST", "PATCH")
_LONGEST_URL = 16_384


@dataclass(frozen=True)
class _Route:
    method: str
    path: str
    """A star stands for any one part. Of several that fit the first counts."""
    act: Callable[[Call], Reply]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}".strip()

    def fits(self, parts: tuple[str, ...]) -> bool:
        own = self.path.lower().split("/") if self.path else []
        return len(own) == len(parts) and all(a in ("*", b.lower()) for a, b in zip(own, parts, strict=True))


class Api:
    def __init__(self, org: Org) -> None:
        self.calls: Counter[str] = Counter()
        """By route, those inside of composite calls too."""
        self.rows: Counter[str] = Counter()
        """Records read and written, by route."""
        self.most_rows: dict[str, int] = {}
        """In one call, by route."""
        self.used: int = 0
        """Calls since the day began that the limit counts."""
        self._org = org
        records, many, queries = Records(org), Many(org), Queries(org)
        bulk, bulk_queries, tooling = Bulk(org), BulkQueries(org), Tooling(org)
        table: list[tuple[str, Callable[[Call], Reply]]] = [
            ("GET ", self._resources),
            ("GET limits", self._limits),
            ("GET query", queries.query),
            ("GET query/*", queries.query),
            ("GET queryAll", queries.query),
            ("GET queryAll/*", queries.query),
            ("GET sobjects", records.list_objects),
            ("GET sobjects/*", records.about),
            ("POST sobjects/*", records.create),
            ("GET sobjects/*/describe", records.describe),
            ("GET sobjects/*/updated", records.updated),
            ("GET sobjects/*/deleted", records.deleted),
            ("GET sobjects/*/*", records.read),
            ("PATCH sobjects/*/*", records.update),
            ("DELETE sobjects/*/*", records.delete),
            ("GET sobjects/*/*/*", records.read_by),
            ("PATCH sobjects/*/*/*", records.upsert),
            ("DELETE sobjects/*/*/*", records.delete_by),
            ("POST composite", lambda call: composite.composite(org, call, self._inner)),
            ("POST composite/batch", lambda call: composite.batch(call, self._inner)),
            ("POST composite/graph", lambda call: composite.graph(org, call, self._inner)),
            ("POST composite/sobjects", many.create),
            ("PATCH composite/sobjects", many.update),
            ("DELETE composite/sobjects", many.delete),
            ("GET composite/sobjects/*", many.read),
            ("POST composite/sobjects/*", many.read),
            ("PATCH composite/sobjects/*/*", many.upsert),
            ("GET jobs/ingest", bulk.list_jobs),
            ("POST jobs/ingest", bulk.create),
            ("GET jobs/ingest/*", bulk.poll),
            ("PATCH jobs/ingest/*", bulk.change),
            ("DELETE jobs/ingest/*", bulk.delete),
            ("PUT jobs/ingest/*/batches", bulk.upload),
            ("GET jobs/ingest/*/successfulResults", bulk.results),
            ("GET jobs/ingest/*/failedResults", bulk.results),
            ("GET jobs/ingest/*/unprocessedrecords", bulk.results),
            ("GET jobs/query", bulk_queries.list_jobs),
            ("POST jobs/query", bulk_queries.create),
            ("GET jobs/query/*", bulk_queries.poll),
            ("PATCH jobs/query/*", bulk_queries.change),
            ("DELETE jobs/query/*", bulk_queries.delete),
            ("GET jobs/query/*/results", bulk_queries.results),
            ("GET tooling/query", lambda call: queries.query(call, tooling=True)),
            ("GET tooling/query/*", lambda call: queries.query(call, tooling=True)),
            ("POST tooling/sobjects/CustomField", tooling.create),
            ("GET tooling/sobjects/CustomField/*", tooling.read),
        ]
        self._routes = [_Route(method, path, act) for name, act in table for method, path in [name.split(" ", 1)]]

    def handle(self, call: Call) -> Reply:
        """Carry out a call; never raises."""
        try:
            route = self._route(call)
            self.calls[route.name] += 1
            self._check(call, route)
            reply = route.act(call)
        except Refusal as fault:
            return fault.as_call()
        self.rows[route.name] += reply.rows
        self.most_rows[route.name] = max(reply.rows, self.most_rows.get(route.name, 0))
        return reply

    def _inner(self, call: Call) -> Reply:
        """A call inside of another, which cannot hold all kinds."""
        if call.parts[:1] in (("composite",), ("jobs",)) and call.parts[1:2] != ("sobjects",):
            return Refusal("INVALID_INPUT", "this call cannot be part of another").as_call()
        return self.handle(call)

    def _route(self, call: Call) -> _Route:
        fitting = [route for route in self._routes if route.fits(call.parts)]
        if not fitting:
            raise not_found()
        found = next((route for route in fitting if route.method == call.method), None)
        if found is None:
            allowed = ",".join(dict.fromkeys(route.method for route in fitting))
            message = f"HTTP Method '{call.method}' not allowed. Allowed are {allowed}"
            raise Refusal("METHOD_NOT_ALLOWED", message, status=405)
        return found

    def _check(self, call: Call, route: _Route) -> None:
        said = call.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if route.method in _JSON_METHODS and said != "application/json":
            raise Refusal("UNSUPPORTED_MEDIA_TYPE", f"Content-Type is not supported: {said}", status=415)
        if len(call.query.get("q", "")) + len(call.query.get("ids", "")) > _LONGEST_URL:
            raise Refusal("URI_TOO_LONG", "the address is too long", status=414)

    def _resources(self, call: Call) -> Reply:
        names = ("sobjects", "query", "queryAll", "limits", "composite", "tooling", "jobs")
        return Reply(body={name: call.url(name) for name in names} | {"identity": identity("", call.user_id)})

    def _limits(self, call: Call) -> Reply:  # noqa: ARG002 - as all the others
        def limit(most: int, used: int = 0) -> Json:
            return {"Max": most, "Remaining": max(0, most - used)}

        body = {
            "DailyApiRequests": limit(self._org.faults.daily_limit, self.used),
            "DailyBulkV2QueryJobs": limit(10_000, self.calls["POST jobs/query"]),
            "DailyBulkV2QueryFileStorageMB": limit(976_562),
            "DailyBulkApiBatches": limit(15_000),
            "DataStorageMB": limit(1_024),
            "FileStorageMB": limit(1_024),
        }
        return Reply(body=body)
