"""The list of contacts: a Relay connection, paged by keyset from either end."""

from typing import Annotated

import strawberry

from app.graphql import filters, orders
from app.graphql.context import Info
from app.graphql.fields import resolved
from app.graphql.filters import FilterArgument
from app.graphql.limits import DEFAULT_PAGE, MAX_PAGE, page_size
from app.graphql.orders import OrderArgument
from app.graphql.types import Contact
from app.store import contact_pages
from app.store.contact_filter import Filter
from app.store.contact_pages import Span


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(
        description="Whether contacts follow. With `last`: whether a `before` cursor was given."
    )
    has_previous_page: bool = strawberry.field(
        description="With `last`: whether contacts precede. Otherwise: whether an `after` cursor was given."
    )
    start_cursor: str | None = strawberry.field(description="Of the first contact: give it as `before` to page back.")
    end_cursor: str | None = strawberry.field(description="Of the last contact: give it as `after` to go on.")


@strawberry.type(description="A contact's place in a list.")
class ContactEdge:
    cursor: str = strawberry.field(description="Opaque. Good for the same `orderBy` only; the filter may change.")
    node: Contact = strawberry.field(description="The contact.")


@strawberry.type(description="A page of contacts.")
class ContactConnection:
    wanted: strawberry.Private[Filter]

    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")
    edges: list[ContactEdge] = strawberry.field(description="The contacts of the page, with their cursors.")
    nodes: list[Contact] = strawberry.field(description="The contacts of the page.")

    @resolved("How many contacts match the filter, exactly. Counted only when asked for; costs more than a page.")
    async def total_count(self, info: Info) -> int:
        async with info.context.load.reading() as db:
            return await contact_pages.count(db, self.wanted)


After = Annotated[str | None, strawberry.argument(description="A cursor: only contacts that follow it.")]
Before = Annotated[str | None, strawberry.argument(description="A cursor: only contacts that precede it.")]
First = Annotated[
    int | None,
    strawberry.argument(
        description=f"The first so many, at most {MAX_PAGE}. Without it and `last`: the first {DEFAULT_PAGE}."
    ),
]
Last = Annotated[
    int | None, strawberry.argument(description=f"The last so many, at most {MAX_PAGE}; in the same order.")
]


async def contacts(
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter: FilterArgument = None,  # noqa: A002 - its name in the schema
    order_by: OrderArgument = None,
) -> ContactConnection:
    """Raises InvalidInput for sizes, cursors, filters or orders that make no sense; TooLarge for too many objects."""
    size = page_size(first, last)
    catalog = await info.context.load.catalog()
    segments = await info.context.load.segments() if filters.names_segment(filter) else None
    wanted, order = filters.read(filter, catalog, segments), orders.read(order_by, catalog)
    span = Span(
        size.limit + 1,
        after=orders.place_of(after, order, "/after"),
        before=orders.place_of(before, order, "/before"),
        from_end=size.from_end,
    )
    async with info.context.load.reading() as db:
        found = await contact_pages.page(db, wanted, order.keys, span)
    goes_on = len(found) > size.limit
    if goes_on:
        found = found[1:] if size.from_end else found[:-1]
    info.context.budget.spend(len(found))
    edges = [ContactEdge(cursor=orders.cursor(one.place, order), node=Contact.of(one.person)) for one in found]
    return ContactConnection(
        wanted=wanted,
        page_info=PageInfo(
            has_next_page=before is not None if size.from_end else goes_on,
            has_previous_page=goes_on if size.from_end else after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        edges=edges,
        nodes=[edge.node for edge in edges],
    )
