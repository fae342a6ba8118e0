"""What the jobs of the Bulk API 2.0 have in common: their life, and how a call finds one."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.sandbox.salesforce import csvs
from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.wire import Call, Json, Refusal, long_id, not_found, stamp

OPEN, UPLOADED, RUNNING = "Open", "UploadComplete", "InProgress"
DONE, FAILED, ABORTED = "JobComplete", "Failed", "Aborted"
ENDED = frozenset({DONE, FAILED, ABORTED})
_KEPT = timedelta(days=7)
_MOST = 1_000


@dataclass
class Job:
    id: str
    kind: str
    """ingest or query."""
    operation: str
    object: str
    user_id: str
    version: str
    state: str
    made_at: datetime
    changed_at: datetime
    delimiter: str = "COMMA"
    ending: str = "LF"
    processed: int = 0
    failed: int = 0
    error: str = ""

    def to(self, state: str, now: datetime) -> None:
        self.state, self.changed_at = state, now

    def as_json(self) -> Json:
        """What both kinds tell of themselves."""
        return {
            "id": self.id,
            "operation": self.operation,
            "object": self.object,
            "createdById": self.user_id,
            "createdDate": stamp(self.made_at),
            "systemModstamp": stamp(self.changed_at),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.version),
            "lineEnding": self.ending,
            "columnDelimiter": self.delimiter,
        }

    def as_polled(self) -> Json:
        """How far it is."""
        told: Json = {
            "numberRecordsProcessed": self.processed,
            "retries": 0,
            "totalProcessingTime": int((self.changed_at - self.made_at).total_seconds() * 1_000),
        }
        return told | ({"errorMessage": self.error} if self.error else {})


@dataclass
class Jobs:
    """The jobs of one kind, by id; they are forgotten after seven days, or when there are too many."""

    org: Org
    kept: dict[str, Job] = field(default_factory=dict)

    def add(self, job: Job) -> None:
        old = [id_ for id_, one in self.kept.items() if self.org.now() - one.made_at > _KEPT]
        for id_ in old or list(self.kept)[: max(0, len(self.kept) + 1 - _MOST)]:
            del self.kept[id_]
        self.kept[job.id] = job

    def find(self, call: Call) -> Job:
        job = self.kept.get(long_id(call.parts[2]) or "")
        if job is None or self.org.now() - job.made_at > _KEPT:
            raise not_found()
        return job


def choice(body: Json, name: str, allowed: dict[str, str], default: str) -> str:
    """One of the names of a table, or the default where the body says nothing."""
    said = body.get(name, default)
    if not isinstance(said, str) or said not in allowed:
        raise Refusal("INVALIDJOB", f"{name} is one of {', '.join(allowed)}")
    return said


def shape(body: Json) -> tuple[str, str]:
    """The delimiter and the line ending that a job asks for."""
    if body.get("contentType", "CSV") != "CSV":
        raise Refusal("INVALIDJOB", "contentType is CSV")
    return (
        choice(body, "columnDelimiter", csvs.DELIMITERS, "COMMA"),
        choice(body, "lineEnding", csvs.LINE_ENDINGS, "LF"),
    )
