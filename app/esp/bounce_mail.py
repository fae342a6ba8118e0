"""Mail that comes back: bounces, delays, complaints, opt-outs and machines' answers, read into one vocabulary.

Half of all notices have a machine-readable part (RFC 3464, RFC 5965); the others are for people only and are read by
their words. Pure: knows nothing of contacts and stores nothing.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Literal, NamedTuple, TypeAlias

from flufl.bounce import all_failures

from app.esp import bounce_folders, bounce_kinds, bounce_parts, bounce_text, verdict
from app.esp.bounce_decoding import MALFORMED
from app.esp.bounce_parts import Fields, Headers, Parts
from app.esp.bounce_text import Found

Class: TypeAlias = Literal[
    "hard", "soft", "blocked", "deferred", "auto_reply", "complaint", "unsubscribe", "delivered", "none"
]
"""`hard`, `soft`, `blocked` and `deferred` as in `verdict`; `auto_reply`: the mail arrived, a machine answered;
`complaint` and `unsubscribe`: from a feedback report; `delivered`: good news; `none`: says nothing of the address."""


logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)  # it logs what it raises, and we catch that


class Bounced(NamedTuple):
    """What one message says of one address."""

    recipient: str
    """The address that was mailed, case as sent: the original recipient where a notice names that and a final one."""
    class_: Class
    status: str | None
    """RFC 3463, e.g. 5.1.1, as the notice gives it or as it stands in the server's words."""
    reason: str
    """A word of `verdict.CLASSES`; or `delivered`, `read`, `vacation`, `challenge`, or a report's own Feedback-Type."""
    diagnostic: str
    """The server's words in one line, at most 1,000 characters; empty if there are none."""
    message_id: str | None
    """Of the message that came back, without its angle brackets."""
    occurred_at: datetime | None
    """The notice's own date, in UTC."""


_LONGEST_DIAGNOSTIC = 1000
_LONGEST_RECIPIENT = 320
_LONGEST_ID = 500
_RECIPIENT_FIELDS = ("original-recipient", "final-recipient", "x-actual-recipient")
_COMPLAINERS = ("original-rcpt-to", "removal-recipient", "x-hmxmroriginalrecipient")
_SEVERITY = ("hard", "soft", "blocked", "deferred")
_TYPE = re.compile(r"^[\w-]{1,20}; *")
"""What says whose words a diagnostic code holds: `smtp; `, `X-Postfix; `."""
_BEYOND_ASCII = re.compile(r"\\x\{(0?[0-9A-F]{2,5})\}", re.IGNORECASE)
_VERP = re.compile(r"[+-]([^+@\s]{1,80})=((?:[\w-]{1,63}\.){1,10}[a-z]{2,24})@", re.IGNORECASE)
_FEEDBACK: dict[str, Class] = {
    "opt-out": "unsubscribe",
    "opt-out-list": "unsubscribe",
    "not-spam": "none",
    "dismissal": "none",
    "auth-failure": "none",
}
"""By Feedback-Type (RFC 5965, RFC 6430, RFC 6591); any other is a complaint."""


def read(raw: bytes) -> list[Bounced]:
    """What one message says of the addresses it is about; nothing if it is ordinary mail.

    One notice may mix failed, delayed and delivered recipients; each is there once. Never raises, whatever the bytes,
    and reads only the first 256 KiB of them.
    """
    parts = bounce_parts.take_apart(raw)
    found = _read(parts, raw)
    if not found and parts.nested:
        found = _read(bounce_parts.take_apart(parts.nested), parts.nested)
    return found


def read_mbox(raw: bytes) -> Iterator[Bounced]:
    """What each message of an mbox says, in their order; bytes that are no mbox are one message."""
    for one in bounce_folders.split(BytesIO(raw)):
        yield from read(one)


def _read(parts: Parts, raw: bytes) -> list[Bounced]:
    if bounce_kinds.is_other_report(parts):
        return []
    if parts.feedback or "x-hmxmroriginalrecipient" in parts.original:
        return _complaint(parts)
    if bounce_kinds.is_challenge(parts):
        return _answer(parts, "challenge")
    if bounce_kinds.is_answer(parts):
        return _answer(parts, "vacation")
    if parts.disposition and not parts.recipients:
        return _disposition(parts)
    found = _status(parts) if parts.recipients else []
    return found or (_notice(parts, raw) if bounce_kinds.is_notice(parts) else [])


# --- delivery status --------------------------------------------------------------------------------------------------


def _status(parts: Parts) -> list[Bounced]:
    """One for each recipient of a delivery status (RFC 3464)."""
    in_words = bounce_text.failed(parts.words, bounce_text.ours(parts), bounce_text.sent_to(parts))
    instead = next(iter([*(one.mailed for one in in_words), *_last_resort(parts)]), None)
    found = []
    for fields in parts.recipients:
        recipient = _recipient(fields) or instead
        if recipient is None:
            continue
        texts = [
            _TYPE.sub("", fields.get("diagnostic-code", ""), count=1),
            *(one.diagnosis for one in _about(recipient, in_words)),
        ]
        if len(parts.recipients) == 1:
            texts.append(parts.words)
        action = re.match(r"[a-z]*", fields.get("action", "").strip().casefold())
        found.append(_weighed(parts, recipient, fields.get("status"), texts, action[0] if action else ""))
    return _once(found)


def _recipient(fields: Fields) -> str | None:
    for name in _RECIPIENT_FIELDS:
        value = fields.get(name, "")
        address = next(bounce_text.addresses(_unquoted(value.partition(";")[2] or value)), None)
        if address:
            return address
    value = fields.get("final-recipient", "").partition(";")[2].strip(" <>")
    return value if "@" in value and value.isprintable() and " " not in value else None


def _unquoted(value: str) -> str:
    """An address out of the quoting of RFC 3461: `+2B` is a plus, and of RFC 6533, where `\\x{FC}` is a ü."""
    value = value.replace("+2B", "+").replace("+3D", "=")
    return _BEYOND_ASCII.sub(lambda match: chr(int(match[1], 16)), value)


def _about(recipient: str, found: Iterable[Found]) -> list[Found]:
    key = recipient.casefold()
    return [one for one in found if key in (one.recipient.casefold(), one.mailed.casefold())]


def _weighed(parts: Parts, recipient: str, status: str | None, texts: list[str], action: str) -> Bounced:
    """By `texts`, what is said of this recipient alone before what is said of all."""
    texts = [text for text in texts if text.strip()] or [""]
    known, code = verdict.codes(texts, status)
    judged = verdict.weigh(known, code, texts, action=action)
    class_: Class = "delivered" if judged.kind == "none" else judged.kind
    return _bounced(parts, recipient, class_, judged.reason, known, texts[0])


def _once(found: list[Bounced]) -> list[Bounced]:
    """Each recipient once, with the worst that was said of it."""
    kept: dict[str, Bounced] = {}
    for one in found:
        before = kept.setdefault(one.recipient.casefold(), one)
        if _rank(one) < _rank(before):
            kept[one.recipient.casefold()] = one
    return list(kept.values())


def _rank(one: Bounced) -> int:
    return _SEVERITY.index(one.class_) if one.class_ in _SEVERITY else len(_SEVERITY)


# --- notices for people -----------------------------------------------------------------------------------------------


def _notice(parts: Parts, raw: bytes) -> list[Bounced]:
    """One for each address that the words of a notice say was not reached."""
    in_words = bounce_text.failed(parts.words, bounce_text.ours(parts), bounce_text.sent_to(parts))
    listed = [one for value in parts.headers.get("x-failed-recipients", ()) for one in bounce_text.addresses(value)]
    if not listed and max((one.score for one in in_words), default=0) < bounce_text.SURE:
        listed = _by_library(raw)
    action = "delayed" if bounce_kinds.is_delay(parts) else ""
    recipients = listed or [one.mailed for one in in_words] or _last_resort(parts)
    said = {line for one in in_words for line in one.said} if len(recipients) > 1 else set()
    rest = "\n".join(line for line in parts.words.splitlines() if line.strip() not in said)
    found = []
    for recipient in recipients:
        texts = [*(one.diagnosis for one in _about(recipient, in_words)), rest]
        found.append(_weighed(parts, recipient, None, texts, action))
    return _once(found)


def _by_library(raw: bytes) -> list[str]:
    """The failed addresses that flufl.bounce knows to find in some old mail systems' notices."""
    try:
        temporary, permanent = all_failures(message_from_bytes(raw[: bounce_parts.LONGEST // 8]))
    except MALFORMED:
        return []
    found = {address.decode("utf-8", "replace") for address in (*temporary, *permanent)}
    return sorted(one for text in found for one in bounce_text.addresses(text))


def _last_resort(parts: Parts) -> list[str]:
    """Whom the message was for: by its own header, or by the return address that it was given."""
    for name in ("x-original-to", "to", "cc", "bcc"):
        for value in parts.original.get(name, ()):
            if address := next(bounce_text.addresses(value), None):
                return [address]
    for name in ("x-original-to", "delivered-to", "to"):
        for value in parts.headers.get(name, ()):
            if match := _VERP.search(value):
                return [f"{match[1]}@{match[2]}"]
    return []


# --- answers and reports ----------------------------------------------------------------------------------------------


def _answer(parts: Parts, reason: str) -> list[Bounced]:
    """A machine's answer is about who it is from, unless that is the machine."""
    known = [one for fields in parts.recipients if (one := _recipient(fields))]
    known += [*bounce_text.addresses(parts.first("from")), *bounce_text.sent_to(parts)]
    return [_bounced(parts, one, "auto_reply", reason, None, parts.words) for one in known[:1]]


def _complaint(parts: Parts) -> list[Bounced]:
    """RFC 5965. Some providers black the address out: then the message that came back tells."""
    told = re.match(r"[a-z][a-z-]{0,30}", next(iter(parts.feedback.get("feedback-type", ())), "").casefold())
    kind = told[0] if told else "abuse"
    fields: Headers = {**parts.original, **parts.feedback}
    named = [one for name in _COMPLAINERS for value in fields.get(name, ()) for one in bounce_text.addresses(value)]
    class_ = _FEEDBACK.get(kind, "complaint")
    return _once(
        [_bounced(parts, one, class_, kind, None, parts.words) for one in named or bounce_text.sent_to(parts)[:1]]
    )


def _disposition(parts: Parts) -> list[Bounced]:
    """RFC 8098: read or deleted; some systems refuse mail this way."""
    recipient = _recipient(parts.disposition) or next(iter(bounce_text.sent_to(parts)), None)
    if recipient is None:
        return []
    did = parts.disposition.get("disposition", "")
    if "displayed" not in did.casefold() and verdict.words_say(parts.words):
        return [_weighed(parts, recipient, None, [parts.words], "")]
    return [_bounced(parts, recipient, "delivered", "read", None, did)]


# --- what all have in common ------------------------------------------------------------------------------------------


def _bounced(parts: Parts, recipient: str, class_: Class, reason: str, status: str | None, text: str) -> Bounced:
    named = (
        next(iter(parts.original.get("message-id", ())), "")
        or parts.disposition.get("original-message-id", "")
        or parts.first("in-reply-to")
    )
    named = _clean(named)
    bracketed = re.search(r"<([^<>\s]{1,500})>", named)
    return Bounced(
        recipient=_clean(recipient)[:_LONGEST_RECIPIENT],
        class_=class_,
        status=status,
        reason=reason,
        diagnostic=_clean(text)[:_LONGEST_DIAGNOSTIC],
        message_id=bracketed[1] if bracketed else named[:_LONGEST_ID] or None,
        occurred_at=_date(parts.first("date")),
    )


def _clean(text: str) -> str:
    """In one line, without what databases and terminals choke on."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 2 * _LONGEST_DIAGNOSTIC]).split())


def _date(value: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
