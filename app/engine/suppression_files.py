"""The suppression list as a file: brought in from CSV, as other systems keep it, and written out as CSV or NDJSON."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

import orjson

from app import clock
from app.engine.conditions import is_clean
from app.engine.identity import normal_email
from app.engine.importing import FaultyLines, LineError
from app.engine.suppressions import Kind, Reason, normal_domain
from app.engine.transactions import committed
from app.errors import Fault, InvalidInput
from app.store import suppressions
from app.store.db import Database
from app.store.suppressions import Entry, Listed, Place, Wanted

_CHUNK = 1_000
_MAX_NOTE = 2_000
_COLUMNS = {
    **dict.fromkeys(("address", "email", "e_mail", "email_address", "mail"), "address"),
    **{name: name for name in ("domain", "kind", "value", "reason", "at", "note")},
    "since": "at",
}
"""Headings that are read, and as what; others are left out."""


@dataclass
class Report(FaultyLines):
    added: int = 0
    known: int = 0

    @property
    def lines(self) -> int:
        return self.added + self.known + self.failed


# --- in ---------------------------------------------------------------------------------------------------------------


class _Wrong(Exception):
    def __init__(self, column: str | None, detail: str) -> None:
        super().__init__(detail)
        self.column = column
        self.detail = detail


class _Headings(NamedTuple):
    """What each column is read as, and what it is called in the file."""

    names: list[str | None]
    said: dict[str, str]


async def run(
    database: Database, file: BinaryIO, by: str, on_progress: Callable[[Report], None] = lambda _: None
) -> Report:
    """Import a UTF-8 CSV with a heading line; each chunk of lines commits. Importing it again changes nothing.

    A line has an `address` (or `email`), or a `domain`, or `kind` and `value` as the export writes them. `reason` is
    one of Reason, `import` where there is none; `at` is an instant, now where there is none.

    Raises InvalidInput if there is no heading or none of these columns; Unavailable if the database stays out of
    reach, with the chunks before committed.
    """
    report = Report()
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    chunk: list[Entry] = []
    for entry in _entries(text, by, clock.now(), report):
        chunk.append(entry)
        if len(chunk) == _CHUNK:
            await _store(database, chunk, report)
            chunk = []
            on_progress(report)
    await _store(database, chunk, report)
    on_progress(report)
    text.detach()
    return report


async def _store(database: Database, chunk: list[Entry], report: Report) -> None:
    if chunk:
        added = await committed(database, lambda db: suppressions.add(db, chunk))
        report.added += added
        report.known += len(chunk) - added


def _entries(text: io.TextIOWrapper, by: str, now: datetime, report: Report) -> Iterator[Entry]:
    reader = csv.reader(text)
    try:
        headings = _headings(next(reader))
    except (StopIteration, csv.Error):
        raise InvalidInput(Fault("", "the file is empty: expected a heading line and lines below it")) from None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            report.refuse(LineError(line, None, str(fault)))
            continue
        if not any(cells):
            continue
        try:
            yield _read(cells, headings, by, now)
        except _Wrong as wrong:
            report.refuse(LineError(line, headings.said.get(wrong.column or ""), wrong.detail))


def _headings(cells: list[str]) -> _Headings:
    """Raises InvalidInput if no column says what to suppress, or two say the same."""
    names = [_COLUMNS.get(cell.strip().lower().replace(" ", "_").replace("-", "_")) for cell in cells]
    read = [name for name in names if name is not None]
    if len(read) != len(set(read)):
        raise InvalidInput(Fault("", f"two columns of the heading say the same: {', '.join(sorted(read))}"))
    if not {"address", "domain"} & set(read) and not {"kind", "value"} <= set(read):
        raise InvalidInput(Fault("", "no column of the heading is 'address', 'email' or 'domain'"))
    return _Headings(names, {name: cell for name, cell in zip(names, cells, strict=True) if name is not None})


def _read(cells: list[str], headings: _Headings, by: str, now: datetime) -> Entry:
    if len(cells) != len(headings.names):
        raise _Wrong(None, f"expected {len(headings.names)} cells, found {len(cells)}")
    said = {
        name: cell.strip()
        for name, cell in zip(headings.names, cells, strict=True)
        if name is not None and cell.strip()
    }
    for name, cell in said.items():
        if not is_clean(cell) or len(cell) > _MAX_NOTE:
            raise _Wrong(name, "the text is not UTF-8, holds a NUL, or is too long")
    kind, value = _what(said)
    reason = said.get("reason", Reason.IMPORT).lower()
    if reason not in list(Reason):
        raise _Wrong("reason", f"unknown reason; there are {', '.join(Reason)}")
    return Entry(kind, value, reason, _instant(said.get("at"), now), by, said.get("note"))


def _what(said: dict[str, str]) -> tuple[Kind, str]:
    given: dict[str, str] = {name: said[name] for name in (Kind.ADDRESS, Kind.DOMAIN) if name in said}
    if "value" in said:
        given[said.get("kind", Kind.ADDRESS).lower()] = said["value"]
    if len(given) != 1:
        raise _Wrong(None, "expected an address or a domain, and one of them")
    [(kind, value)] = given.items()
    column = kind if kind in said else "value"
    if kind not in (Kind.ADDRESS, Kind.DOMAIN):
        raise _Wrong("kind", "only an address or a domain can be brought in; a hash is made here")
    try:
        return Kind(kind), normal_email(value) if kind == Kind.ADDRESS else normal_domain(value)
    except ValueError as fault:
        raise _Wrong(column, str(fault)) from None


def _instant(said: str | None, now: datetime) -> datetime:
    """Without a zone: UTC. What is still to come counts from now."""
    if said is None:
        return now
    try:
        at = datetime.fromisoformat(said)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.year < 1900:
        raise _Wrong("at", "expected an instant, such as 2026-11-20T09:30:00Z")
    return min(at, now)


# --- out --------------------------------------------------------------------------------------------------------------


async def lines(database: Database, wanted: Wanted, after: Place | None = None) -> AsyncIterator[list[Listed]]:
    """The whole list in chunks, each line as it was when it was read. No connection is held between two chunks."""
    while True:
        async with database.hot.acquire() as db:
            found = await suppressions.page(db, wanted, limit=_CHUNK, after=after)
        if found:
            yield found
        if len(found) < _CHUNK:
            return
        after = suppressions.place(found[-1])


def as_csv(chunk: Sequence[Listed], *, is_first: bool) -> bytes:
    """RFC 4180, with a heading before the first chunk."""
    text = io.StringIO()
    table = csv.writer(text)
    if is_first:
        table.writerow(Listed._fields)
    for one in chunk:
        table.writerow(cell.isoformat() if isinstance(cell, datetime) else cell for cell in one)
    return text.getvalue().encode()


def as_ndjson(chunk: Sequence[Listed], *, is_first: bool) -> bytes:  # noqa: ARG001 - it has no heading
    shown = ({**one._asdict(), "contact_id": None if one.contact_id is None else str(one.contact_id)} for one in chunk)
    return b"".join(orjson.dumps(one, option=orjson.OPT_UTC_Z) + b"\n" for one in shown)
