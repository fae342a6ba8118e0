"""Why an address is taken to be dead: the bounces that were told, what they cost, and the list to clean up by."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from app.engine import bounces as engine
from app.engine import usage
from app.engine.bounces import Evidence
from app.graphql.context import Info
from app.graphql.fields import choices
from app.graphql.limits import bounded
from app.graphql.loaders import Loaders
from app.graphql.nodes import OfContact
from app.graphql.scoring import ModelRef, floated

_MAX_BOUNCES = 50
_FIELDS = {"contact.bounced", "contact.bounce_status"}


@choices(
    "Why a bounce does not count against the contact's address as it is.",
    SUPPRESSED="The provider did not even try to deliver.",
    ANOTHER_ADDRESS="It is of another address.",
    BEFORE_THIS_ADDRESS="It names no address, and came before the contact had this one.",
    FORGIVEN="Somebody cleared the bounce by hand since.",
    DELIVERED_SINCE="Something was delivered, opened or clicked since.",
    SAME_MESSAGE="An earlier one of the same message counts.",
    TOO_OLD="The next soft bounces came too long after it.",
    AFTER_HARD_BOUNCE="The address had bounced hard before.",
)
class BounceAside(StrEnum):
    SUPPRESSED = "suppressed"
    ANOTHER_ADDRESS = "another_address"
    BEFORE_THIS_ADDRESS = "before_this_address"
    FORGIVEN = "forgiven"
    DELIVERED_SINCE = "delivered_since"
    SAME_MESSAGE = "same_message"
    TOO_OLD = "too_old"
    AFTER_HARD_BOUNCE = "after_hard_bounce"


@strawberry.type(description="A bounce that was told, with its evidence as its source said it.")
class Bounce:
    id: strawberry.ID = strawberry.field(description="The event's, a UUID.")
    occurred_at: datetime = strawberry.field(description="When it happened, by the sender.")
    received_at: datetime = strawberry.field(description="When it was stored here.")
    source: str = strawberry.field(description="Who told of it, for example `sendgrid`.")
    address: str | None = strawberry.field(description="The address that bounced, if the source said.")
    bounce: str | None = strawberry.field(description="`hard` or `soft`.")
    status: str | None = strawberry.field(description='The enhanced status code (RFC 3463): `"5.1.1"`.')
    code: str | None = strawberry.field(description='The SMTP reply code: `"550"`.')
    reason: str | None = strawberry.field(description='The class, in the source\'s words: `"invalid recipient"`.')
    diagnostic: str | None = strawberry.field(description='The mail server\'s text: `"550 5.1.1 user unknown"`.')
    message_id: str | None = strawberry.field(description="The message that bounced.")
    campaign: str | None = strawberry.field(description="The campaign that it was of.")
    counts: bool = strawberry.field(description="Whether it counts against the contact's address as it is.")
    aside: BounceAside | None = strawberry.field(description="Why it does not count. Null: it does.")

    @classmethod
    def of(cls, one: Evidence) -> "Bounce":
        said = {name: _text(one.said.get(name)) for name in engine.SAID}
        return cls(
            id=strawberry.ID(str(one.id)),
            occurred_at=one.occurred_at,
            received_at=one.received_at,
            source=one.source,
            address=one.address,
            counts=one.aside is None,
            aside=None if one.aside is None else BounceAside(one.aside.value),
            **said,
        )


@strawberry.type(description="What a contact's bounce takes from one score.")
class BouncePenalty:
    model: ModelRef = strawberry.field(description="The scoring model.")
    points: float = strawberry.field(description="What the rules that look at the bounce give, below nought.")
    rules: list[str] = strawberry.field(description='The names of these rules: `["Bounced"]`.')
    value: float | None = strawberry.field(description="The score with it. Null: not in the model's audience.")
    value_without: float | None = strawberry.field(
        description="The score once the address is mended, where no limit of the model cuts; null where there is none."
    )


async def bounces(
    info: Info,
    contact: strawberry.Parent[OfContact],
    first: Annotated[int, strawberry.argument(description=f"How many, at most {_MAX_BOUNCES}.")] = 10,
) -> list[Bounce]:
    """Raises InvalidInput for a size that makes no sense."""
    limit = bounded(first, _MAX_BOUNCES, "first")
    found = await info.context.load.by(load_bounces).load((contact.key, limit))
    info.context.budget.spend(len(found))
    return [Bounce.of(one) for one in found]


async def bounce_penalties(info: Info, contact: strawberry.Parent[OfContact]) -> list[BouncePenalty]:
    """Of the live models, by their keys."""
    load = info.context.load
    given = await load.contributions.load(contact.key)
    scores = {row.model_id: row.value for row in await load.scores.load(contact.key)}
    catalog = await load.catalog()
    by_model = defaultdict(list)
    for one in given:
        if one.rule is not None and one.points < 0 and usage.named(one.rule.condition) & _FIELDS:
            by_model[one.model.id].append((one.rule.name, one.points))
    found = [(catalog.by_id[id_], taken) for id_, taken in by_model.items() if id_ in catalog.by_id]
    info.context.budget.spend(len(found))
    return [
        BouncePenalty(
            model=ModelRef(key=model.key, name=model.name),
            points=float(points := sum((one for _, one in taken), Decimal(0))),
            rules=[name for name, _ in taken],
            value=floated(value := scores.get(model.id)),
            value_without=None if value is None else float(value - points),
        )
        for model, taken in sorted(found, key=lambda pair: pair[0].key)
    ]


async def load_bounces(load: Loaders, wanted: Sequence[tuple[UUID, int]]) -> list[list[Evidence]]:
    groups: dict[int, list[UUID]] = defaultdict(list)
    for contact, first in wanted:
        groups[first].append(contact)
    found: dict[tuple[UUID, int], list[Evidence]] = {}
    for first, contacts in groups.items():
        async with load.explaining() as (db, _):
            grouped = await engine.evidence_each(db, contacts, load.policy, limit=first)
        found |= {(contact, first): rows for contact, rows in grouped.items()}
    return [found.get(one, []) for one in wanted]


def _text(said: Any) -> str | None:  # Any: JSON, as the sender said it
    return None if said is None else said if isinstance(said, str) else str(said)
