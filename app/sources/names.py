"""What the names mean that others give to events: our types, and the properties that rules on e-mail look for.

Source: Segment's documentation (e-mail events), read 2026-11-22.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from app.esp import wire
from app.esp.shapes import BOUNCED, CLICKED, COMPLAINED, DELIVERED, HARD, OPENED, SENT, SOFT, UNSUBSCRIBED

_LONGEST = 100
_DOTTED = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")

_MAIL = {
    "email sent": SENT,
    "email delivered": DELIVERED,
    "email opened": OPENED,
    "email link clicked": CLICKED,
    "email clicked": CLICKED,
    "email bounced": BOUNCED,
    "email marked as spam": COMPLAINED,
    "unsubscribed": UNSUBSCRIBED,
    "email unsubscribed": UNSUBSCRIBED,
}
"""The calls by which e-mail tools write back."""
_OF_MAIL = {
    "email_id": "message_id",
    "campaign_name": "campaign",
    "campaign_id": "campaign",
    "email_subject": "subject",
    "link_url": "url",
}
"""Their properties, and what ours are called. The first that is given holds."""
_BOUNCE_CLASS = ("bounce", "bounce_type", "bounceType", "bounce_class", "classification", "type")
_BOUNCE_WORDS = ("reason", "bounce_reason", "diagnostic", "description", "error", "message")


def mail_type(name: str) -> str | None:
    """The e-mail event that a track call of this name is; None if it is none."""
    return _MAIL.get(" ".join(name.lower().split()))


def event_type(name: str) -> str:
    """Our type for a name: its words in lower case with dots between, `track.` before a single one.

    A dotted name stays as it is. What means something to the engine itself is not to be had by a name.
    """
    return _event_type(name.strip().lower()[:1_000])


@lru_cache(maxsize=4_096)
def _event_type(name: str) -> str:
    if not _DOTTED.fullmatch(name):
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        words = re.findall(r"[a-z0-9]+", plain.lower()) or ["event"]
        name = ".".join(words if len(words) > 1 else ["track", *words])
    if name.startswith(("contact.", "email.")):
        name = f"track.{name.replace('.', '_')}"
    return name[:_LONGEST].rstrip(".")


def mail_properties(type_: str, given: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    """The properties of an e-mail event, and those that it has under other names than ours under ours as well.

    `bounce` is always hard or soft.
    """
    found = dict(given)
    for theirs, ours in _OF_MAIL.items():
        if theirs in given:
            found.setdefault(ours, given[theirs])
    if type_ == BOUNCED:
        found["bounce"] = _bounce(given)
    return found


def _bounce(given: Mapping[str, Any]) -> str:  # Any: JSON
    """By the words and codes that come along, for there is no agreed place for it; without any: soft."""
    for name in _BOUNCE_CLASS:
        said = (wire.text(given.get(name)) or "").lower()
        if "hard" in said or "permanent" in said:
            return HARD
        if "soft" in said or "transient" in said or "temporary" in said:
            return SOFT
    words = " ".join(filter(None, (wire.text(given.get(name)) for name in _BOUNCE_WORDS)))
    _, bounce = wire.judged(wire.text(given.get("status")), wire.number(given.get("code")), words)
    return bounce or SOFT
