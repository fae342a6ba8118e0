"""What a source can be: the e-mail providers, and those who call with a write key of their own.

To add one: a module that reads its calls (`Read` in shapes.py), and a line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from app import esp
from app.errors import Fault, InvalidInput
from app.esp.shapes import Provider
from app.sources import cloudevents, reading, rudderstack, tracking
from app.sources.shapes import Read

SEGMENT, RUDDERSTACK, SNIPPET, CLOUDEVENTS = "segment", "rudderstack", "snippet", "cloudevents"


class Entry(StrEnum):
    """How a source gets in."""

    URL = "url"
    """An address of its own, `/v1/webhooks/<id>`, that nobody can guess."""
    WRITE_KEY = "write_key"
    """A key, at the addresses that all of its kind call."""


@dataclass(frozen=True)
class Kind:
    key: str
    title: str
    entry: Entry
    read: Read
    provider: Provider | None = None
    secret: str | None = None
    """What the operator gives as the source's secret, in words; None if it can have none."""
    needs_secret: bool = False
    """Whether nothing can be verified without one."""
    busy_status: int = 429
    """The answer that makes this one come again when there is no room."""


_PASSWORD = "optional: a password, for an address such as https://leadtally:PASSWORD@leads.example.com/..."  # noqa: S105
# SNS takes any 4xx for an answer and never comes again; after a 5xx it does. The others drop an event at some 5xx or
# 4xx, and none of them at 429.
_BUSY = {"ses": 503}
# SNS proves itself by Amazon's certificate; Mailchimp signs only where it was asked to.
_MAY_LACK_SECRET = {"ses", "mailchimp"}


@cache
def kinds() -> Mapping[str, Kind]:
    """Every kind by its key, in the order in which they are shown."""
    mail = [
        Kind(
            key,
            one.title,
            Entry.URL,
            reading.notices(one),
            provider=one,
            secret=one.secret or _PASSWORD,
            needs_secret=one.secret is not None and key not in _MAY_LACK_SECRET,
            busy_status=_BUSY.get(key, 429),
        )
        for key, one in esp.providers().items()
    ]
    keyed = [
        Kind(SEGMENT, "Segment SDKs", Entry.WRITE_KEY, tracking.read),
        Kind(RUDDERSTACK, "RudderStack SDKs", Entry.WRITE_KEY, rudderstack.read),
        Kind(SNIPPET, "Web snippet", Entry.WRITE_KEY, tracking.read),
        Kind(CLOUDEVENTS, "CloudEvents", Entry.WRITE_KEY, cloudevents.read),
    ]
    return {one.key: one for one in (*mail, *keyed)}


def kind(key: str) -> Kind:
    """Raises InvalidInput, which lists them all, if there is none."""
    found = kinds().get(key)
    if found is None:
        raise InvalidInput(Fault("/kind", f"there is no kind {key!r}; there is {', '.join(kinds())}"))
    return found
