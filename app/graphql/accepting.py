"""Which kind of answer a client is sent, by its `Accept`: RFC 9110, section 12.5.1."""

from functools import lru_cache

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
HTML = "text/html"
EVENTS = "text/event-stream"


@lru_cache(256)
def preferred(accept: bytes, *, is_page: bool) -> str | None:
    """What the client prefers; None if it accepts nothing that there is. `is_page` if it may be sent the page, for
    which, as for events, it must ask by name.

    Of what it prefers equally what it names goes first, and JSON where it names neither, as clients do that are older
    than the other.
    """
    ranges = [_range(one) for one in accept.decode("latin-1").lower().split(",") if one.strip()] or [("*/*", 1.0)]
    offered = [(HTML, 3 if is_page else -1), (GRAPHQL, 2), (JSON, 1), (EVENTS, 0)]
    best: tuple[float, bool, int, str] | None = None
    for kind, rank in offered:
        wanted, is_named = _quality(kind, ranges)
        if rank < 0 or wanted <= 0 or (kind in (HTML, EVENTS) and not is_named):
            continue
        found = (wanted, is_named, rank if is_named else -rank, kind)
        best = found if best is None else max(best, found)
    return None if best is None else best[3]


def _range(said: str) -> tuple[str, float]:
    kind, *parameters = (one.strip() for one in said.split(";"))
    for one in parameters:
        name, _, value = one.partition("=")
        if name.strip() == "q":
            try:
                return kind, float(value)
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _quality(kind: str, ranges: list[tuple[str, float]]) -> tuple[float, bool]:
    """By the narrowest range that holds it, and whether that names it."""
    for pattern in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        for said, quality in ranges:
            if said == pattern:
                return quality, pattern == kind
    return 0.0, False
