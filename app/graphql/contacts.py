"""The list of contacts: a Relay connection, paged by keyset from either end."""

import asyncio

import strawberry

from app.graphql import filters, orders
from app.graphql.catalog import Catalog
from app.graphql.context import Info
from app.graphql.fields import resolved
from app.graphql.filter_inputs import ContactFilter, FilterArgument
from app.graphql.limits import Size, page_size
from app.graphql.orders import Order, OrderArgument
from app.graphql.relay import After, Before, First, Last, PageInfo
from app.graphql.types import Contact
from app.store import contact_counts, contact_pages
from app.store.contact_counts import EXACT, Count
from app.store.contact_filter import Filter
from app.store.contact_pages import Span


@strawberry.type(description="A contact's place in a list.")
class ContactEdge:
    cursor: str = strawberry.field(description="Opaque. Good for the same `orderBy` only; the filter may change.")
    node: Contact = strawberry.field(description="The contact.")


@strawberry.type(description="A page of contacts.")
class ContactConnection:
    wanted: strawberry.Private[Filter]
    counting: strawberry.Private[asyncio.Lock]
    count: strawberry.Private[Count | None]

    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")
    edges: list[ContactEdge] = strawberry.field(description="The contacts of the page, with their cursors.")
    nodes: list[Contact] = strawberry.field(description="The contacts of the page.")

    @resolved(
        f"How many contacts match the filter: exactly up to {EXACT:,}, beyond that about as many as the database "
        "expects; `totalCountIsExact` says which. Counted only when asked for."
    )
    async def total_count(self, info: Info) -> int:
        return (await self.counted(info)).number

    @resolved(f"Whether `totalCount` is exact, as it is up to {EXACT:,}.")
    async def total_count_is_exact(self, info: Info) -> bool:
        return (await self.counted(info)).is_exact

    async def counted(self, info: Info) -> Count:
        """Counted once for both fields, which resolve at the same time."""
        async with self.counting:
            if self.count is None:
                async with info.context.load.reading() as db:
                    self.count = await contact_counts.count(db, self.wanted)
        return self.count


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
    wanted, catalog = await wanted_of(info, filter)
    order = orders.read(order_by, catalog)
    return await page_of(info, wanted, order, page_size(first, last), (after, before))


async def wanted_of(info: Info, said: ContactFilter | None) -> tuple[Filter, Catalog]:
    """The filter in the store's words, by the models as they are now. Raises InvalidInput, Conflict."""
    catalog = await info.context.load.catalog()
    definitions = await info.context.load.segments() if filters.needs_definitions(said) else None
    return filters.read(said, catalog, definitions), catalog


async def page_of(
    info: Info, wanted: Filter, order: Order, size: Size, cursors: tuple[str | None, str | None]
) -> ContactConnection:
    """A page in an order, between two cursors. Raises InvalidInput for cursors that are not of this order."""
    after, before = cursors
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
        counting=asyncio.Lock(),
        count=None,
        page_info=PageInfo(
            has_next_page=before is not None if size.from_end else goes_on,
            has_previous_page=goes_on if size.from_end else after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        edges=edges,
        nodes=[edge.node for edge in edges],
    )
