"""A notice taken apart: its headers, its words, what its machine-readable parts say, and the message that came back.

Knows MIME and the report formats (RFC 3464, RFC 5965, RFC 6533, RFC 8098), not what a refusal means. Bounded: the
first 256 KiB of a message, 41 parts and 1,000 recipients; nothing in a message raises.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import TypeAlias

from app.esp import bounce_decoding
from app.esp.bounce_decoding import MALFORMED, decoded

Headers: TypeAlias = Mapping[str, Sequence[str]]
"""By name in lower case, each value decoded and in one line."""
Fields: TypeAlias = Mapping[str, str]

LONGEST = 256 * 1024
_LONGEST_WORDS = 32 * 1024
_MOST_PARTS = 40
_MOST_RECIPIENTS = 1000

_PART = re.compile(rb"boundary\s*=|message/|multipart/", re.IGNORECASE)
_NAME = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60})[ \t]*:[ \t]*(.*)")
_OF_A_MESSAGE = {"message-id", "to", "from", "subject"}

_RETURNED = re.compile(
    r"(?:(?:this|here|included|below) is |(?:start|begin|beginning) of |the |an? |your )*(?:"
    r"(?:copy of (?:the |your |this )?)?"
    r"(?:original|returned|undelivered|undeliverable|unsent|old|rejected|bounced|failed) "
    r"(?:mail|message|e-mail|content|headers?)"
    r"|copy of (?:the |your |this )?(?:message|mail|e-mail|header)"
    r"|(?:below|after) (?:this|the next) line is a copy of"
    r"|(?:message|mail|rfc ?822)(?: body)? (?:text|headers?|contents?|body|source)"
    r"|(?:message|mail|headers?) follows?|forwarded message|no message was collected|attached message)"
    r"(?! (?:was|has|had|could|can|is being|will|with|which|that|from|to|sent|id|you|size|recip)\b)"
)
"""A line that says that the returned message comes now. Matched in lower case from the first letter of the line."""
_LONGEST_RETURNED = 80
_HEADER_LINE = re.compile(
    r"(?:Return-Path|Received|X-Sender|Delivered-To|DKIM-Signature|Message-ID): ?\S", re.IGNORECASE
)
_PART_LINE = re.compile(r"Content-Type: *(?:message/(?:rfc822|partial|global\b)|text/rfc822-headers)", re.IGNORECASE)


@dataclass
class Parts:
    """What a message is made of."""

    headers: Headers = field(default_factory=dict)
    media_type: str = "text/plain"
    report_type: str = ""
    """What a multipart/report is said to report."""
    words: str = ""
    """What it says to people, at most 32 KiB, up to the message that came back."""
    recipients: list[Fields] = field(default_factory=list)
    """The fields that a delivery status has for each recipient, by name in lower case."""
    feedback: Headers = field(default_factory=dict)
    """The fields of a feedback report."""
    disposition: Fields = field(default_factory=dict)
    """The fields of a disposition notification."""
    original: Headers = field(default_factory=dict)
    """The headers of the message that came back, as far as they did."""
    is_returned: bool = False
    """Whether it came back as a part of its own, not quoted."""
    nested: bytes = b""
    """A report that came back inside another message."""

    def first(self, name: str) -> str:
        """The first header of a name, or nothing."""
        return next(iter(self.headers.get(name, ())), "")


def take_apart(raw: bytes) -> Parts:
    """The parts of one message in whatever shape: CRLF, LF or CR, with an mbox line in front, cut off or broken."""
    raw = _bounded(raw)
    parts = Parts()
    try:
        message = message_from_bytes(raw)
        parts.headers = _headers(message)
        parts.media_type = message.get_content_type()
        parts.report_type = str(message.get_param("report-type", "")).casefold()
        _read(message, parts)
    except MALFORMED:
        head, _, body = raw.partition(b"\n\n")
        parts.headers = parts.headers or _headers_of(bounce_decoding.text(head))
        parts.words = parts.words or bounce_decoding.text(body)
    _separate(parts)
    return parts


def _bounded(raw: bytes) -> bytes:
    raw = raw[:LONGEST]
    if raw.startswith((b"From ", b">From ")):
        raw = raw.partition(b"\n")[2]
    raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n")
    for count, start in enumerate(_PART.finditer(raw)):
        if count > _MOST_PARTS:
            # The parser's time grows with the depth of the parts.
            return raw[: start.start()]
    return raw


# --- parts of their own -----------------------------------------------------------------------------------------------


def _read(message: Message, parts: Parts) -> None:
    """Fill `parts` from the leaves of `message`, in order, without looking into the message that came back."""
    plain: list[str] = []
    marked_up: list[str] = []
    waiting = [message]
    while waiting:
        part = waiting.pop(0)
        kind = part.get_content_type()
        if kind.startswith("message/"):
            _read_message(kind, part, parts)
        elif part.is_multipart():
            waiting[:0] = _inner(part)
        elif kind in ("text/rfc822-headers", "text/rfc822"):
            parts.original = parts.original or _headers_of(bounce_decoding.body(part))
        elif part is not message and len(_OF_A_MESSAGE & set(_headers(part))) > 2:  # put there without a part around it
            parts.original = parts.original or _headers(part)
        elif kind == "text/html":
            marked_up.append(bounce_decoding.without_markup(bounce_decoding.body(part)))
        elif kind.startswith(("text/", "multipart/")) and not parts.original:
            plain.append(bounce_decoding.body(part))
    words = "\n".join(plain)
    parts.words = words if words.strip() else "\n".join(marked_up)


def _read_message(kind: str, part: Message, parts: Parts) -> None:
    blocks = _inner(part)
    if kind in ("message/delivery-status", "message/global-delivery-status"):
        for block in blocks:
            _add_recipients([(name.casefold(), decoded(value)) for name, value in block.raw_items()], parts)
            for paragraph in bounce_decoding.body(block).split("\n\n"):
                _add_recipients(list(_fields_of(paragraph)), parts)
    elif kind == "message/feedback-report":
        parts.feedback = {name: values for block in blocks for name, values in _headers(block).items()}
    elif kind.endswith("disposition-notification"):
        parts.disposition = {name: values[0] for block in blocks for name, values in _headers(block).items()}
    elif blocks and not parts.original:
        parts.original, parts.is_returned = _headers(blocks[0]), True
        if blocks[0].get_content_type() == "multipart/report":
            parts.nested = blocks[0].as_bytes()


def _inner(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [one for one in payload if isinstance(one, Message)] if isinstance(payload, list) else []


def _add_recipients(fields: list[tuple[str, str]], parts: Parts) -> None:
    """One more recipient for each group of fields that names one. The blank line between groups may be missing."""
    groups: list[dict[str, str]] = [{}]
    for name, value in fields:
        if name in groups[-1] and name in ("final-recipient", "original-recipient", "action"):
            groups.append({})
        groups[-1].setdefault(name, value)
    room = _MOST_RECIPIENTS - len(parts.recipients)
    parts.recipients.extend(
        [one for one in groups if {"final-recipient", "original-recipient", "action"} & set(one)][:room]
    )


def _headers(message: Message) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in message.raw_items():
        found.setdefault(name.casefold(), []).append(decoded(value))
    return found


# --- parts within the words -------------------------------------------------------------------------------------------


def _separate(parts: Parts) -> None:
    """Cut the words where the returned message begins, and take from them what should have been parts."""
    lines = parts.words[:_LONGEST_WORDS].replace("\0", "").splitlines()
    end = next((at for at, line in enumerate(lines) if _returns(line, lines[at + 1 : at + 4])), len(lines))
    parts.words = "\n".join(lines[:end])
    if not parts.original:
        parts.original = _first_headers("\n".join(lines[end : end + 300]))
    if not parts.recipients and "final-recipient:" in parts.words.casefold():
        parts.words = "\n\n".join(
            [text for text in re.split(r"\n[ \t]*\n", parts.words) if not _is_report(text, parts)]
        )


def _is_report(paragraph: str, parts: Parts) -> bool:
    """Whether a paragraph belongs to a delivery status; if so, its recipients are noted."""
    fields = list(_fields_of(paragraph.strip()))
    names = {name for name, _ in fields}
    if "final-recipient" in names:
        _add_recipients(fields, parts)
    return bool({"final-recipient", "reporting-mta"} & names)


def _returns(line: str, following: list[str]) -> bool:
    """Whether the returned message begins at this line."""
    if _PART_LINE.match(line):
        return True
    if _HEADER_LINE.match(line):
        return any(_NAME.match(one) for one in following)
    said = line.strip(" \t-=*>|_#<.").casefold()
    return len(said) < _LONGEST_RETURNED and _RETURNED.match(said) is not None


def _first_headers(text: str) -> dict[str, list[str]]:
    """The first block of header fields in a text."""
    for paragraph in re.split(r"\n[ \t]*\n", text)[:6]:
        lines = paragraph.splitlines()
        start = next((at for at, line in enumerate(lines) if _NAME.match(line)), len(lines))
        found = _headers_of("\n".join(lines[start:]))
        if _OF_A_MESSAGE & set(found):
            return found
    return {}


def _headers_of(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in _fields_of(text):
        found.setdefault(name, []).append(value)
    return found


def _fields_of(text: str) -> Iterator[tuple[str, str]]:
    """The fields at the start of a text, name in lower case, unfolded and decoded, up to a line that is none."""
    name, values = "", [""]
    for line in text.splitlines():
        if name and line[:1] in (" ", "\t") and line.strip():
            values.append(line.strip())
            continue
        if name:
            yield name, decoded(" ".join(values))
        match = _NAME.match(line)
        if not match:
            return
        name, values = match[1].casefold(), [match[2].strip()]
    if name:
        yield name, decoded(" ".join(values))
