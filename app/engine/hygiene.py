"""The two flags. A hard bounce belongs to the address, an opt-out to the person; neither ever changes the other.

Pure: from a contact's row and what happened, the row as it should be. Everything is ordered by when it happened, not
by when it arrived, so that the flags are the same for any order of arrival.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from app.store.tables import Contact

BOUNCED, DELIVERED, OPENED, CLICKED = "email.bounced", "email.delivered", "email.opened", "email.clicked"
UNSUBSCRIBED, RESUBSCRIBED, COMPLAINED = "email.unsubscribed", "email.resubscribed", "email.complained"

CONSENT = {UNSUBSCRIBED: "unsubscribed", COMPLAINED: "complained", RESUBSCRIBED: "resubscribed"}
"""Events that say whether the person may be mailed, and the reason they leave."""
ARRIVALS = {DELIVERED, OPENED, CLICKED}
"""Events that prove the address takes mail."""
MAIL = [BOUNCED, *sorted(ARRIVALS)]
"""What a bounce state is made of."""

MANUAL = "manual"
HARD_BOUNCE = "hard_bounce"
SOFT_BOUNCES = "soft_bounces"


@dataclass(frozen=True)
class SoftPolicy:
    """After `limit` soft bounces within `days`, with nothing delivered between, an address counts as bounced."""

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


def decide_consent(contact: Contact, *, out: bool, at: datetime, reason: str, by: str) -> bool:
    """Opt a person out or in as of `at`; says whether anything changed. The later fact wins, opting out a tie."""
    known = contact.opted_out_at
    if known is not None and (at < known or (at == known and not out)):
        return False
    # An opt-in is kept even where nobody had opted out, so that an older opt-out that comes late loses to it.
    contact.opted_out, contact.opted_out_at = out, at
    contact.opted_out_reason, contact.opted_out_by = reason, by
    return True


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


def judge_bounces(contact: Contact, mail: Iterable[MailEvent], policy: SoftPolicy) -> None:
    """Set the bounce state to what all the contact's mail events say. What was set by hand stands."""
    if contact.bounced and contact.bounced_reason == MANUAL:
        return
    window = timedelta(days=policy.days)
    soft: list[datetime] = []
    verdict: tuple[str, datetime, str, str] | None = None  # status, since when, reason, by
    for event in sorted(_about(contact, mail), key=lambda one: (one.occurred_at, one.type == BOUNCED, one.id)):
        if event.type in ARRIVALS:
            soft.clear()
            verdict = None
        elif event.bounce == "hard":
            verdict = ("hard", event.occurred_at, HARD_BOUNCE, event.source)
            break
        else:
            soft = [at for at in soft if event.occurred_at - at < window] + [event.occurred_at]
            if verdict is None and len(soft) >= policy.limit:
                verdict = ("soft", event.occurred_at, SOFT_BOUNCES, event.source)
    contact.soft_bounces = len(soft)
    if verdict is None:
        contact.bounce_status = "soft" if soft else "none"
        if contact.bounced:
            contact.bounced, contact.bounced_at, contact.bounced_reason, contact.bounced_by = False, None, None, None
        return
    contact.bounced = True
    contact.bounce_status, contact.bounced_at, contact.bounced_reason, contact.bounced_by = verdict


def _about(contact: Contact, mail: Iterable[MailEvent]) -> list[MailEvent]:
    """The events about the contact's present address, and not forgiven since."""
    return [
        event
        for event in mail
        if (contact.bounces_since is None or event.occurred_at > contact.bounces_since)
        and (
            event.address == contact.email
            if event.address is not None
            else contact.email_since is None or event.occurred_at >= contact.email_since
        )
    ]
