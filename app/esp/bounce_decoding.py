"""Text out of mail as it really comes: charsets that are missing, unknown or wrong, encoded words, HTML.

Nothing raises: what cannot be decoded comes out as it stands.
"""

import html
import re
from email.errors import MessageError
from email.header import decode_header
from email.message import Message

MALFORMED = (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What the standard library's parser of e-mail has raised on malformed mail."""

_LONGEST = 128 * 1024
_LONGEST_HEADER = 8 * 1024
_ASCII_ON_THE_OUTSIDE = ("iso-2022", "hz", "utf-7", "unicode-1-1-utf-7", "utf-16", "utf-32")
"""Charsets whose bytes could be taken for UTF-8 as well."""
_BLOCK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?li|/?h[1-6]|/?table|hr)\b[^<>]{0,1000}>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,1000}>")


def body(part: Message) -> str:
    """The text of a part without parts, freed of its transfer encoding; the first 128 KiB."""
    payload = part.get_payload(decode=True)
    return text(payload, part.get_content_charset("utf-8")) if isinstance(payload, bytes) else ""


def text(raw: bytes, charset: str = "utf-8") -> str:
    """Bytes as text. UTF-8 goes before a charset that any bytes fit: what decodes as UTF-8 is hardly anything else."""
    raw = raw[:_LONGEST]
    charset = charset.casefold().removeprefix("unicode-1-1-")
    for name in (charset, "utf-8") if charset.startswith(_ASCII_ON_THE_OUTSIDE) else ("utf-8", charset):
        try:
            return raw.decode(name)
        except (LookupError, UnicodeError):
            continue
    return raw.decode("latin-1")


def decoded(value: str) -> str:
    """A header's value: encoded words (RFC 2047) and bare bytes as text, in one line; the first 8 KiB."""
    value = " ".join(_bare(value[:_LONGEST_HEADER]).split())
    if "=?" not in value:
        return value
    try:
        return "".join(
            text(piece, charset or "utf-8") if isinstance(piece, bytes) else piece
            for piece, charset in decode_header(value)
        )
    except MALFORMED:
        return value


def _bare(value: str) -> str:
    """A text in which the parser kept bytes beyond ASCII as surrogates, with the letters they stand for."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return text(value.encode("utf-8", "surrogateescape"))
    return value


def without_markup(page: str) -> str:
    """The words of an HTML text, a line for each block."""
    for element in ("style", "script", "head"):
        page = _without(page, element)
    return html.unescape(_TAG.sub(" ", _BLOCK.sub("\n", page)))


def _without(page: str, element: str) -> str:
    low = page.lower()
    if len(low) != len(page):  # a few letters grow in lower case, and places would not agree
        return page
    kept, end = [], 0
    while (start := low.find(f"<{element}", end)) >= 0 and (stop := low.find(f"</{element}", start)) >= 0:
        kept.append(page[end:start])
        end = stop
    return "".join([*kept, page[end:]])
