"""Bulk API 2.0, ingest: thousands of records of one shape written by one job.

A job ends as complete though some of its rows failed, or as failed with rows that were not tried; what became of a row
is told in three files, and found by its Id. Source: Salesforce's Bulk API 2.0 guide.
"""

import asyncio
import contextlib
import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.connectors.faults import Fault, Refused, Unreachable
from app.connectors.salesforce import outcomes
from app.connectors.salesforce.api import WRITING, Api
from app.connectors.salesforce.values import told, without_data
from app.connectors.shapes import End, Outcome, Value, Write

MOST_ROWS = 10_000
"""Salesforce works through so many at a time."""
_NULL = "#N/A"
_DONE, _FAILED, _ABORTED = "JobComplete", "Failed", "Aborted"
_ENDED = {_DONE, _FAILED, _ABORTED}
_MALFORMED = "InvalidBatch"
# Seconds between polls; each is a request. The last is repeated.
_WAITS = (0.2, 0.5, 1, 2, 5, 10, 20, 30)
_NOT_TRIED = Outcome(End.AGAIN, code="UNPROCESSED", reason="the bulk job ended before it")

_Job = Mapping[str, Any]  # Any: JSON


class Bulk:
    """`patience_s`: a job that has not ended by then is ended by us."""

    def __init__(self, api: Api, patience_s: float) -> None:
        self._api = api
        self._patience_s = patience_s
        # Two jobs on one object lock each other's rows.
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def can_say(self, write: Write) -> bool:
        """Whether a job sets what is to be set: one text means nothing there."""
        return _NULL not in write.values.values()

    async def update(self, writes: Sequence[Write]) -> list[Outcome | None]:
        """All of one object and the same fields. None is what only collections can write: for all if there is no
        bulk API, for a record that a duplicate rule stops, since a job cannot be told to save it all the same.
        """
        object_, fields = writes[0].key.object, sorted(writes[0].values)
        async with self._one_at_a_time[object_]:
            try:
                job: _Job = await self._api.json("POST", "jobs/ingest", headers=WRITING, json=_about(object_))
            except Refused:
                return [None] * len(writes)
            path = f"jobs/ingest/{job.get('id')}"
            try:
                await self._fill(path, _csv(fields, writes))
                job = await self._ended(path)
                return await self._results(path, job, writes)
            finally:
                await self._clear(path, job)

    async def _fill(self, path: str, content: bytes) -> None:
        # Data is taken once: a second try after a lost answer would be refused.
        await self._api.call(
            "PUT", f"{path}/batches", again=False, headers={"Content-Type": "text/csv; charset=UTF-8"}, content=content
        )
        # After a lost answer the job is closed already; if it is not, the polls will find it open.
        with contextlib.suppress(Refused):
            await self._api.call("PATCH", path, json={"state": "UploadComplete"})

    async def _ended(self, path: str) -> _Job:
        """The job once it has ended, which is waited for ever more patiently."""
        waited = 0.0
        for wait in _waits():
            await asyncio.sleep(wait)
            waited += wait
            job = await self._api.json("GET", path)
            if job.get("state") in _ENDED:
                return job
            if job.get("state") == "Open":
                raise Unreachable("a bulk job stayed open")
            if waited >= self._patience_s:
                return await self._api.json("PATCH", path, json={"state": _ABORTED})
        raise AssertionError  # the waits have no end

    async def _results(self, path: str, job: _Job, writes: Sequence[Write]) -> list[Outcome | None]:
        error = str(job.get("errorMessage", ""))
        if job["state"] == _FAILED and error.startswith(_MALFORMED):
            fault = Refused(_MALFORMED, without_data(_MALFORMED, error))
            return [outcomes.refused(fault, one.key.id, outcomes.fields_named(error)) for one in writes]
        done = {row.get("Id") for row in await self._rows(f"{path}/successfulResults")}
        failed = {row.get("Id"): row.get("sf__Error") or "" for row in await self._rows(f"{path}/failedResults")}
        found: list[Outcome | None] = []
        for one in writes:
            id_ = one.key.id
            if id_ in done:
                found.append(Outcome(End.DONE, id_))
            elif id_ in failed:
                outcome = outcomes.of_cell(failed[id_], id_, one.values)
                found.append(None if outcome.code == "DUPLICATES_DETECTED" else outcome)
            else:
                found.append(_NOT_TRIED._replace(id=id_))
        return found

    async def _rows(self, path: str) -> list[dict[str, str]]:
        reply = await self._api.call("GET", path, headers={"Accept": "text/csv"})
        try:
            return list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))
        except (UnicodeDecodeError, csv.Error):
            raise Unreachable("the results of a bulk job are no CSV") from None

    async def _clear(self, path: str, job: _Job) -> None:
        """End the job if it has not ended, and have it forgotten. What fails here Salesforce does itself in a week."""
        if job.get("state") not in _ENDED:
            with contextlib.suppress(Fault):
                await self._api.call("PATCH", path, json={"state": _ABORTED})
        with contextlib.suppress(Fault):
            await self._api.call("DELETE", path)


def _about(object_: str) -> dict[str, str]:
    return {
        "object": object_,
        "operation": "update",
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }


def _waits() -> Iterator[float]:
    yield from _WAITS
    while True:
        yield _WAITS[-1]


def _csv(fields: Sequence[str], writes: Iterable[Write]) -> bytes:
    """An empty cell leaves a field as it is; a sign of its own clears it."""
    file = io.StringIO(newline="")
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(["Id", *fields])
    lines.writerows([one.key.id, *(_cell(one.values[name]) for name in fields)] for one in writes)
    return file.getvalue().encode()


def _cell(value: Value) -> str:
    plain = told(value)
    if plain is None:
        return _NULL
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return str(plain)
