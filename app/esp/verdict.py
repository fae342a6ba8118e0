"""What a mail server's refusal says about the address: from its codes and its words to a class and a reason.

The status code alone is a poor judge: of what it calls permanent, less than half of the addresses are dead, and half
of the dead ones come without a telling code. So the server's words are asked first, a telling code next, loose words
after that, and a bare code last.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from app.esp import bounce_hints, bounce_words

Kind: TypeAlias = Literal["hard", "soft", "blocked", "deferred", "auto_reply", "none"]

CLASSES: dict[str, Kind] = {
    # The address itself is dead.
    "user_unknown": "hard",
    "host_unknown": "hard",
    "no_mail": "hard",
    "moved": "hard",
    # The address is there, but this mail did not reach it.
    "mailbox_full": "soft",
    "suspended": "soft",
    "too_big": "soft",
    "filtered": "soft",
    # It is about the sender, its servers or the message.
    "sender": "blocked",
    "auth": "blocked",
    "reverse_dns": "blocked",
    "reputation": "blocked",
    "rate": "blocked",
    "relay": "blocked",
    "policy": "blocked",
    "spam": "blocked",
    "virus": "blocked",
    "content": "blocked",
    "suppressed": "blocked",
    # It is about the way.
    "greylisted": "soft",
    "network": "soft",
    "expired": "soft",
    "system_full": "soft",
    "system": "soft",
    "unknown": "soft",
}
"""Every reason there is for a refusal, and its class when the refusal is final."""

DELIVERED = "delivered"

_TELLING: dict[str, str] = {
    "1.0": "user_unknown",
    "1.1": "user_unknown",
    "1.2": "host_unknown",
    "1.3": "user_unknown",
    "1.6": "moved",
    "1.7": "sender",
    "1.8": "sender",
    "1.10": "no_mail",
    "2.1": "suspended",
    "2.2": "mailbox_full",
    "2.3": "too_big",
    "3.1": "system_full",
    "3.4": "too_big",
    "4.4": "host_unknown",
    "4.6": "network",
    "4.7": "expired",
    "5.3": "rate",
    "7.13": "suspended",
    "7.17": "moved",
    "7.18": "moved",
    "7.20": "auth",
    "7.21": "auth",
    "7.22": "auth",
    "7.23": "auth",
    "7.24": "auth",
    "7.25": "reverse_dns",
    "7.26": "auth",
    "7.27": "sender",
    "7.28": "rate",
    "7.29": "auth",
}
"""By subject and detail of an RFC 3463 status: those that mean one thing. Source: IANA's registry of status codes."""
_VAGUE: dict[str, str] = {
    "1": "unknown",
    "2": "filtered",
    "2.4": "policy",
    "3": "system",
    "4": "network",
    "4.1": "expired",
    "5": "system",
    "6": "content",
    "7": "policy",
}
"""By subject and detail, or subject: a guess, for when the words say nothing."""
_CODES: dict[int, str] = {
    421: "system",
    451: "system",
    452: "system_full",
    521: "no_mail",
    551: "policy",
    552: "mailbox_full",
    554: "policy",
    556: "no_mail",
}
"""By SMTP's reply (RFC 5321, RFC 7504), for when nothing else is said. A bare 550 or 553 says nothing."""

_LONGEST = 4000
_GAP = 60
_WORDS = re.compile(r"[^\s@]{0,64}@[\w.\[\]-]{0,255}|[\w-]{1,63}(?:\.[\w-]{1,63})+|\w+|\*")
_PREFIX = " unknown address error "
"""What one gateway (AsyncOS) puts before whatever a server said to RCPT."""
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_REFUSAL = re.compile(r"(?<![\d.])([45])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_CODE = re.compile(
    r"(?:^|[:;(<>#=\"']|\b(?:said|error|code|with|response|reply|returned|was)\b)[\s:]{0,4}"
    r"([45][0-5]\d)(?=[\s#-]|$)(?!-\d\d)"
    r"|\b([45][0-5]\d)[ -]#?[45]\.\d",
    re.MULTILINE | re.IGNORECASE,
)


class Verdict(NamedTuple):
    """What a refusal means for the address. `reason` is a word of `CLASSES`, or `delivered`."""

    kind: Kind
    reason: str


def judge(status: str | None, code: int | None, text: str, *, action: str | None = None) -> Verdict:
    """What a server meant by an RFC 3463 `status`, an SMTP reply `code` and its words.

    Each may be missing, wrong or at odds with the others; codes that stand in the text need not be given. `action` is
    RFC 3464's: with `delayed` the verdict is `deferred`, with `delivered`, `relayed` or `expanded` it is `none`.
    Never raises, and takes time in proportion to the first 4,000 characters of `text`.
    """
    return weigh(*codes([text], status, code), [text], action=action)


def weigh(status: str | None, code: int | None, texts: Sequence[str], *, action: str | None = None) -> Verdict:
    """As `judge`, of codes as they come from `codes`, and by several texts, the server's own words first.

    A later text counts only for what the earlier ones do not say, and does not outweigh a telling status: it may hold
    boilerplate.
    """
    did = (action or "").strip().casefold()
    if did in ("delivered", "relayed", "expanded") or (status or "").startswith("2."):
        return Verdict("none", DELIVERED)
    said = [_plain(text) for text in texts]
    reason = _reason(status, code, said)
    if did == "delayed":
        return Verdict("deferred", "expired" if reason == "unknown" else reason)
    kind = CLASSES[reason]
    if _is_temporary(status, code):
        if did != "failed" and (reason == "greylisted" or any(_hits(_RETRYING, one) for one in said)):
            return Verdict("deferred", reason)
        if kind == "hard":
            return Verdict("soft", reason)
    return Verdict(kind, reason)


def codes(texts: Sequence[str], status: str | None = None, code: int | None = None) -> tuple[str | None, int | None]:
    """The RFC 3463 status and the SMTP reply that are meant: those given, or the first that stand in the texts.

    Of a status only the numbers are kept. One such as 5.0.0 says nothing, and gives way to one in the texts.
    """
    given = _STATUS.search(status or "")
    known = _dotted(given) if given else None
    for text in texts:
        if known is None or known.endswith(".0.0"):
            refusal = _REFUSAL.search(text, 0, _LONGEST)
            known = _dotted(refusal) if refusal else known
        if code is None:
            reply = _CODE.search(text, 0, _LONGEST)
            code = int(reply[1] or reply[2]) if reply else None
    return known, code


def words_say(text: str) -> str | None:
    """The reason that the words give clearly, whatever codes stand among them."""
    return _first(_STRONG, _plain(text))


def is_retrying(text: str) -> bool:
    """Whether the text says that the server goes on trying."""
    return _hits(_RETRYING, _plain(text))


def _reason(status: str | None, code: int | None, said: Sequence[str]) -> str:
    point = (status or "").partition(".")[2]
    subject = point.partition(".")[0]
    return (
        _clear(point, said[:1])
        or _TELLING.get(point)
        or _clear(point, said[1:])
        or _first_in_any(_WEAK, said)
        or _VAGUE.get(point)
        or _VAGUE.get(subject)
        or _CODES.get(code or 0)
        or _first_in_any(_LAST, said)
        or "unknown"
    )


def _clear(point: str, said: Sequence[str]) -> str | None:
    for one in said:
        if strong := _first(_STRONG, one):
            is_filter = strong == "user_unknown" and point not in ("1.1", "1.10") and _hits(_AFTER_DATA, one)
            return "filtered" if is_filter else strong
    return None


def _is_temporary(status: str | None, code: int | None) -> bool:
    """By the server's own reply; the status is often the sending server's guess."""
    return code < 500 if code else (status or "").startswith("4.")


def _dotted(match: re.Match[str]) -> str:
    return ".".join(str(int(part)) for part in match.groups())


# --- phrases ----------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    reason: str
    phrases: tuple[str, ...]
    """Each holds its place from the start of a word, by the blank in front of it, unless any place will do."""
    spread: tuple[tuple[str, ...], ...]
    """What must follow one another, each within `_GAP` characters of the one before."""


def _plain(text: str) -> str:
    """Words alone, as phrases are matched: lower case, no accents, no punctuation, addresses as `@`."""
    text = text[:_LONGEST].casefold().replace("'", "").replace("’", "").replace("_", " ")
    if not text.isascii():
        text = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    words = ["@" if "@" in word else word if "." in word else word.replace("-", " ") for word in _WORDS.findall(text)]
    return f" {' '.join(words)} ".replace(" e mail", " email").replace(" mail box", " mailbox").replace(_PREFIX, " ")


def _row(reason: str, text: str) -> _Row:
    phrases = [_phrase(one.strip()) for one in text.split("|")]
    return _Row(
        reason,
        tuple(one[0] for one in phrases if len(one) == 1),
        tuple(one for one in phrases if len(one) > 1),
    )


def _phrase(text: str) -> tuple[str, ...]:
    first, *others = [part.strip() for part in _plain(text.removeprefix("~")).split("*")]
    is_anchored = not text.startswith("~") and (first.isascii() or first[0] == "@")
    return (f" {first}" if is_anchored else first, *(f" {part}" for part in others))


def _hits(row: _Row, said: str) -> bool:
    return any(map(said.__contains__, row.phrases)) or any(_stands(spread, said) for spread in row.spread)


def _stands(spread: Sequence[str], said: str) -> bool:
    start = said.find(spread[0])
    while start >= 0:
        end = start + len(spread[0])
        for part in spread[1:]:
            place = said.find(part, end, end + _GAP + len(part))
            if place < 0:
                break
            end = place + len(part)
        else:
            return True
        start = said.find(spread[0], start + 1)
    return False


def _first(table: Sequence[_Row], said: str) -> str | None:
    return next((row.reason for row in table if _hits(row, said)), None)


def _first_in_any(table: Sequence[_Row], said: Sequence[str]) -> str | None:
    return next((reason for one in said if (reason := _first(table, one))), None)


_STRONG = [_row(reason, text) for reason, text in bounce_words.STRONG]
_WEAK = [_row(reason, text) for reason, text in bounce_hints.WEAK]
_LAST = [_row(reason, text) for reason, text in bounce_hints.LAST]
_RETRYING, _AFTER_DATA = _row("", bounce_hints.RETRYING), _row("", bounce_hints.AFTER_DATA)
