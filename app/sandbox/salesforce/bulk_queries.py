"""Bulk API 2.0, query: jobs that read many records as CSV. Source: Salesforce's Bulk API 2.0 guide."""

import base64
import binascii
from dataclasses import dataclass, field
from itertools import islice

from app.sandbox.salesforce import csvs, jobs, queries, soql
from app.sandbox.salesforce.jobs import Job, Jobs
from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.paths import Path, reader
from app.sandbox.salesforce.wire import Call, Refusal, Reply, Row

_OPERATIONS = {"query": "", "queryAll": ""}
_LARGEST_PAGE = 250_000


@dataclass
class Reading(Job):
    query: str = ""
    polls: int = 0
    """How often it was asked for its state."""
    rows: list[Row] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)


class BulkQueries:
    def __init__(self, org: Org) -> None:
        self._org = org
        self._jobs = Jobs(org)

    def create(self, call: Call) -> Reply:
        body = call.object()
        operation = jobs.choice(body, "operation", _OPERATIONS, "")
        text = body.get("query")
        if not isinstance(text, str):
            raise Refusal("INVALIDJOB", "query is a text")
        query = soql.parse(text)
        if not query.columns:
            raise Refusal("FEATURENOTENABLED", "Aggregates are not supported in bulk queries")
        of = self._org.object(query.object.path)
        if of is None:
            what = f"sObject type '{query.object.path}' is not supported."
            raise soql.fault(text, query.object.at, "INVALID_TYPE", what)
        delimiter, ending = jobs.shape(body)
        now = self._org.now()
        job = Reading(
            self._org.new_id("750"), "query", operation, of.name, call.user_id, call.version, jobs.UPLOADED, now, now,
            delimiter, ending, query=text,
        )  # fmt: skip
        # What the query would be refused for is told at once.
        found = queries.run(self._org, text, with_deleted=operation == "queryAll")
        job.rows, job.paths = found.rows, found.paths
        self._jobs.add(job)
        return Reply(body=job.as_json())

    def list_jobs(self, call: Call) -> Reply:  # noqa: ARG002 - as all the others
        told = [job.as_json() | {"jobType": "V2Query"} for job in self._jobs.kept.values()]
        return Reply(body={"done": True, "records": told, "nextRecordsUrl": None})

    def poll(self, call: Call) -> Reply:
        job = self._find(call)
        if not self._org.faults.bulk_stalls and job.state not in jobs.ENDED:
            job.polls += 1
            is_done = job.polls > self._org.faults.bulk_polls
            job.processed = len(job.rows) if is_done else 0
            job.to(jobs.DONE if is_done else jobs.RUNNING, self._org.now())
        return Reply(body=job.as_json() | {"jobType": "V2Query"} | job.as_polled())

    def change(self, call: Call) -> Reply:
        job = self._find(call)
        if call.object().get("state") != jobs.ABORTED:
            raise Refusal("INVALIDJOB", "state is Aborted")
        if job.state in jobs.ENDED:
            raise Refusal("INVALIDJOBSTATE", f"cannot abort: the job is {job.state}")
        job.to(jobs.ABORTED, self._org.now())
        return Reply(body=job.as_json())

    def delete(self, call: Call) -> Reply:
        job = self._find(call)
        if job.state not in jobs.ENDED:
            raise Refusal("INVALIDJOBSTATE", f"cannot delete: the job is {job.state}")
        del self._jobs.kept[job.id]
        return Reply(204)

    def results(self, call: Call) -> Reply:
        job = self._find(call)
        if job.state != jobs.DONE:
            raise Refusal("INVALIDJOBSTATE", f"no results: the job is {job.state}")
        at, size = _place(call.query.get("locator")), _page_size(call.query.get("maxRecords"))
        if self._org.faults.page_rows > 0:
            size = min(size, self._org.faults.page_rows)
        if self._org.faults.locators_null:
            size = len(job.rows)
        reads = [reader(self._org, path) for path in job.paths]
        lines = [csvs.line([path.name for path in job.paths], job.delimiter, job.ending)]
        page = list(islice(job.rows, at, at + size))
        lines += (csvs.line([read(row) for read in reads], job.delimiter, job.ending) for row in page)
        end = at + len(page)
        locator = base64.b64encode(str(end).encode()).decode() if end < len(job.rows) else "null"
        headers = {"Content-Type": "text/csv", "Sforce-Locator": locator, "Sforce-NumberOfRecords": str(len(page))}
        return Reply(body="".join(lines).encode(), headers=headers, rows=len(page))

    def _find(self, call: Call) -> Reading:
        job = self._jobs.find(call)
        assert isinstance(job, Reading)
        return job


def _place(locator: str | None) -> int:
    if locator is None:
        return 0
    try:
        number = base64.b64decode(locator, validate=True).decode()
    except (binascii.Error, ValueError):
        number = ""
    if not number.isdecimal() or len(number) > 12:
        raise Refusal("INVALID_QUERY_LOCATOR", "invalid query locator")
    return int(number)


def _page_size(said: str | None) -> int:
    if said is None:
        return _LARGEST_PAGE
    if not said.isdecimal() or len(said) > 9 or int(said) < 1:
        raise Refusal("INVALID_INPUT", "maxRecords is a whole number from 1 up")
    return min(int(said), _LARGEST_PAGE)
