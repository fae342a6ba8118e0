"""A selection, written as one statement of the pieces that `covered.py` lists."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from graphql import GraphQLEnumType, get_named_type

from app.graphql.arguments import Given, Marks
from app.graphql.catalog import Catalog, Model
from app.graphql.contacts import contacts
from app.graphql.context import Info
from app.graphql.covered import BAND, CONTACT, EVENT, IDENTITY, MODEL, SCORE, Constants, Fields
from app.graphql.distribution import score_distribution
from app.graphql.limits import MAX_OBJECTS, Budget, page_size
from app.graphql.orders import Order
from app.graphql.selections import Selected, Uncovered, Unknown
from app.store import answers
from app.store.answers import Captured, Column, Page
from app.store.contact_pages import TEXTS, By

_RANGES = {"score", "band", "scores"}
_OF_A_VALUE = {"value", "band", "model", "__typename"}
"""Of a score, what needs nothing but its value."""
_LONGEST_KEY = 63
"""Bytes: PostgreSQL cuts the name of a column off there."""


Place: TypeAlias = int | tuple[int, ...] | None
"""Which of a request's values, or a list of which; None for a constant of the shape's."""


@dataclass(frozen=True)
class Written:
    """A statement that gives the whole answer."""

    sql: str
    places: tuple["Place", ...]
    """What each placeholder stands for."""
    constants: tuple[object, ...]
    is_steady: bool
    """Whether one plan is right for all values: each page is a stretch of one index, or somebody by their key."""
    most: float
    """Objects that the answer can have in lists."""

    def arguments(self, taken: Sequence[object]) -> list[object]:
        given: list[object] = []
        for place, constant in zip(self.places, self.constants, strict=True):
            match place:
                case int():
                    given.append(taken[place])
                case None:
                    given.append(constant)
                case _:
                    given.append([taken[one] for one in place])
        return given


@dataclass
class Writer:
    """Writes one statement. Everything raises Uncovered, and Unknown or AppError where it depends on the models."""

    catalog: Catalog
    given: Mapping[Selected, Given]
    """The arguments of each field that has any, with marks for what varies."""
    marks: Marks
    converted: Callable[[Selected, Given], dict[str, Any]]  # Any: of any input type
    """Arguments as a resolver takes them."""
    order_of: Callable[[Any], Order]  # Any: an `orderBy`
    _places: list[Place] = field(default_factory=list)
    _constants: list[object] = field(default_factory=list)
    _is_steady: bool = True
    _most: float = 0
    _times: int = 1
    _at_hand: int | None = None
    """The model whose score is the order's first key, where everybody on the page has one."""

    async def write(self, roots: Sequence[Selected]) -> Written:
        sql = answers.answer([(_key(one), await self._root(one)) for one in roots])
        if self.marks.missing or MAX_OBJECTS < self._most < math.inf:
            raise Uncovered
        return Written(sql, tuple(self._places), tuple(self._constants), self._is_steady, self._most)

    async def _root(self, one: Selected) -> str:
        given = self.given.get(one, {})
        match one.name, _type(one):
            case "contact", "Contact" if "id" in given:
                return answers.by_id(self._placeholder(given["id"]), self._contact(one.below))
            case "contact", "Contact" if "email" in given:
                return answers.by_email(self._placeholder(given["email"]), self._contact(one.below))
            case "contacts", "ContactConnection!":
                return await self._page(one, given)
            case "scoreDistribution", "ScoreDistribution!":
                return await self._distribution(one, given)
        return _plain(one, {})

    # --- a contact

    def _contact(self, below: Sequence[Selected]) -> list[Column]:
        return [(_key(one), self._of_contact(one)) for one in below]

    def _of_contact(self, one: Selected) -> str:
        given = self.given.get(one, {})
        match one.name, _type(one):
            case "bounceStatus", _:
                return answers.choice(_plain(one, CONTACT), _names(one))
            case "emailQuality", _:
                return answers.choices(_plain(one, CONTACT), _names(one))
            case "score", "Score":
                model = self.catalog.named(given["model"], "")
                columns = self._score(one.below, [model])
                if model.id == self._at_hand and {inner.name for inner in one.below} <= _OF_A_VALUE:
                    return answers.score_at_hand("p.k0", columns)
                return answers.score(model.id, columns)
            case "scores", "[Score!]!":
                models = sorted(self.catalog.models, key=lambda model: model.key)
                with self._listed(len(models)):
                    return answers.scores([model.id for model in models], self._score(one.below, models))
            case "events", "[Event!]!":
                types = self._placeholder(given["types"]) if "types" in given else None
                with self._listed(given["first"]):
                    return answers.events(given["first"], types, _columns(one.below, EVENT))
            case "identities", "[Identity!]!":
                with self._listed(math.inf):
                    return answers.identities(_columns(one.below, IDENTITY))
        return _plain(one, CONTACT)

    def _score(self, below: Sequence[Selected], models: Sequence[Model]) -> Iterator[Column]:
        """Of whichever of `models` a row is."""
        for one in below:
            sql: str
            match one.name, _type(one):
                case "band", "Band":
                    sql = answers.by_model({model.id: _bands(one.below, _live(model)) for model in models})
                case "model", "ScoringModel!":
                    said = {model.id: answers.constant(_model(one.below, _live(model))) for model in models}
                    sql = answers.by_model(said)
                case _:
                    sql = _plain(one, SCORE)
            yield _key(one), sql

    # --- a page of contacts

    async def _page(self, one: Selected, given: Given) -> str:
        size = page_size(given.get("first"), given.get("last"))
        order = self.order_of(given.get("orderBy"))
        made = await self._read(contacts, one, given, size.limit + 1)
        self._is_steady = self._is_steady and _is_one_stretch(order, given)
        first = order.keys[0]
        is_scored = first.by is By.SCORE and _models(given) >= {self.catalog.by_id[first.model or 0].key}
        self._at_hand = first.model if is_scored else None
        page = Page(self._filled(made), made.width - len(answers.PERSON), size.limit, size.from_end)
        kinds = ["number" if key.by is By.SCORE else "text" if key.by in TEXTS else "instant" for key in order.keys]
        cursor = answers.cursor(order.name, kinds)
        gathered: dict[str, str] = {}
        columns = [(_key(inner), self._of_page(inner, page, given, cursor, gathered)) for inner in one.below]
        self._at_hand = None
        return page.read(gathered, columns)

    def _of_page(self, one: Selected, page: Page, given: Given, cursor: str, gathered: dict[str, str]) -> str:
        match one.name, _type(one):
            case "nodes", "[Contact!]!":
                each = self._contact
            case "edges", "[ContactEdge!]!":

                def each(below: Sequence[Selected]) -> list[Column]:
                    return [(_key(inner), self._of_edge(inner, cursor)) for inner in below]

            case "pageInfo", "PageInfo!":
                return answers.record(
                    (_key(inner), _of_info(inner, page, given, cursor, gathered)) for inner in one.below
                )
            case _:
                return _plain(one, {})
        with self._listed(page.limit):
            return _gather(gathered, page.all_of(answers.record(each(one.below))))

    def _of_edge(self, one: Selected, cursor: str) -> str:
        if (one.name, _type(one)) == ("node", "Contact!"):
            return answers.record(self._contact(one.below))
        return _plain(one, {"cursor": ("String!", cursor)})

    # --- a distribution

    async def _distribution(self, one: Selected, given: Given) -> str:
        """The ranges and their bands are as the resolver makes them; the numbers are the statement's."""
        reading = _Reading(self.catalog)
        found = await score_distribution(cast("Info", reading), **self.converted(one, given))
        model = _live(self.catalog.named(given["model"], ""))
        made = answers.captured(reading.statements, 1)
        self._is_steady = self._is_steady and "filter" not in given
        self._most += len(found.parts)
        ranges = [f"d.c{at}" for at in range(len(found.parts))]
        columns: list[Column] = []
        for inner in one.below:
            match inner.name, _type(inner):
                case "model", "ModelRef!":
                    sql = answers.constant(_said(inner.below, model, MODEL))
                case "parts", "[DistributionPart!]!":
                    parts = [
                        answers.record((_key(each), _of_part(each, part, count)) for each in inner.below)
                        for part, count in zip(found.parts, ranges, strict=True)
                    ]
                    sql = answers.listed(parts)
                case _:
                    sql = _plain(inner, {"contacts": ("Int!", "d.total"), "outside": ("Int!", f"d.c{len(ranges)}")})
            columns.append((_key(inner), sql))
        return answers.counted(self._filled(made), made.width, columns)

    # --- pieces

    async def _read(self, resolver: Callable[..., Any], one: Selected, given: Given, limit: int) -> Captured:
        """The statement that a resolver would run. Any: what it returns, which is of nothing."""
        reading = _Reading(self.catalog)
        await resolver(cast("Info", reading), **self.converted(one, given))
        if not reading.statements:
            raise Uncovered  # the cursors leave nothing between them
        return answers.captured(reading.statements, limit)

    @contextmanager
    def _listed(self, length: float) -> Iterator[None]:
        """What is written inside is there for each of so many."""
        self._most += self._times * length
        before, self._times = self._times, self._times * max(int(min(length, MAX_OBJECTS)), 1)
        yield
        self._times = before

    def _placeholder(self, mark: object) -> str:
        place = self.marks.find(mark)
        if place is None:
            raise Uncovered
        return self._value(place, None)

    def _filled(self, made: Captured) -> str:
        def fill(at: int) -> str:
            given = made.values[at]
            place: Place = self.marks.find(given)
            if isinstance(given, list) and given:
                found = [one for one in map(self.marks.find, given) if one is not None]
                place = tuple(found) if len(found) == len(given) else None
            if place is None and isinstance(given, int):
                return str(given)  # seen by the planner, who would else take a limit for a tenth of all
            return self._value(place, given if place is None else None)

        return answers.filled(made.sql, fill)

    def _value(self, place: Place, constant: object) -> str:
        self._places.append(place)
        self._constants.append(constant)
        return f"${len(self._places)}"


def _key(one: Selected) -> str:
    if len(one.key) > _LONGEST_KEY:
        raise Uncovered
    return one.key


def _type(one: Selected) -> str:
    return "" if one.field is None else str(one.field.type)


def _plain(one: Selected, fields: Fields) -> str:
    if one.field is None:
        return f"'{one.parent.name}'::text"
    expected, sql = fields.get(one.name, ("", ""))
    if expected != _type(one):
        raise Uncovered
    return sql


def _columns(below: Sequence[Selected], fields: Fields) -> list[Column]:
    return [(_key(one), _plain(one, fields)) for one in below]


def _names(one: Selected) -> dict[str, str]:
    """Of an enum, by the values in the database."""
    assert one.field is not None
    named = get_named_type(one.field.type)
    assert isinstance(named, GraphQLEnumType)
    return {str(value.value): name for name, value in named.values.items()}


def _live(model: Model) -> Model:
    """The plan's epoch tells of whatever changes a version that is live, and not of what changes a draft."""
    if model.version is None:
        raise Unknown
    return model


def _bands(below: Sequence[Selected], model: Model) -> str:
    levels = [(None if band.min is None else f"{band.min:f}", _said(below, band, BAND)) for band in model.bands]
    return answers.band([(least, answers.constant(said)) for least, said in reversed(levels)])


def _model(below: Sequence[Selected], model: Model) -> dict[str, object]:
    said: dict[str, object] = {}
    for one in below:
        if (one.name, _type(one)) == ("bands", "[Band!]!"):
            said[_key(one)] = [_said(one.below, band, BAND) for band in model.bands]
        else:
            said |= _said([one], model, MODEL)
    return said


def _said(below: Sequence[Selected], of: object, fields: Constants) -> dict[str, object]:
    """What is known of a band or a model before anything is read."""
    found: dict[str, object] = {}
    for one in below:
        if one.field is None:
            found[_key(one)] = one.parent.name
        elif one.name in fields and fields[one.name][0] == _type(one):
            found[_key(one)] = fields[one.name][1](of)
        else:
            raise Uncovered
    return found


def _of_info(one: Selected, page: Page, given: Given, cursor: str, gathered: dict[str, str]) -> str:
    """Cursors are gathered with the lists, of the contacts at both ends."""
    goes_on = f"g.total > {page.limit}"
    follows, precedes = (str(name in given).lower() for name in ("before", "after"))
    match one.name, _type(one):
        case "hasNextPage", "Boolean!":
            return follows if page.from_end else goes_on
        case "hasPreviousPage", "Boolean!":
            return goes_on if page.from_end else precedes
        case "startCursor" | "endCursor", "String":
            return _gather(gathered, page.one_of(cursor, is_first=one.name == "startCursor"))
    return _plain(one, {})


def _of_part(one: Selected, part: Any, count: str) -> str:  # Any: a DistributionPart
    match one.name, _type(one):
        case "band", "Band":
            return answers.constant(None if part.band is None else _said(one.below, part.band, BAND))
        case "from" | "to", "Float":
            return answers.constant(part.from_ if one.name == "from" else part.to)
    return _plain(one, {"contacts": ("Int!", count), "share": ("Float!", answers.share(count))})


def _gather(gathered: dict[str, str], sql: str) -> str:
    name = f"l{len(gathered)}"
    gathered[name] = sql
    return f"g.{name}"


def _is_one_stretch(order: Order, given: Given) -> bool:
    """Whether the order's index bounds whatever the filter says: there is none, or ranges of the score ordered by."""
    if len(order.keys) != 1 or order.keys[0].by not in {By.SCORE, By.CREATED, By.LAST_EVENT}:
        return False
    ordered = (given.get("orderBy") or [{}])[0].get("score") or {}
    return given.get("filter", {}).keys() <= _RANGES and _models(given) <= {ordered.get("model")}


def _models(given: Given) -> set[str]:
    """The models in which everybody on the page has a score, for the filter wants one."""
    said = given.get("filter", {})
    ranges = [said[name] for name in ("score", "band") if name in said] + list(said.get("scores", ()))
    return {one["model"] for one in ranges}


class _Nothing(list[Any]):  # Any: rows
    """A result without rows; one row of noughts for whoever counts."""

    width = 0

    def one(self) -> list[int]:
        return [0] * self.width


class _Reading:
    """In place of a request's context and of its connection: notes what a resolver reads, and finds nothing."""

    def __init__(self, catalog: Catalog) -> None:
        self.statements: list[Any] = []  # Any: selects, whose name stays below the edge
        self.context = self.load = self
        self.budget = Budget()
        self._catalog = catalog

    async def catalog(self) -> Catalog:
        return self._catalog

    @asynccontextmanager
    async def reading(self) -> Any:  # Any: an iterator, as the decorator makes it
        yield self

    async def execute(self, statement: Any) -> _Nothing:  # Any: as above
        self.statements.append(statement)
        nothing = _Nothing()
        nothing.width = len(statement.selected_columns)
        return nothing

    def __getattr__(self, name: str) -> Any:  # Any: whatever else a resolver may ask for
        raise Uncovered
