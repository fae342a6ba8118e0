"""Pages as Relay has them: nodes, edges with cursors, and where the page lies in its list."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, NamedTuple, TypeVar

import strawberry

from app.graphql.limits import DEFAULT_PAGE, MAX_PAGE, bounded, page_size

T = TypeVar("T")
Row = TypeVar("Row")


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(
        description="Whether more follow. With `last`: whether a `before` cursor was given."
    )
    has_previous_page: bool = strawberry.field(
        description="With `last`: whether more precede. Otherwise: whether an `after` cursor was given."
    )
    start_cursor: str | None = strawberry.field(description="Of the first one: give it as `before` to page back.")
    end_cursor: str | None = strawberry.field(description="Of the last one: give it as `after` to go on.")


@strawberry.type(description="A place in a list.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(description="Opaque: give it as `after` or `before`, unchanged.")
    node: T = strawberry.field(description="What is there.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    page_info: PageInfo = strawberry.field(description="Where the page lies in its list.")
    edges: list[Edge[T]] = strawberry.field(description="What is on the page, with cursors.")
    nodes: list[T] = strawberry.field(description="What is on the page.")


First = Annotated[
    int | None,
    strawberry.argument(
        description=f"The first so many, at most {MAX_PAGE}. Without it and `last`: the first {DEFAULT_PAGE}."
    ),
]
Last = Annotated[
    int | None, strawberry.argument(description=f"The last so many, at most {MAX_PAGE}; in the same order.")
]
After = Annotated[str | None, strawberry.argument(description="A cursor: only what follows it.")]
Before = Annotated[str | None, strawberry.argument(description="A cursor: only what precedes it.")]
FirstOf = Annotated[int, strawberry.argument(description=f"The first so many, at most {MAX_PAGE}.")]


class Window(NamedTuple):
    """What page is asked for. One row more than `limit` says whether there are more."""

    limit: int
    from_end: bool = False
    is_after: bool = False
    is_before: bool = False


def window(first: int | None, after: str | None, last: int | None, before: str | None) -> Window:
    """Raises InvalidInput for sizes that make no sense."""
    size = page_size(first, last)
    return Window(size.limit, size.from_end, after is not None, before is not None)


def forwards(first: int, after: str | None) -> Window:
    """Of a list that is read from its beginning alone. Raises InvalidInput for a size that makes no sense."""
    return Window(bounded(first, MAX_PAGE, "first"), is_after=after is not None)


def connection(
    found: Sequence[Row], window: Window, cursor: Callable[[Row], str], node: Callable[[Row], T]
) -> Connection[T]:
    """`found` in the order of the list, with one row more than the limit at the far end, if there is one."""
    goes_on = len(found) > window.limit
    if goes_on:
        found = found[1:] if window.from_end else found[:-1]
    edges = [Edge(cursor=cursor(one), node=node(one)) for one in found]
    return Connection(
        page_info=PageInfo(
            has_next_page=window.is_before if window.from_end else goes_on,
            has_previous_page=goes_on if window.from_end else window.is_after,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        edges=edges,
        nodes=[edge.node for edge in edges],
    )
