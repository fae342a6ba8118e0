"""The two flags. A hard bounce belongs to the address, an opt-out to the person; neither ever changes the other.

Pure: from a contact's row and what happened, the row as it should be. Everything is ordered by when it happened, not
by when it arrived, so that the flags are the same for any order of arrival.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from app.store.tables import Contact

BOUNCED, DELIVERED, OPENED, CLICKED = "email.bounced", "email.delivered", "email.opened", "email.clicked"
UNSUBSCRIBED, RESUBSCRIBED, COMPLAINED = "email.unsubscribed", "email.resubscribed", "email.complained"

OUT, IN, COMPLAINT = "unsubscribed", "resubscribed", "complained"
CONSENT = {UNSUBSCRIBED: OUT, COMPLAINED: COMPLAINT, RESUBSCRIBED: IN}
"""Events that say whether the person may be mailed, and the reason they leave."""
ARRIVALS = {DELIVERED, OPENED, CLICKED}
"""Events that prove the address takes mail."""
MAIL = [BOUNCED, *sorted(ARRIVALS)]
"""What a bounce state is made of."""

MANUAL = "manual"
HARD_BOUNCE = "hard_bounce"
SOFT_BOUNCES = "soft_bounces"
SUPPRESSED = "suppressed"
"""Why an address counts as bounced that had bounced before its contact was erased."""

COMPLAINT_STANDS = "a complaint ends only by the person's own opt-in, an 'email.resubscribed' that is later"


@dataclass(frozen=True)
class SoftPolicy:
    """When soft bounces of `limit` messages lie within `days`, with nothing delivered between, an address counts as
    bounced."""

    limit: int = 5
    days: int = 30


class MailEvent(NamedTuple):
    """One of `MAIL`. `address` is the one it was about, if the sender said; `bounce` is hard, soft or None."""

    id: UUID
    type: str
    occurred_at: datetime
    address: str | None
    bounce: str | None
    source: str
    message: str | None = None
    """The id of the message that it was about, if the sender said."""
    is_suppressed: bool = False
    """The provider did not even try: it repeats an older verdict."""


# --- consent ----------------------------------------------------------------------------------------------------------


def decide_consent(contact: Contact, *, out: bool, at: datetime, reason: str, by: str) -> bool:
    """Opt a person out or in as of `at`; says whether anything changed.

    The later fact wins, opting out a tie; but a complaint stands until a later `IN`, which only the person says.
    """
    said = _consent(contact)
    _add(said, reason, at, by, out=out)
    # An opt-in is kept even where nobody had opted out, so that an older opt-out that comes late loses to it.
    contact.consent = {kind: [word.at.astimezone(UTC).isoformat(), word.by] for kind, word in sorted(said.items())}
    kind = _ruling(said)
    before = contact.opted_out, contact.opted_out_at, contact.opted_out_reason, contact.opted_out_by
    ruling = kind not in _INS, said[kind].at, _REASONS.get(kind, kind), said[kind].by
    contact.opted_out, contact.opted_out_at, contact.opted_out_reason, contact.opted_out_by = ruling
    return before != ruling


def has_complained(contact: Contact) -> bool:
    """Whether the contact is opted out by a complaint, which nobody else may end."""
    return contact.opted_out and contact.opted_out_reason == COMPLAINT


class _Word(NamedTuple):
    at: datetime
    by: str


# What a person decided by hand is kept under a name of its own for either way.
_BY_HAND = {True: "manual_out", False: "manual_in"}
_REASONS = dict.fromkeys(_BY_HAND.values(), MANUAL)
_INS = {IN, _BY_HAND[False]}


def _consent(contact: Contact) -> dict[str, _Word]:
    """The latest word of each kind, with the one by which the flag is as it is."""
    said = {kind: _Word(datetime.fromisoformat(at), by) for kind, (at, by) in contact.consent.items()}
    if contact.opted_out_at is not None:
        by = contact.opted_out_by or ""
        _add(said, contact.opted_out_reason or MANUAL, contact.opted_out_at, by, out=contact.opted_out)
    return said


def _add(said: dict[str, _Word], reason: str, at: datetime, by: str, *, out: bool) -> None:
    kind = reason if reason in CONSENT.values() else _BY_HAND[out]
    said[kind] = max(said.get(kind, _Word(at, by)), _Word(at, by))


def _ruling(said: dict[str, _Word]) -> str:
    complaint, own = said.get(COMPLAINT), said.get(IN)
    if complaint is not None and (own is None or complaint.at >= own.at):
        return COMPLAINT
    return max(said, key=lambda kind: (said[kind].at, kind not in _INS, kind))


# --- bounces ----------------------------------------------------------------------------------------------------------


def decide_bounce(contact: Contact, *, bounced: bool, at: datetime, by: str) -> None:
    """Set or clear the bounce by hand as of `at`. Clearing forgives every bounce up to then."""
    contact.bounced, contact.bounced_at = bounced, at
    contact.bounced_reason, contact.bounced_by = MANUAL, by
    if bounced:
        contact.bounce_status = "hard"
    else:
        contact.bounces_since, contact.bounce_status, contact.soft_bounces = at, "none", 0


def change_address(contact: Contact, email: str | None, at: datetime) -> None:
    """Give the contact another address, which starts clean. The opt-out stays: it is the person's."""
    contact.email, contact.email_since = email, at
    contact.bounced, contact.bounced_at, contact.bounced_reason, contact.bounced_by = False, None, None, None
    contact.bounce_status, contact.soft_bounces = "none", 0


def revive_bounce(contact: Contact, *, hard: bool, at: datetime, by: str) -> None:
    """Set a bounce that the address had before its contact was erased; it stands without events that would say so."""
    contact.bounced, contact.bounced_at, contact.bounced_reason, contact.bounced_by = True, at, SUPPRESSED, by
    # A soft one says so by its count, too, by which the first delivery finds it and ends it.
    contact.bounce_status, contact.soft_bounces = ("hard", 0) if hard else ("soft", 1)


class Aside(StrEnum):
    """Why a bounce does not count."""

    SUPPRESSED = "suppressed"
    """The provider did not even try to deliver."""
    ANOTHER_ADDRESS = "another_address"
    BEFORE_THIS_ADDRESS = "before_this_address"
    """It names no address, and came before the contact had this one."""
    FORGIVEN = "forgiven"
    """Somebody cleared the bounce by hand since."""
    DELIVERED_SINCE = "delivered_since"
    """Something was delivered, opened or clicked since."""
    SAME_MESSAGE = "same_message"
    """An earlier one of the same message counts."""
    TOO_OLD = "too_old"
    """The next soft bounces came too long after it."""
    AFTER_HARD_BOUNCE = "after_hard_bounce"


@dataclass
class Weighed:
    """What the mail of a contact says of its present address."""

    status: str = "none"
    """none, soft or hard."""
    cause: MailEvent | None = None
    """The bounce since which the address counts as bounced; None if it does not."""
    soft: list[MailEvent] = field(default_factory=list)
    """The soft bounces that lie within the window of the last one."""
    aside: dict[UUID, Aside | None] = field(default_factory=dict)
    """Why each bounce does not count; None for those that do."""
    arrived_at: datetime | None = None
    """When the address last proved to take mail."""

    @property
    def messages(self) -> int:
        """How many messages bounced softly, just now."""
        return len({_message(one) for one in self.soft})


def weigh(contact: Contact, mail: Iterable[MailEvent], policy: SoftPolicy) -> Weighed:
    """Weigh all the mail events of a contact against its address as it is."""
    found, about = Weighed(), []
    for event in mail:
        why = _aside(contact, event)
        if why is None:
            about.append(event)
        elif event.type == BOUNCED:
            found.aside[event.id] = why
    for event in sorted(about, key=lambda one: (one.occurred_at, one.type == BOUNCED, one.id)):
        if event.type in ARRIVALS:
            _arrived(found, event)
        elif event.bounce == "hard":
            found.aside[event.id] = None
            if found.status != "hard":
                found.status, found.cause = "hard", event
        elif found.status == "hard":
            found.aside[event.id] = Aside.AFTER_HARD_BOUNCE
        else:
            _bounced_softly(found, event, policy)
    return found


def judge_bounces(contact: Contact, mail: Iterable[MailEvent], policy: SoftPolicy) -> None:
    """Set the bounce state to what all the contact's mail events say. What was set by hand stands."""
    found = weigh(contact, mail, policy)
    if contact.bounced and (contact.bounced_reason == MANUAL or _stays_suppressed(contact, found)):
        return
    contact.bounce_status, contact.soft_bounces = found.status, found.messages
    if found.cause is None:
        if contact.bounced:
            contact.bounced, contact.bounced_at, contact.bounced_reason, contact.bounced_by = False, None, None, None
        return
    contact.bounced, contact.bounced_at, contact.bounced_by = True, found.cause.occurred_at, found.cause.source
    contact.bounced_reason = HARD_BOUNCE if found.status == "hard" else SOFT_BOUNCES


def _stays_suppressed(contact: Contact, found: Weighed) -> bool:
    """Whether a bounce from before an erasure stands: a hard one does, a soft one until something arrives."""
    if contact.bounced_reason != SUPPRESSED or contact.bounced_at is None:
        return False
    return contact.bounce_status == "hard" or found.arrived_at is None or found.arrived_at <= contact.bounced_at


def _aside(contact: Contact, event: MailEvent) -> Aside | None:
    """Why an event says nothing of the contact's present address; None if it does."""
    if event.is_suppressed:
        return Aside.SUPPRESSED
    if event.address is not None and event.address != contact.email:
        return Aside.ANOTHER_ADDRESS
    if event.address is None and contact.email_since is not None and event.occurred_at < contact.email_since:
        return Aside.BEFORE_THIS_ADDRESS
    if contact.bounces_since is not None and event.occurred_at <= contact.bounces_since:
        return Aside.FORGIVEN
    return None


def _arrived(found: Weighed, event: MailEvent) -> None:
    found.arrived_at = event.occurred_at
    if found.status != "hard":
        counted = [id_ for id_, why in found.aside.items() if why in (None, Aside.SAME_MESSAGE, Aside.TOO_OLD)]
        found.aside.update(dict.fromkeys(counted, Aside.DELIVERED_SINCE))
        found.status, found.cause, found.soft = "none", None, []


def _bounced_softly(found: Weighed, event: MailEvent, policy: SoftPolicy) -> None:
    window = timedelta(days=policy.days)
    recent = [one for one in found.soft if event.occurred_at - one.occurred_at < window]
    if found.cause is None:
        found.aside.update({one.id: Aside.TOO_OLD for one in found.soft[: len(found.soft) - len(recent)]})
        # A repetition counts once the bounce that it repeats is too old.
        found.aside.update(_first_of_each(recent))
    found.status, found.soft = "soft", [*recent, event]
    found.aside[event.id] = _first_of_each(found.soft)[event.id]
    if found.cause is None and found.messages >= policy.limit:
        found.cause = event


def _first_of_each(soft: Sequence[MailEvent]) -> dict[UUID, Aside | None]:
    """Which of these bounces count: the first of each message."""
    messages: set[object] = set()
    why: dict[UUID, Aside | None] = {}
    for one in soft:
        why[one.id] = Aside.SAME_MESSAGE if _message(one) in messages else None
        messages.add(_message(one))
    return why


def _message(event: MailEvent) -> object:
    return event.message or event.id
