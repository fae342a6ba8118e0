"""What every provider's module takes and gives: a request as it came in, and what it says, in one vocabulary.

A provider is one module in this package with an instance of `Provider`. Its `verify` and `read` are pure but for
`fetch`, which only providers that publish certificates use. Nothing in a request may make `read` raise: what cannot be
read comes out as `Unread`, and never spoils what stands beside it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
"""GETs a public https address and gives the body; raises OSError if that fails."""

# What an e-mail event can be. Hard and soft bounces are told apart by the property `bounce`.
SENT, DELIVERED, DEFERRED = "email.sent", "email.delivered", "email.deferred"
OPENED, CLICKED = "email.opened", "email.clicked"
BOUNCED, BLOCKED, FAILED, AUTO_REPLIED = "email.bounced", "email.blocked", "email.failed", "email.auto_replied"
COMPLAINED, UNSUBSCRIBED, RESUBSCRIBED = "email.complained", "email.unsubscribed", "email.resubscribed"
SUBSCRIBED = "email.subscribed"
# What a marketing tool says of the person.
UPDATED, EMAIL_CHANGED = "contact.updated", "contact.email_changed"
TAG_ADDED, TAG_REMOVED = "contact.tag_added", "contact.tag_removed"

HARD, SOFT = "hard", "soft"


@dataclass(frozen=True)
class Request:
    """A webhook call as it came in."""

    url: str
    """The address the provider was given, query included: some sign it. Behind a proxy, the public one."""
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    """The raw bytes, un-gzipped: signatures are over these."""
    received_at: datetime
    method: str = "POST"


@dataclass(frozen=True)
class Notice:
    """One thing that a provider says happened.

    `properties` is JSON; by these names, where the provider says it: `bounce` (hard or soft; always with
    `email.bounced`), `status` (an RFC 3463 code), `code` (SMTP's, a number), `reason` (the provider's word or class),
    `diagnostic` (the server's text), `suppressed` (true: the provider did not even try, it repeats an older verdict),
    `message_id`, `campaign`, `list`, `subject`, `tags` (a list), `custom` (the sender's own values), `url` (clicked),
    `user_agent`, `ip`, `machine` (true: the provider says that no human did it). With `contact.updated`: `traits`; with
    `contact.email_changed`: `old_email`, `new_email`; with `contact.tag_*`: `tag`.
    """

    type: str
    """One of this module's names, in our vocabulary."""
    email: str | None
    """The address alone, case as sent, freed of a name around it."""
    occurred_at: datetime | None
    """With a zone; None if the provider does not say."""
    id: str | None
    """The same for a redelivery, and for nothing else of this source. None: it is known by its content."""
    properties: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    user_id: str | None = None
    """The person's id in the provider's own words, where there is no address: `hubspot:1246965`."""


class Unread(NamedTuple):
    """Something in a request that could not be read."""

    pointer: str
    """Where: a JSON pointer into the body, or empty for the whole of it."""
    detail: str
    """What is wrong, for the operator."""


class Visit(NamedTuple):
    """An address that the provider asks to be fetched, to confirm that its events are wanted. Already checked to be
    the provider's own."""

    url: str


Said: TypeAlias = Notice | Unread | Visit


class Forged(Exception):
    """The signature is missing, wrong or too old. The message says which, and holds no secret."""


class Provider(Protocol):
    """How one provider speaks."""

    kind: str
    """As in `POST /v1/sources`: `sendgrid`."""
    title: str
    """As the provider writes itself: `SendGrid`."""
    secret: str | None
    """What the operator has to paste as the source's secret, in words; None if the provider signs nothing."""

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:
        """Check the signature against each of the secrets, in constant time, and its age. Raises Forged.

        Several secrets may hold at once while one replaces another. A provider without signatures raises nothing.
        The OSError of `fetch` comes through: nothing is known of the signature then, and the call should come again.
        """

    def read(self, request: Request) -> list[Said]:
        """What the request says. Known and meaningless parts (pings, counters) are left out; never raises."""
