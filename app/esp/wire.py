"""What providers put on the wire: JSON, forms and the values in them. Raises only where it says so.

Signatures are in `app.esp.signing`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.esp.shapes import (
    AUTO_REPLIED,
    BLOCKED,
    BOUNCED,
    DEFERRED,
    FAILED,
    HARD,
    SOFT,
    Said,
    Unread,
)
from app.esp.verdict import judge

if TYPE_CHECKING:  # the library has it for the type checker only
    from python_multipart.multipart import MultipartCallbacks

Outcome: TypeAlias = tuple[str, str | None]
"""An event type, and hard or soft if it is a bounce."""

MOST_BYTES = 48_000
"""What the properties of one notice may take as JSON."""
LONGEST = 4_000
"""Characters of one text; the rest is cut off."""
_DEEPEST = 8
_MOST_FIELDS = 10_000
_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2201, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 1e11  # as seconds it would be the year 5138
_UNFIT = re.compile("[\x00\ud800-\udfff]")  # what Postgres, or UTF-8, cannot hold
_NAMED = re.compile(r"<([^<>]*)>\s*$")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


# --- bodies -----------------------------------------------------------------------------------------------------------


def _whole(digits: str) -> int | str:
    # Beyond 64 bits it stays text: nothing after us could hold the number, and it is an id anyway.
    return int(digits) if len(digits) < 19 else digits


def _real(digits: str) -> float | str:
    number_ = float(digits)
    return number_ if isfinite(number_) else digits


_DECODER = json.JSONDecoder(strict=False, parse_int=_whole, parse_float=_real, parse_constant=lambda _: None)


def json_of(body: bytes | str) -> Any:  # Any: JSON
    """A body as values: bytes that are not UTF-8 replaced, numbers that JSON does not know as None.

    Raises ValueError, with a sentence for the operator, if it is not JSON.
    """
    said = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if not said.strip("\ufeff \t\r\n"):
        raise ValueError("the body is empty")
    try:
        return _DECODER.decode(said.lstrip("\ufeff"))
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    except ValueError as fault:
        raise ValueError(f"the body is not JSON: {fault}") from None


def each(body: bytes | str, read: Callable[[dict[str, Any], str], Iterable[Said]]) -> list[Said]:
    """What `read` makes of every object in a JSON body that is a list or one object; it takes it and its pointer."""
    try:
        said = json_of(body)
    except ValueError as fault:
        return [Unread("", str(fault))]
    if isinstance(said, dict):
        return list(read(said, ""))
    if not isinstance(said, list):
        return [Unread("", "expected an object, or a list of them")]
    out: list[Said] = []
    for index, item in enumerate(said):
        pointer = f"/{index}"
        out += read(item, pointer) if isinstance(item, dict) else [Unread(pointer, "expected an object")]
    return out


def pairs(body: bytes | str) -> list[tuple[str, str]]:
    """The fields of a form in their order, repeated ones too, without files; nothing of one with more than 10,000.

    Which of the two kinds of form it is shows in the body.
    """
    if isinstance(body, bytes) and body.startswith(b"--"):
        return _parts(body)
    said = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        return parse_qsl(said, keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []


def _parts(body: bytes) -> list[tuple[str, str]]:
    """The fields of a multipart form, as far as it can be read."""
    found: list[tuple[str, str]] = []
    disposition, header, value, content = bytearray(), bytearray(), bytearray(), bytearray()

    def end_header() -> None:
        if header.lower() == b"content-disposition":
            disposition[:] = value
        header.clear()
        value.clear()

    def end_part() -> None:
        _, options = parse_options_header(bytes(disposition))
        if b"name" in options and b"filename" not in options and len(found) < _MOST_FIELDS:
            found.append((options[b"name"].decode("utf-8", "replace"), content.decode("utf-8", "replace")))
        disposition.clear()
        content.clear()

    callbacks: MultipartCallbacks = {
        "on_header_field": lambda data, start, end: header.extend(data[start:end]),
        "on_header_value": lambda data, start, end: value.extend(data[start:end]),
        "on_header_end": end_header,
        "on_part_data": lambda data, start, end: content.extend(data[start:end]),
        "on_part_end": end_part,
    }
    boundary = body[2 : body.find(b"\n")].strip()
    try:
        MultipartParser(boundary, callbacks).write(body)
    except FormParserError:
        return found
    return found


def form(body: bytes | str) -> dict[str, Any]:
    """A form with PHP's names as nested objects: `data[merges][FNAME]=x` is data → merges → FNAME.

    `list[]` counts up from "0". Of a repeated field the last holds; a field that contradicts an earlier one (text here,
    object there), or is deeper than eight, is left out.
    """
    out: dict[str, Any] = {}
    for name, value in pairs(body):
        head, *rest = name.split("[", 1)
        path = [head, *(_BRACKETS.findall("[" + rest[0]) if rest else ())]
        if len(path) <= _DEEPEST:
            _put(out, path, value)
    return out


def _put(into: dict[str, Any], path: list[str], value: str) -> None:
    # Only inside a list does an empty name count up: `a[]`, not a field without a name.
    named = [path[0], *(step or None for step in path[1:])]
    for step in named[:-1]:
        inner = into.setdefault(str(len(into)) if step is None else step, {})
        if not isinstance(inner, dict):
            return
        into = inner
    last = str(len(into)) if named[-1] is None else named[-1]
    if not isinstance(into.get(last), dict):
        into[last] = value


# --- values -----------------------------------------------------------------------------------------------------------


def part(value: object) -> dict[str, Any]:
    """The value if it is an object; otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """A list as it is, nothing as an empty one, anything else as the only item."""
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def text(value: object) -> str | None:
    """Text or a number as text that can be stored, stripped; None if it is neither, or empty."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return _fit(str(value)).strip() or None


def number(value: object) -> int | None:
    """A whole number, also one given as text; None beyond 64 bits."""
    said = text(value)
    if said is None or not re.fullmatch(r"-?[0-9]{1,18}(\.0+)?", said, re.ASCII):
        return None
    return int(said.partition(".")[0])


def truth(value: object) -> bool | None:
    """A yes or no, also one given as a number or text."""
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(str(value).lower())


def instant(value: object) -> datetime | None:
    """An instant in UTC: epoch seconds or, above 1e11, milliseconds, also as text; or ISO 8601, without a zone UTC.

    None if it is neither, before 1990 or after 2200.
    """
    said = text(value)
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        return _calendar(said)
    if seconds > _MILLISECONDS_FROM:
        seconds /= 1000
    is_sensible = _EARLIEST.timestamp() <= seconds < _LATEST.timestamp()
    return datetime.fromtimestamp(seconds, UTC) if is_sensible else None


def _calendar(said: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(said)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if _EARLIEST <= at < _LATEST else None


def address(value: object) -> str | None:
    """An address freed of a name around it (`Ana <ana@example.com>`), case kept; nonsense as it is."""
    said = text(value)
    if said is None:
        return None
    named = _NAMED.search(said)
    return (named[1].strip() if named else said) or None


def custom(value: object) -> Any:  # Any: JSON
    """The sender's own values: text that holds a JSON object as that object, anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json_of(value)
        except ValueError:
            return value
    return value


def properties(**said: Any) -> dict[str, Any]:  # Any: JSON
    """A notice's properties: what was said, without None and what is empty, fit to be stored.

    Texts are cut at 4,000 characters, and values nested deeper than eight left out. What would make them more than
    48,000 bytes is left out in the order given: name `custom` last, so that a large one never costs a bounce.
    """
    out: dict[str, Any] = {}
    room = MOST_BYTES
    for name, value in said.items():
        fit = _storable(value, _DEEPEST)
        if fit is None or fit in ("", [], {}):
            continue
        room_after = room - len(orjson.dumps(fit)) - len(name) - 4
        if room_after >= 0:
            out[name], room = fit, room_after
    return out


def _storable(value: object, deeper: int) -> Any:  # Any: JSON
    if isinstance(value, str):
        return _fit(value)
    if isinstance(value, dict):
        if deeper == 0:
            return None
        return {_fit(str(name)): _storable(one, deeper - 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_storable(one, deeper - 1) for one in value] if deeper else None
    return value


def _fit(said: str) -> str:
    return _UNFIT.sub("\ufffd", said[:LONGEST])


_CODE = re.compile(r"(?:^|[;:(]\s*)([245][0-9]{2})(?=[\s-])")
_STATUS = re.compile(r"(?<![0-9.])[245]\.[0-9]{1,3}\.[0-9]{1,3}(?!\.?[0-9])")


def codes(said: str | None) -> tuple[int | None, str | None]:
    """The SMTP code and the enhanced status that a server's words begin with, or hold: `550 5.1.1 no such user`."""
    code, status = _CODE.search(said or ""), _STATUS.search(said or "")
    return int(code[1]) if code else None, status[0] if status else None


_OUTCOMES: dict[str, Outcome] = {
    "hard": (BOUNCED, HARD),
    "soft": (BOUNCED, SOFT),
    "blocked": (BLOCKED, None),
    "deferred": (DEFERRED, None),
    "auto_reply": (AUTO_REPLIED, None),
    # The words tell of a delivery, the event of a failure: nothing is said against the address.
    "none": (FAILED, None),
}


def judged(status: str | None, code: int | None, said: str | None, *, action: str | None = None) -> Outcome:
    """The event type that a refusal is, and hard or soft if it is a bounce, by `app.esp.verdict`.

    For failures that the provider itself has not judged. Codes that are not given are looked for in the words.
    """
    found_code, found_status = codes(said)
    return _OUTCOMES[judge(status or found_status, code or found_code, said or "", action=action).kind]


def event_id(own: str | None, type_: str, email: str | None, *otherwise: object) -> str | None:
    """An id that is the same for a redelivery and for nothing else.

    Of the provider's own id with type and recipient, since test buttons send every type under one id. Without one, of
    type, recipient and what else tells events apart (time, message, url); None if nothing of that is known.
    """
    if own is not None:
        parts: tuple[object, ...] = (own, type_, email)
    elif any(part_ is not None for part_ in otherwise):
        parts = (type_, email, *otherwise)
    else:
        return None
    content = json.dumps([None if one is None else str(one) for one in parts])
    return hashlib.sha256(content.encode()).hexdigest()[:40]


def unknown(pointer: str, field: str, word: object) -> Unread:
    """An event whose name, which the field holds, is none that we know."""
    said = text(word)
    detail = "the event's name is missing" if said is None else f"an event that is not known: {said[:60]!r}"
    return Unread(f"{pointer}/{field}", detail)


def nobody(pointer: str, field: str) -> Unread:
    """An event without the address that the field should hold."""
    return Unread(f"{pointer}/{field}", "the address is missing")
