"""Bulk API 2.0, ingest: jobs that write many records from CSV. Source: Salesforce's Bulk API 2.0 guide."""

import asyncio
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from app.sandbox.salesforce import checks, csvs, jobs
from app.sandbox.salesforce.fields import Field, Object
from app.sandbox.salesforce.jobs import Job, Jobs
from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.wire import Call, Json, Refusal, Reply, long_id
from app.sandbox.salesforce.writing import Ambiguous, Transaction

_OPERATIONS = {"insert": "", "update": "", "upsert": "", "delete": ""}
_LARGEST = 150_000_000
# So many records share a transaction, and with it an instant.
_CHUNK = 200
_NULL = "#N/A"


@dataclass
class Ingest(Job):
    by: str = ""
    """The external id of an upsert."""
    content: bytes | None = None
    heading: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    """Lines of CSV, as the results have them; so are the other two."""
    bad: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What was not tried."""

    def line(self, *cells: Any) -> str:  # Any: JSON
        return csvs.line(cells, self.delimiter, self.ending)


class Bulk:
    def __init__(self, org: Org) -> None:
        self._org = org
        self._jobs = Jobs(org)

    def create(self, call: Call) -> Reply:
        body = call.object()
        operation = jobs.choice(body, "operation", _OPERATIONS, "")
        named = body.get("object")
        of = self._org.object(named) if isinstance(named, str) else None
        if of is None:
            raise Refusal("INVALIDENTITY", f"Unable to find object: {named}")
        delimiter, ending = jobs.shape(body)
        by = body.get("externalIdFieldName", "")
        if operation == "upsert":
            found = self._org.field(of, by) if isinstance(by, str) else None
            if found is None or not (found.external_id or found.type == "id"):
                raise Refusal("INVALIDJOB", "externalIdFieldName is an external id of the object")
            by = found.name
        now = self._org.now()
        job = Ingest(
            self._org.new_id("750"), "ingest", operation, of.name, call.user_id, call.version, jobs.OPEN, now, now,
            delimiter, ending, by=by if operation == "upsert" else "",
        )  # fmt: skip
        self._jobs.add(job)
        return Reply(body=_told(job))

    def list_jobs(self, call: Call) -> Reply:  # noqa: ARG002 - as all the others
        return Reply(body={"done": True, "records": [_told(job) for job in self._all()], "nextRecordsUrl": None})

    def upload(self, call: Call) -> Reply:
        job = self._find(call)
        if job.state != jobs.OPEN or job.content is not None:
            raise Refusal("INVALIDJOBSTATE", f"cannot upload: the job is {job.state}, or its data is there")
        if not call.headers.get("content-type", "").lower().startswith("text/csv"):
            raise Refusal("INVALID_CONTENT_TYPE", "the data of a job is text/csv", status=415)
        if len(call.body) > _LARGEST:
            raise Refusal("EXCEEDED_MAX_SIZE", f"the data of a job is {_LARGEST} bytes at most")
        job.content = call.body
        return Reply(201)

    def change(self, call: Call) -> Reply:
        """Close the job, so that its work begins; or end it."""
        job = self._find(call)
        state = call.object().get("state")
        if state == jobs.ABORTED and job.state not in jobs.ENDED:
            job.to(jobs.ABORTED, self._org.now())
            return Reply(body=_told(job))
        if state != jobs.UPLOADED:
            raise Refusal("INVALIDJOB", "state is UploadComplete or Aborted")
        if job.state != jobs.OPEN or job.content is None:
            raise Refusal("INVALIDJOBSTATE", f"cannot close: the job is {job.state}, or has no data")
        job.to(jobs.UPLOADED, self._org.now())
        return Reply(body=_told(job), afterwards=lambda: self._run(job))

    def poll(self, call: Call) -> Reply:
        job = self._find(call)
        more = {
            "numberRecordsFailed": job.failed, "apexProcessingTime": 0, "apiActiveProcessingTime": 0,
        }  # fmt: skip
        return Reply(body=_told(job) | job.as_polled() | more)

    def delete(self, call: Call) -> Reply:
        job = self._find(call)
        if job.state not in jobs.ENDED:
            raise Refusal("INVALIDJOBSTATE", f"cannot delete: the job is {job.state}")
        del self._jobs.kept[job.id]
        return Reply(204)

    def results(self, call: Call) -> Reply:
        """The three files of a job, by the last part of the address, in any case."""
        job = self._find(call)
        which = call.parts[3].lower()
        heading, lines = {
            "successfulresults": (("sf__Id", "sf__Created"), job.good),
            "failedresults": (("sf__Id", "sf__Error"), job.bad),
        }.get(which, ((), job.left))
        text = job.line(*heading, *job.heading) + "".join(lines)
        return Reply(body=text.encode(), headers={"Content-Type": "text/csv"})

    # --- parts --------------------------------------------------------------------------------------------------------

    def _all(self) -> list[Ingest]:
        return [job for job in self._jobs.kept.values() if isinstance(job, Ingest)]

    def _find(self, call: Call) -> Ingest:
        job = self._jobs.find(call)
        assert isinstance(job, Ingest)
        return job

    async def _run(self, job: Ingest) -> None:
        """The job's work, in pieces, so that other calls are answered between them."""
        while self._org.faults.bulk_stalls and job.state == jobs.UPLOADED:  # noqa: ASYNC110 - a switch tells nobody
            await asyncio.sleep(0.05)
        if job.state != jobs.UPLOADED:
            return
        job.to(jobs.RUNNING, self._org.now())
        of = self._org.objects[job.object.lower()]
        try:
            lines = csvs.read(job.content or b"", job.delimiter)
            job.heading = next(lines, [])
            fields = self._heading(of, job)
            while job.state == jobs.RUNNING and (chunk := list(islice(lines, _CHUNK))):
                self._write(of, job, fields, chunk)
                await asyncio.sleep(0)
                if job.state == jobs.FAILED:
                    job.left += (job.line(*cells) for cells in lines)
        except Refusal as fault:
            job.error = f"{fault.code} : {fault.message}"
            job.to(jobs.FAILED, self._org.now())
        job.content = None
        if job.state == jobs.RUNNING:
            job.to(jobs.DONE, self._org.now())

    def _heading(self, of: Object, job: Ingest) -> list[Field]:
        """Raises Refusal: InvalidBatch, which ends the job."""
        fields = [self._org.field(of, name.strip()) for name in job.heading]
        for name, found in zip(job.heading, fields, strict=True):
            if found is None:
                raise Refusal("InvalidBatch", f"Field name not found : {name}")
        known = [found for found in fields if found is not None]
        names = [found.name for found in known]
        needed = {"insert": "", "upsert": job.by}.get(job.operation, "Id")
        if not names or len(set(names)) < len(names) or (needed and needed not in names):
            raise Refusal("InvalidBatch", f"The heading names each field once, and {needed or 'some field'}")
        if job.operation == "delete" and names != ["Id"]:
            raise Refusal("InvalidBatch", "Deletes take the field Id alone")
        return known

    def _write(self, of: Object, job: Ingest, fields: list[Field], chunk: list[list[str]]) -> None:
        faults = self._org.faults
        transaction = Transaction(self._org, job.user_id)
        for at, cells in enumerate(chunk):
            if 0 < faults.bulk_fails_after <= job.processed:
                job.error = "InternalServerError : the batch took too long, 20 times"
                job.left += (job.line(*rest) for rest in chunk[at:])
                job.to(jobs.FAILED, self._org.now())
                break
            job.processed += 1
            try:
                id_, created = self._write_one(transaction, of, job, fields, cells)
                job.good.append(job.line(id_, created, *cells))
            except Refusal as fault:
                job.failed += 1
                id_ = "" if job.operation == "insert" else _id_in(fields, cells)
                job.bad.append(job.line(id_, fault.as_cell(), *cells))
        transaction.commit()

    def _write_one(
        self, transaction: Transaction, of: Object, job: Ingest, fields: list[Field], cells: list[str]
    ) -> tuple[str, bool]:
        if len(cells) != len(fields):
            raise Refusal("INVALID_INPUT", f"there are {len(cells)} cells below {len(fields)} names", fields=[])
        # An empty cell leaves the field as it is.
        values: Json = {one.name: cell for one, cell in zip(fields, cells, strict=True) if cell != ""}
        if job.operation == "insert":
            return transaction.create(of, values, read_cell), True
        if job.operation == "upsert":
            try:
                return transaction.upsert(of, of.fields[job.by.lower()], values, read_cell)
            except Ambiguous as several:
                raise several.as_refusal() from None
        id_ = long_id(values.pop("Id", ""))
        if id_ is None:
            raise Refusal("MALFORMED_ID", "Id is missing or malformed", fields=["Id"])
        if job.operation == "update":
            transaction.update(of, id_, values, read_cell)
        else:
            transaction.delete(of, id_)
        return id_, False


def read_cell(field: Field, cell: str) -> Any:  # Any: JSON
    return checks.from_json(field, None) if cell == _NULL else checks.from_cell(field, cell)


def _id_in(fields: list[Field], cells: list[str]) -> str:
    return next((long_id(cell) or "" for one, cell in zip(fields, cells, strict=False) if one.type == "id"), "")


def _told(job: Ingest) -> Json:
    made = job.as_json() | {
        "jobType": "V2Ingest",
        "contentUrl": f"services/data/v{job.version}/jobs/ingest/{job.id}/batches",
    }
    return made | ({"externalIdFieldName": job.by} if job.by else {})
