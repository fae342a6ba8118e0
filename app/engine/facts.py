"""What the formula asks of each contact, once for all rules: which conditions hold, which numbers they name, resets."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    Boolean,
    Date,
    Integer,
    Numeric,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by, array

from app.engine.compile import DAYS_INACTIVE, band_name, contact_row, next_flip, number_of, to_sql, utc_day
from app.engine.conditions import Condition
from app.engine.fields import BAND, MEASURE, SCORE, Aggregate, MeasureTerm, Vocabulary
from app.engine.rules import PerUnit, RuleKind, named
from app.engine.sheets import LiveModel, LiveRule
from app.engine.sources import AS_OF, AT, Source

ZERO: Any = literal_column("0")
ONE: Any = literal_column("1")
TRUE: Any = literal_column("true")
NO_DAY = cast(null(), Date)
_UNTIL = "until "
_NO_ENDS: Any = literal_column("'{}'::jsonb")

Owned = tuple[LiveModel, LiveRule]
"""A rule and whose it is."""


class Facts:
    """The conditions and numbers of some models, each asked once per contact however many rules name it.

    Rules refer to them by their numbers, from 1, as arrays in Postgres do.
    """

    def __init__(self, models: Sequence[LiveModel], contacts: Vocabulary, source: Source, *, detailed: bool) -> None:
        self.models = models
        self.source = source
        self.detailed = detailed
        self.rules: list[Owned] = [(model, live) for model in models for live in model.rules]
        self._vocabulary = contacts
        self._names = sorted(set().union(*(model.names for model in models)))
        measures = (name.removeprefix(MEASURE) for name in self._names if name.startswith(MEASURE))
        # By number, for a key may be as long as a column's name without more before it.
        self._measures = {key: number for number, key in enumerate(measures)}
        self._asked: dict[Condition, int] = {}
        self._units: dict[PerUnit, int] = {}
        for tree in (tree for model in models for tree in model.conditions):
            self._asked.setdefault(tree, len(self._asked) + 1)
        for _, live in self.rules:
            if live.rule.per_unit_of is not None:
                self._units.setdefault(live.rule.per_unit_of, len(self._units) + 1)
        groups = [(model.id, name) for model in models for name in model.sheet.groups]
        self._groups = {group: number for number, group in enumerate(groups)}

    def of_kind(self, kind: RuleKind) -> list[Owned]:
        return [one for one in self.rules if one[1].rule.kind is kind]

    def number(self, tree: Condition | None) -> int | None:
        return None if tree is None else self._asked[tree]

    def unit(self, per: PerUnit | None) -> int | None:
        return None if per is None else self._units[per]

    @property
    def has_groups(self) -> bool:
        return bool(self._groups)

    @cached_property
    def base(self) -> CTE:
        """A row for each contact: conditions that hold, when each may turn, numbers, the day it was made, resets."""
        who, adjustment = self.source.who, self.source.adjustment
        of, ends_on = func.coalesce(cast(adjustment.c.model_id, Text), "*"), adjustment.c.ends_on
        # Of two with one key the last stays: the latest day from which, the earliest end.
        days = func.jsonb_object_agg(of, aggregate_order_by(adjustment.c.from_day, adjustment.c.from_day))
        ends = func.jsonb_object_agg(func.concat(_UNTIL, of), aggregate_order_by(ends_on, ends_on.desc()))
        known = ends.filter(ends_on.is_not(None))
        resets = self.source.of(adjustment, who.c.contact_id, days.op("||")(func.coalesce(known, _NO_ENDS)))
        resets = resets.where(adjustment.c.kind == literal_column("'reset'"), *in_force(adjustment))
        columns = [who.c.contact_id, resets.scalar_subquery().label("resets")]
        if not self._asked and not self.of_kind(RuleKind.PROFILE) and not self.of_kind(RuleKind.ABSENCE):
            return select(*columns).cte("base")
        person = self._person(who)
        row = contact_row(person, person.c.last_event_at, AS_OF, self._made(person))
        units = [self._vocabulary.find(per.field) for per in self._units]
        asked: list[Any] = [to_sql(tree, row) for tree in self._asked]
        columns += [
            array(asked, type_=Boolean).label("holds"),
            array([self._flip(tree, person) for tree in self._asked], type_=Date).label("flips"),
            array([number_of(field, row) for field in units if field], type_=Numeric).label("units"),
            array([self._unit_moves(per.field, person) for per in self._units], type_=Date).label("unit_moves"),
            utc_day(person.c.created_at).label("made_on"),
        ]
        return select(*columns).select_from(who.join(person, TRUE)).cte("base")

    def _person(self, who: Any) -> Any:
        """The contact's row, when it was last seen, and what the rules name of scores and measures."""
        contact, activity, score = self.source.contact, self.source.activity, self.source.score
        of, terms = self.source.of, self._vocabulary
        keys = {
            name.removeprefix(prefix) for prefix in (SCORE, BAND) for name in self._names if name.startswith(prefix)
        }
        # Inside, the owner is the contact's row: `who` is not among this select's tables, and would be added to them.
        me = contact.c.id
        seen = of(activity, me, activity.c.last_event_at).lateral("seen")
        columns = [contact, seen.c.last_event_at]
        for key in sorted(keys):
            model = terms.models[key].id
            value = of(score, me, score.c.value).where(score.c.model_id == model)
            columns.append(value.scalar_subquery().label(f"score_{model}"))
        for key, number in self._measures.items():
            columns += self._measure(me, number, terms.measures[key])
        return of(contact, who.c.contact_id, *columns).select_from(contact.join(seen, TRUE)).lateral("person")

    def _measure(self, me: Any, number: int, term: MeasureTerm) -> list[Any]:
        """A measure's value, and the day on which it next changes by itself."""
        tally, of = self.source.tally, self.source.of
        value, counter, inside = measured(term, tally, AS_OF)
        leaves = NO_DAY if term.window_days is None else tally.c.day + literal(term.window_days, Integer)
        sums = of(tally, me, value).where(counter, inside)
        moves = func.min(case((tally.c.day > AS_OF, tally.c.day), (inside, leaves)))
        changes = of(tally, me, moves).where(counter)
        return [sums.scalar_subquery().label(f"measure_{number}"), changes.scalar_subquery().label(f"moves_{number}")]

    def _made(self, person: Any) -> dict[str, Any]:
        """The columns of the fields that the deployment has made."""
        models = self._vocabulary.models
        return made(
            self._names,
            self._vocabulary,
            lambda key: person.c[f"score_{models[key].id}"],
            lambda key: person.c[f"measure_{self._measures[key]}"],
        )

    def _flip(self, tree: Condition, person: Any) -> Any:
        """The first day on which a condition may turn by itself."""
        moves = [self._moves(name, person) for name in sorted(named(tree)) if name.startswith(MEASURE)]
        own = next_flip(tree, person.c.last_event_at, AS_OF)
        return func.least(own, *moves) if moves else own

    def _unit_moves(self, name: str, person: Any) -> Any:
        if name == DAYS_INACTIVE:
            return AS_OF + ONE
        return self._moves(name, person) if name.startswith(MEASURE) else NO_DAY

    def _moves(self, name: str, person: Any) -> Any:
        """The day on which the measure that a field is next changes by itself."""
        return person.c[f"moves_{self._measures[name.removeprefix(MEASURE)]}"]

    def reset_day(self, model_id: Any) -> Any:
        """The first day that counts for a contact of `base` in a model; NULL: all do."""
        return func.greatest(self._of_resets(cast(model_id, Text)), self._of_resets("*"))

    def reset_ends(self, model_id: Any) -> Any:
        """The first day on which a reset of a contact of `base` in a model no longer holds; NULL: none."""
        return func.least(self._of_resets(func.concat(_UNTIL, model_id)), self._of_resets(f"{_UNTIL}*"))

    def _of_resets(self, key: Any) -> Any:
        return cast(self.base.c.resets.op("->>")(key), Date)

    def gates(self, rules: Sequence[Owned]) -> list[tuple[str, Any, list[Any]]]:
        """Columns of a sheet of rules: the audience's number, the group's, and the group's limit."""
        groups = [(model.id, live.rule.group or "") for model, live in rules]
        return [
            ("audience", Integer, [self.number(live.audience) for _, live in rules]),
            ("group_no", Integer, [self._groups.get(group) for group in groups]),
            ("group_max", Numeric, [model.sheet.groups.get(live.rule.group or "") for model, live in rules]),
        ]

    def gated(self, rules: Sequence[Owned], sheet: Any) -> tuple[Any, Any]:
        """Whether a rule's audience holds for a contact of `base`, and when that may turn; None where no rule asks."""
        if all(live.audience is None for _, live in rules):
            return None, NO_DAY
        return func.coalesce(self.base.c.holds[sheet.c.audience], TRUE), self.base.c.flips[sheet.c.audience]

    def given(self, owner: Any, sheet: Any, **said: Any) -> Any:
        """A branch of the formula: its columns, in the order that all branches share."""
        has = {one.name for one in sheet.c}
        columns = [
            owner.c.contact_id,
            sheet.c.model_id,
            sheet.c.number if "number" in has else cast(null(), Integer).label("number"),
            sheet.c.group_no if "group_no" in has else cast(null(), Integer).label("group_no"),
            sheet.c.group_max if "group_max" in has else cast(null(), Numeric).label("group_max"),
            cast(said.get("count", ZERO), BigInteger).label("count"),
            cast(said["points"], Numeric).label("points"),
            said["next_change_on"].label("next_change_on"),
            said.get("inside", cast(null(), Boolean)).label("inside"),
            cast(said.get("override", null()), Numeric).label("override"),
        ]
        if self.detailed:
            columns.append(cast(said.get("details", null()), JSONB).label("details"))
        return select(*columns)


def made(
    names: Iterable[str], contacts: Vocabulary, score: Callable[[str], Any], measure: Callable[[str], Any]
) -> dict[str, Any]:
    """The columns of those of these fields that the deployment has made.

    `score` gives the column of the score in a model, `measure` that of a measure, both by key.
    """
    found: dict[str, Any] = {}
    for name in names:
        if name.startswith(SCORE):
            found[name] = score(name.removeprefix(SCORE))
        elif name.startswith(BAND):
            key = name.removeprefix(BAND)
            found[name] = band_name(score(key), contacts.models[key].bands)
        elif name.startswith(MEASURE):
            found[name] = measure(name.removeprefix(MEASURE))
    return found


class Measured(NamedTuple):
    """A measure over the tallies of one contact."""

    value: Any
    counter: Any
    """Which tallies are its counter's."""
    inside: Any
    """Which of these are inside its window."""


def measured(term: MeasureTerm, tally: Any, as_of: Any) -> Measured:
    """A measure over something with a tally's columns, on the UTC day `as_of`."""
    inside = tally.c.day <= as_of
    if term.window_days is not None:
        inside = and_(inside, tally.c.day > as_of - literal(term.window_days, Integer))
    value: Any
    match term.aggregate:
        case Aggregate.COUNT:
            value = func.sum(tally.c.n)
        case Aggregate.SUM:
            value = func.sum(cast(tally.c.key, Numeric) * tally.c.n)
        case Aggregate.DISTINCT:
            value = func.count(tally.c.key.distinct())
    return Measured(func.coalesce(value, ZERO), tally.c.counter_id == literal(term.counter_id, Integer), inside)


def in_force(adjustment: Any) -> list[Any]:
    """That an adjustment holds at the instant `at` of the day `as_of`."""
    return [
        adjustment.c.created_at <= AT,
        or_(adjustment.c.revoked_at.is_(None), adjustment.c.revoked_at > AT),
        or_(adjustment.c.ends_on.is_(None), adjustment.c.ends_on > AS_OF),
    ]


def constants(name: str, columns: Sequence[tuple[str, Any, list[Any]]]) -> Any:
    """A few rows of constants, as parameters: one array for each column."""
    arrays = [literal(list(values), ARRAY(kind)) for _, kind, values in columns]
    return (
        func.unnest(*arrays).table_valued(*(column(called, kind) for called, kind, _ in columns)).render_derived(name)
    )
