"""Arguments taken apart: what a statement is made for, and the values that differ from request to request.

The same reading is done twice. `Values` takes the values out: what remains is the shape that a statement is known by.
`Marks` puts a mark in the place of each instead: the resolver makes its SQL of these, and where a mark turns up among
the statement's values, there belongs the request's own. A mark that does not turn up was worked on: then the statement
is not used.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from app.engine.identity import normal_email
from app.graphql import orders
from app.graphql.limits import MAX_EVENTS, plain_text
from app.graphql.orders import Order
from app.graphql.selections import Uncovered
from app.store.contact_pages import Place, Value

Given: TypeAlias = Mapping[str, Any]  # Any: of any input type
OrderOf: TypeAlias = Callable[[Any], Order]
"""What an `orderBy` means."""

_TEXTS = {"tag", "email", "stage"}
_MAX_TYPES = 50
_BOUNDS = {"gte", "gt", "lte", "lt"}


class Take(Protocol):
    """What becomes of the values. Each may raise ValueError or AppError, where the resolvers have a word to say."""

    def id(self, said: str) -> object: ...
    def address(self, said: str) -> object: ...
    def text(self, said: str) -> object: ...
    def texts(self, said: list[str]) -> object: ...
    def bound(self, said: float) -> object: ...
    def place(self, said: str, order: Order, pointer: str) -> object: ...


class Values:
    def __init__(self) -> None:
        self.taken: list[object] = []

    def id(self, said: str) -> object:
        return self._take(UUID(said), "id")

    def address(self, said: str) -> object:
        return self._take(normal_email(plain_text(said, "")), "address")

    def text(self, said: str) -> object:
        return self._take(plain_text(said, ""), "text")

    def texts(self, said: list[str]) -> object:
        return self._take([plain_text(one, "") for one in said], "texts")

    def bound(self, said: float) -> object:
        return self._take(Decimal(repr(said)), "bound")

    def place(self, said: str, order: Order, pointer: str) -> object:
        place = orders.place_of(said, order, pointer)
        assert place is not None
        self.taken += [one for one in (*place.values, place.id) if one is not None]
        return [one is None for one in place.values]

    def _take(self, value: object, kind: str) -> str:
        self.taken.append(value)
        return kind


class Marks:
    """Of each kind one mark a value, counted as `Values` counts them."""

    def __init__(self) -> None:
        self._places: dict[object, int] = {}
        self.missing: set[int] = set()
        """Those that were not asked for by `find` yet."""

    def find(self, value: object) -> int | None:
        """Which value belongs where this one turned up; None if it is no mark."""
        try:
            place = self._places.get(value)
        except TypeError:
            return None
        self.missing.discard(-1 if place is None else place)
        return place

    def id(self, _: str) -> object:
        return self._mark(UUID(int=0x5107 << 96 | len(self._places)))

    def address(self, _: str) -> object:
        return self.text("")

    def text(self, _: str) -> object:
        return self._mark(f"\ue000 {len(self._places)} \ue000")

    def texts(self, _: list[str]) -> object:
        return self.text("")

    def bound(self, _: float) -> object:
        made = float(f"{len(self._places)}.7253")
        self._mark(Decimal(repr(made)))
        return made

    def place(self, said: str, order: Order, pointer: str) -> object:
        place = orders.place_of(said, order, pointer)
        assert place is not None
        values = tuple(None if one is None else self._like(one) for one in place.values)
        return orders.cursor(Place(values, self._mark(UUID(int=0x5107 << 96 | len(self._places)))), order)

    def _like(self, value: Value) -> Value:
        number = len(self._places)
        made: Value = f"\ue000 {number} \ue000"
        if isinstance(value, Decimal):
            made = Decimal(f"{number}.7253")
        elif isinstance(value, datetime):
            made = datetime(1971, 1, 1, 0, 0, 0, 7253, tzinfo=UTC) + timedelta(days=number)
        self._mark(made)
        return made

    def _mark(self, made: Any) -> Any:  # Any: returned as it is
        place = self._places[made] = len(self._places)
        self.missing.add(place)
        return made


Reader: TypeAlias = Callable[[Given, Take, OrderOf], Given]


def nothing(given: Given, _: Take, __: OrderOf) -> Given:
    if any(value is not None for value in given.values()):
        raise Uncovered
    return {}


def contact(given: Given, take: Take, _: OrderOf) -> Given:
    match {name: value for name, value in given.items() if value is not None}:
        case {"id": str(said), **rest} if not rest:
            return {"id": take.id(said)}
        case {"email": str(said), **rest} if not rest:
            return {"email": take.address(said)}
    raise Uncovered


def contacts(given: Given, take: Take, order_of: OrderOf) -> Given:
    read: dict[str, object] = {}
    for name, value in given.items():
        match name, value:
            case _, None:
                pass
            case "filter", dict(said):
                read[name] = _filter(said, take)
            case "after" | "before", str(said):
                read[name] = take.place(said, order_of(given.get("orderBy")), f"/{name}")
            case "first" | "last" | "orderBy", _:
                read[name] = value
            case _:
                raise Uncovered
    return read


def distribution(given: Given, take: Take, _: OrderOf) -> Given:
    """Buckets belong to the shape: their parts are constants of the statement."""
    read = {name: value for name, value in given.items() if value is not None}
    if not read.keys() <= {"model", "buckets", "filter"}:
        raise Uncovered
    return {**read, "filter": _filter(read["filter"], take)} if "filter" in read else read


def score(given: Given, _: Take, __: OrderOf) -> Given:
    if {name for name, value in given.items() if value is not None} != {"model"}:
        raise Uncovered
    return given


def events(given: Given, take: Take, _: OrderOf) -> Given:
    match {name: value for name, value in given.items() if value is not None}:
        case {"first": int(first), **rest} if 0 <= first <= MAX_EVENTS:
            match rest:
                case {} if not rest:
                    return {"first": first}
                case {"types": list(types)} if len(rest) == 1 and len(types) <= _MAX_TYPES:
                    return {"first": first, "types": take.texts(types)}
    raise Uncovered


def _filter(said: Given, take: Take) -> Given:
    """What is not taken here belongs to the shape."""
    read: dict[str, object] = {}
    for name, value in said.items():
        if value is None:
            continue
        if name in _TEXTS:
            read[name] = take.text(value)
        elif name == "score":
            read[name] = _range(value, take)
        elif name == "scores":
            read[name] = [_range(one, take) for one in value]
        elif name in {"and", "or"}:
            read[name] = [_filter(one, take) for one in value]
        elif name == "not":
            read[name] = _filter(value, take)
        else:
            read[name] = value
    return read


def _range(said: Given, take: Take) -> Given:
    return {
        name: take.bound(value) if name in _BOUNDS and isinstance(value, float) else value
        for name, value in said.items()
        if value is not None
    }
