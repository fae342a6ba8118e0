"""What we say of contacts, by the names that pairs give it."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.engine import profiles
from app.engine.plan import Plan
from app.engine.rules import band_of
from app.store import contacts
from app.store.db import Connection
from app.store.tables import Contact
from app.sync import mapping
from app.sync.reconcile import Ours


async def load(db: Connection, plan: Plan, people: Collection[UUID]) -> dict[UUID, Ours]:
    """Of contacts as they are stored; those that are not there are left out. Two statements."""
    rows = await contacts.load(db, people)
    scores = await scores_of(db, rows)
    return {one: of(row, scores.get(one, {}), plan) for one, row in rows.items()}


async def scores_of(db: Connection, people: Iterable[UUID]) -> dict[UUID, dict[int, Decimal | None]]:
    """Their scores by model; None for who is not in the model's audience."""
    found: dict[UUID, dict[int, Decimal | None]] = {}
    for row in await db.fetch("SELECT contact_id, model_id, value FROM score WHERE contact_id = ANY($1)", list(people)):
        found.setdefault(row[0], {})[row[1]] = row[2]
    return found


def of(contact: Contact, scores: Mapping[int, Decimal | None], plan: Plan) -> Ours:
    """All that can be mapped of a contact. A property that it has not is absent; one that was removed is None."""
    values: dict[str, Any] = {  # Any: whatever a contact holds
        mapping.EMAIL: contact.email,
        mapping.NAME: contact.name,
        mapping.STAGE: contact.stage,
        mapping.TAGS: sorted(contact.tags),
        mapping.OPTED_OUT: contact.opted_out,
        mapping.BOUNCED: contact.bounced,
        mapping.BOUNCED_AT: contact.bounced_at if contact.bounced else None,
        mapping.BOUNCED_REASON: contact.bounced_reason if contact.bounced else None,
        mapping.BOUNCE_STATUS: contact.bounce_status,
    }
    for model in plan.models:
        value = scores.get(model.id)
        band = None if value is None else band_of(value, model.bands)
        values[f"{mapping.SCORE}{model.key}"] = value
        values[f"{mapping.BAND}{model.key}"] = None if band is None else band.name
    removed = dict.fromkeys(contact.said_at.get("properties", ()))
    values |= {f"{mapping.PROPERTY}{name}": value for name, value in {**removed, **contact.properties}.items()}
    return Ours(values, _said_at(contact))


def _said_at(contact: Contact) -> dict[str, datetime]:
    said: dict[str, Any] = contact.said_at  # Any: instants, and dicts of them
    found: dict[str, datetime] = {
        name: profiles.instant(said[name]) for name in ("email", "name", "stage") if name in said
    }
    found |= {
        f"{mapping.PROPERTY}{name}": profiles.instant(moment) for name, moment in said.get("properties", {}).items()
    }
    if tags := said.get("tags"):
        found[mapping.TAGS] = profiles.instant(max(tags.values()))
    if not contact.opted_out and contact.opted_out_at is not None:
        found[mapping.OPTED_OUT] = contact.opted_out_at
    ended = [at for at in (contact.bounces_since, contact.email_since) if at is not None]
    if not contact.bounced and ended:
        found[mapping.BOUNCED] = found[mapping.BOUNCED_AT] = max(ended)
    return found
