"""Contacts from a CSV file: read line by line, typed by mapping and declarations, stored a chunk at a time."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from app import clock
from app.engine import contacts, declared
from app.engine.conditions import is_clean
from app.engine.contacts import Change, Refused
from app.engine.fields import FieldType, Vocabulary
from app.engine.hygiene import SoftPolicy
from app.engine.identity import Ref, normal_email
from app.engine.plan import Plans
from app.engine.properties import to_text
from app.engine.transactions import committed
from app.errors import Fault, InvalidInput
from app.store.db import Database

_CHUNK = 1_000
_ERRORS_KEPT = 1_000
_PROPERTY = "properties."

_TARGETS = {"email", "user_id", "anonymous_id", "name", "stage", "tags", "opted_out", "bounced"}
_BY_HEADING = {
    **{name: name for name in _TARGETS},
    "e-mail": "email", "email_address": "email", "mail": "email",
    "full_name": "name", "lifecycle_stage": "stage",
    "do_not_email": "opted_out", "email_opt_out": "opted_out", "unsubscribed": "opted_out",
}  # fmt: skip
"""Headings that say by themselves where a column goes."""


class Target(NamedTuple):
    """Where a column goes: a field's name, or `properties.<name>` with the type to read, None for "by its look"."""

    name: str
    type: FieldType | None = None

    @property
    def property_name(self) -> str | None:
        """None for a field."""
        return self.name.removeprefix(_PROPERTY) if self.name.startswith(_PROPERTY) else None


class LineError(NamedTuple):
    line: int
    column: str | None
    detail: str


@dataclass
class FaultyLines:
    """Lines of a file that are wrong; of these the first."""

    failed: int = 0
    errors: list[LineError] = field(default_factory=list)

    def refuse(self, error: LineError) -> None:
        self.failed += 1
        if len(self.errors) < _ERRORS_KEPT:
            self.errors.append(error)


@dataclass
class Report(FaultyLines):
    created: int = 0
    updated: int = 0

    @property
    def lines(self) -> int:
        return self.created + self.updated + self.failed


Mapping = dict[str, Target | None]


def read_mapping(said: Any) -> Mapping:  # Any: JSON
    """Column → target; None leaves the column out. Raises InvalidInput with a pointer to each fault."""
    if not isinstance(said, dict):
        raise InvalidInput(Fault("/mapping", "expected an object: column → target"))
    mapping: Mapping = {}
    faults = []
    for column, target in said.items():
        try:
            mapping[column] = None if target is None else _target(target)
        except ValueError as fault:
            faults.append(Fault(_pointer(column), str(fault)))
    if faults:
        raise InvalidInput(*faults)
    return mapping


def _target(said: Any) -> Target:  # Any: JSON
    if not isinstance(said, str):
        raise ValueError("expected text, such as 'email' or 'properties.visits:number'")  # noqa: TRY004 - it is the value that is wrong
    if not is_clean(said):
        raise ValueError("the text holds a NUL, or is too long")
    name, _, kind = said.partition(":") if said.startswith(_PROPERTY) else (said, "", "")
    if name not in _TARGETS and not (name.startswith(_PROPERTY) and len(name) > len(_PROPERTY)):
        raise ValueError(f"unknown target; there are {', '.join(sorted(_TARGETS))} and properties.<name>")
    if not kind:
        return Target(name)
    if kind not in ("text", "number", "boolean", "datetime"):
        raise ValueError("unknown type; there are text, number, boolean and datetime")
    return Target(name, FieldType(kind))


async def run(
    database: Database,
    plans: Plans,
    file: BinaryIO,
    mapping: Mapping,
    by: str,
    policy: SoftPolicy,
    on_progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Import a UTF-8 CSV with a heading line; each chunk of lines commits, a line whole or not at all.

    Raises InvalidInput if there is no heading, or the mapping names a column that the heading lacks or a type that is
    not the declared one; Unavailable if the database stays out of reach, with the chunks before committed.
    """
    report = Report()
    plan = await committed(database, plans.hold)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    chunk: list[_Line] = []
    for line in _lines(text, mapping, plan.contacts, report):
        chunk.append(line)
        if len(chunk) == _CHUNK:
            await _store(database, plans, chunk, by, policy, report)
            chunk = []
            on_progress(report)
    await _store(database, plans, chunk, by, policy, report)
    on_progress(report)
    text.detach()
    return report


class _Line(NamedTuple):
    """What one line says of whom, and from which column it has each property."""

    number: int
    ref: Ref
    change: Change
    columns: dict[str, str]


async def _store(
    database: Database,
    plans: Plans,
    chunk: list[_Line],
    by: str,
    policy: SoftPolicy,
    report: Report,
) -> None:
    if not chunk:
        return
    changes = [(line.ref, line.change) for line in chunk]
    results = await committed(database, lambda db: contacts.upsert(db, plans, changes, by, clock.now(), policy))
    new: set[object] = set()
    for line, result in zip(chunk, results, strict=True):
        if isinstance(result, Refused):  # declared since the import began
            name, detail = next(iter(result.wrong.items()))
            report.refuse(LineError(line.number, line.columns[name], detail))
        elif result.is_conflict:
            report.refuse(LineError(line.number, "email", "another contact has this address"))
        elif result.is_new and result.contact not in new:
            new.add(result.contact)
            report.created += 1
        else:
            report.updated += 1


def _lines(text: io.TextIOWrapper, mapping: Mapping, known: Vocabulary, report: Report) -> Iterator[_Line]:
    reader = csv.reader(text)
    try:
        heading = next(reader)
    except (StopIteration, csv.Error):
        raise InvalidInput(Fault("", "the file is empty: expected a heading line and lines below it")) from None
    columns = _columns(heading, mapping, known)
    named = zip(heading, columns, strict=True)
    sources = {to.property_name: column for column, to in named if to is not None and to.property_name is not None}
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
            yield _Line(line, *_read(cells, columns, heading), sources)
        except _Wrong as wrong:
            report.refuse(LineError(line, wrong.column, wrong.detail))


def _columns(heading: list[str], mapping: Mapping, known: Vocabulary) -> list[Target | None]:
    """Where each column goes, and what type it is read as if that is said or declared. Raises InvalidInput."""
    if not any(column.strip() for column in heading):
        raise InvalidInput(Fault("", "the first line is blank: expected a heading line and lines below it"))
    if not all(is_clean(column) for column in heading):
        raise InvalidInput(Fault("", "the heading line is not UTF-8, holds a NUL, or is too long"))
    if missing := [column for column in mapping if column not in heading]:
        raise InvalidInput(*(Fault(_pointer(column), "the file has no such column") for column in missing))
    columns = [mapping[column] if column in mapping else _by_heading(column) for column in heading]
    taken: set[str] = set()
    for column, target in zip(heading, columns, strict=True):
        if target is not None and target.name in taken:
            detail = f"another column goes to {target.name!r} already; map one of them elsewhere, or to null"
            raise InvalidInput(Fault(_pointer(column), detail))
        taken |= {target.name} if target is not None else set()
    faults: list[Fault] = []
    columns = [_as_declared(target, column, known, faults) for column, target in zip(heading, columns, strict=True)]
    if faults:
        raise InvalidInput(*faults)
    return columns


def _as_declared(target: Target | None, column: str, known: Vocabulary, faults: list[Fault]) -> Target | None:
    """The target with the type that is declared, if any; a fault if the mapping says another."""
    name = target.property_name if target is not None else None
    kind = declared.type_of(name, known) if name is not None else None
    if target is None or kind is None:
        return target
    if target.type not in (None, kind):
        faults.append(Fault(_pointer(column), f"{name!r} is declared as {kind}; say that, or no type"))
    return Target(target.name, kind)


def _pointer(column: str) -> str:
    return "/mapping/" + column.replace("~", "~0").replace("/", "~1")


def _by_heading(column: str) -> Target | None:
    known = _BY_HEADING.get(column.strip().lower().replace(" ", "_"))
    if known is not None:
        return Target(known)
    return Target(_PROPERTY + column.strip()) if column.strip() else None


class _Wrong(Exception):
    def __init__(self, column: str | None, detail: str) -> None:
        super().__init__(detail)
        self.column = column
        self.detail = detail


def _read(cells: list[str], columns: list[Target | None], heading: list[str]) -> tuple[Ref, Change]:
    if len(cells) != len(columns):
        raise _Wrong(None, f"expected {len(columns)} cells, found {len(cells)}")
    fields: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for cell, target, column in zip(cells, columns, heading, strict=True):
        if target is None or not cell.strip():
            continue
        if not is_clean(cell):
            raise _Wrong(column, "the text is not UTF-8, holds a NUL, or is too long")
        try:
            if target.property_name is not None:
                properties[target.property_name] = _typed(cell.strip(), target.type)
            else:
                fields[target.name] = _field(target.name, cell.strip())
        except ValueError as fault:
            raise _Wrong(column, str(fault)) from None
    try:
        to_text(properties)
    except ValueError as fault:
        raise _Wrong(None, str(fault)) from None
    ref = Ref(fields.get("email"), fields.pop("user_id", None), fields.pop("anonymous_id", None))
    if not ref.named():
        raise _Wrong(None, "nobody is named: the line has no email, no user_id and no anonymous_id")
    tags = fields.pop("tags", ())
    # "No" in a file is how things stood when it was written, and no consent: an import only ever raises a flag.
    fields = {name: value for name, value in fields.items() if value is not False}
    said = frozenset(fields) | ({"properties"} if properties else set())
    return ref, Change(said=said, add_tags=tags, properties=properties, **fields)


def _field(name: str, cell: str) -> Any:  # Any: by the field
    match name:
        case "email":
            return normal_email(cell)
        case "tags":
            return tuple(_typed(cell, FieldType.TAGS))
        case "opted_out" | "bounced":
            return _typed(cell, FieldType.BOOLEAN)
        case _:
            if len(cell) > 200:
                raise ValueError("longer than 200 characters")
            return cell


def _typed(cell: str, kind: FieldType | None) -> Any:  # Any: JSON
    """A cell as a JSON value: of the type said or declared, else by its look. Raises ValueError."""
    if kind is None:
        return _by_look(cell)
    return declared.read(cell.replace(";", ",") if kind is FieldType.TAGS else cell, kind)


def _by_look(cell: str) -> str | int | float | bool:
    """A plain number or true/false as such; anything else, "007" and "1e5" among it, is text."""
    if cell in ("true", "false", "True", "False", "TRUE", "FALSE"):
        return cell.lower() == "true"
    digits = cell.removeprefix("-")
    whole, dot, part = digits.partition(".")
    plain = whole.isascii() and whole.isdigit() and (whole == "0" or whole[0] != "0") and len(digits) <= 15
    if plain and (not dot or (part.isascii() and part.isdigit())):
        number: int | float = declared.read(cell, FieldType.NUMBER)
        return number
    return cell
