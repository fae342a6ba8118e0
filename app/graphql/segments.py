"""Segments as GraphQL shows them: what they say, and how many are in them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, cast

import strawberry
from strawberry.scalars import JSON

from app.engine.conditions import is_clean
from app.errors import AppError, Fault, InvalidInput
from app.graphql.context import Info
from app.graphql.fields import resolved
from app.graphql.loaders import Loaders
from app.graphql.nodes import Named, Node, id_of
from app.graphql.relay import After, Connection, FirstOf, connection, forwards
from app.store import contact_counts, graph, pages
from app.store.contact_counts import EXACT, Count
from app.store.graph import SegmentRow


@strawberry.type(description=f"How many there are: exactly up to {EXACT:,}, beyond that about.")
class Estimate:
    number: int = strawberry.field(description="How many; where it is not exact, as many as the database expects.")
    is_exact: bool = strawberry.field(description="Whether they were counted one by one.")

    @classmethod
    def of(cls, found: Count) -> "Estimate":
        return cls(number=found.number, is_exact=found.is_exact)


@strawberry.type(description="A saved condition on contacts. Whoever matches when somebody asks is in it.")
class Segment(Node):
    id: strawberry.ID = strawberry.field(description='`segment:` and its key, for example `"segment:hot_leads"`.')
    key: str = strawberry.field(description='What it is named by in filters and conditions, for example `"hot_leads"`.')
    name: str = strawberry.field(description='For people to read, for example `"Hot leads"`.')
    description: str | None = strawberry.field(description="What it is for.")
    condition: JSON = strawberry.field(
        description="Who is in it, as react-querybuilder's JSON: `combinator`, `rules`, `field`, `operator`, `value`."
    )
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")

    @classmethod
    def of(cls, row: SegmentRow) -> "Segment":
        return cls(
            id=id_of(Named.SEGMENT, row.key),
            key=row.key,
            name=row.name,
            description=row.description,
            condition=JSON(row.condition),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    @resolved(
        "How many contacts are in it just now. All that a query asks for are counted by one statement. An error of "
        "code `conflict`: it looks at a measure whose history is still being counted."
    )
    async def count(self, info: Info) -> Estimate:
        return cast("Estimate", await info.context.load.by(load_counts).load(self.key))


SegmentKey = Annotated[str, strawberry.argument(description='Its key: `"hot_leads"`.')]


async def segments(info: Info, first: FirstOf = 50, after: After = None) -> Connection[Segment]:
    """Raises InvalidInput for sizes and cursors that make no sense."""
    window = forwards(first, after)
    async with info.context.load.reading() as db:
        found = await graph.segments(db, window.limit + 1, None if after is None else _after(after))
    info.context.budget.spend(len(found))
    return connection(found, window, lambda row: pages.encode(row.key), Segment.of)


async def segment(info: Info, key: SegmentKey) -> Segment | None:
    row = await info.context.load.by(load_segments).load(key)
    return None if row is None else Segment.of(row)


async def load_segments(load: Loaders, keys: Sequence[str]) -> list[SegmentRow | None]:
    async with load.reading() as db:
        found = await graph.segments_by_key(db, [key for key in keys if is_clean(key)])
    return [found.get(key) for key in keys]


async def load_counts(load: Loaders, keys: Sequence[str]) -> list[Any]:  # Any: an Estimate, or what to raise
    """One that cannot be asked yet fails alone."""
    definitions = await load.segments()
    found: dict[str, Any] = {}
    rows = {}
    for key in keys:
        try:
            rows[key] = definitions.members(key).rows()
        except AppError as fault:
            found[key] = fault
    async with load.reading() as db:
        counts = await contact_counts.counted_each(db, list(rows.values()))
    found |= {key: Estimate.of(one) for key, one in zip(rows, counts, strict=True)}
    return [found[key] for key in keys]


def _after(cursor: str) -> str:
    try:
        [said] = pages.decode(cursor, 1)
    except InvalidInput:
        said = None
    if not isinstance(said, str) or not is_clean(said):
        raise InvalidInput(Fault("/after", "not a cursor; take one from 'pageInfo' or 'edges', unchanged"))
    return said
