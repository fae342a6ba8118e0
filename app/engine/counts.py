"""Rules on events, over the tallies: what counts of each day, and the points for it. Branches of the formula."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Date,
    Integer,
    Numeric,
    SmallInteger,
    Text,
    and_,
    case,
    cast,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.engine.facts import ONE, TRUE, ZERO, Facts, Owned, constants
from app.engine.rules import factors
from app.engine.sources import AS_OF

_LIMITS = ("window_days", "max_per_day", "max_count", "ages", "worths")
"""What a sheet says of each day, beside the rule's number."""


def event_rules(facts: Facts, rules: Sequence[Owned]) -> Any:
    """Points × counted events inside the window, within all limits."""
    said = [live.rule for _, live in rules]
    decays = any(rule.decay is not None for rule in said)
    sheet = _event_sheet(facts, rules)
    seen = _seen(facts, sheet, is_distinct=any(rule.distinct_by is not None for rule in said))
    day = _counted(seen, limits_count=any(rule.max_count is not None for rule in said)).subquery("counted")
    age = AS_OF - day.c.day
    is_in = day.c.day.is_not(None)
    worth = _worth(day, age) if decays else ONE
    moves = [day.c.future, day.c.day + day.c.window_days]
    if decays:
        moves.append(AS_OF + (day.c.ages[func.width_bucket(age, day.c.ages) + 1] - age))
    weight = day.c.counted * worth if decays else day.c.counted
    sums = [
        day.c.contact_id,
        day.c.number,
        func.sum(case((is_in, day.c.counted), else_=ZERO)).label("count"),
        func.sum(case((is_in, weight), else_=ZERO)).label("weight"),
        func.min(func.least(*moves)).label("moves"),
        func.max(case((day.c.counted > ZERO, day.c.day))).label("newest"),
    ]
    if facts.detailed:
        each = func.jsonb_build_object(
            "day", day.c.day,
            "events", day.c.n,
            "counted", day.c.counted,
            "worth", cast(worth, Text),
            "leaves_on", day.c.day + day.c.window_days,
        )  # fmt: skip
        sums.append(func.jsonb_agg(aggregate_order_by(each, day.c.day.desc())).filter(is_in).label("days"))
    summed = select(*sums).group_by(day.c.contact_id, day.c.number).subquery("summed")
    return _event_points(facts, rules, sheet, summed, decays=decays)


def _event_points(facts: Facts, rules: Sequence[Owned], sheet: Any, summed: Any, *, decays: bool) -> Any:
    newest = _worth(sheet, AS_OF - summed.c.newest) if decays else ONE
    enough = case((summed.c.count >= sheet.c.at_least, newest), else_=ZERO)
    raw = func.round(sheet.c.points * case((sheet.c.at_least.is_(None), summed.c.weight), else_=enough), 2)
    held = func.greatest(func.least(raw, sheet.c.max_points), -sheet.c.max_points)
    joined = summed.join(sheet, sheet.c.number == summed.c.number)
    gate, flip = facts.gated(rules, sheet)
    if gate is not None:
        joined = joined.join(facts.base, facts.base.c.contact_id == summed.c.contact_id)
    details = {}
    if facts.detailed:
        is_in = TRUE if gate is None else gate
        details = {
            "details": func.jsonb_build_object("days", summed.c.days, "raw", cast(raw, Text), "in_audience", is_in)
        }
    return facts.given(
        summed,
        sheet,
        count=summed.c.count,
        points=held if gate is None else case((gate, held), else_=ZERO),
        next_change_on=func.least(summed.c.moves, flip),
        **details,
    ).select_from(joined)


def _event_sheet(facts: Facts, rules: Sequence[Owned]) -> Any:
    decays = [factors(live.rule.decay) if live.rule.decay else None for _, live in rules]
    said = [live.rule for _, live in rules]
    sheet = constants(
        "said",
        (
            ("number", Integer, [live.number for _, live in rules]),
            ("model_id", SmallInteger, [model.id for model, _ in rules]),
            ("counter_id", Integer, [live.counter_id for _, live in rules]),
            ("points", Numeric, [rule.points for rule in said]),
            ("window_days", Integer, [live.window_days for _, live in rules]),
            ("is_distinct", Boolean, [rule.distinct_by is not None for rule in said]),
            ("max_per_day", Integer, [rule.max_per_day for rule in said]),
            ("max_count", Integer, [rule.max_count for rule in said]),
            ("at_least", Integer, [rule.at_least for rule in said]),
            ("max_points", Numeric, [rule.max_points for rule in said]),
            ("ages", Text, [steps and _listed(age for age, _ in steps) for steps in decays]),
            ("worths", Text, [steps and _listed(factor for _, factor in steps) for steps in decays]),
            *facts.gates(rules),
        ),
    )
    # Each is text only because an array of arrays must have them all of one length.
    kept = [one for one in sheet.c if one.name not in ("ages", "worths")]
    ages, worths = cast(sheet.c.ages, ARRAY(Integer)), cast(sheet.c.worths, ARRAY(Numeric))
    return select(*kept, ages.label("ages"), worths.label("worths")).cte("rule")


def _seen(facts: Facts, sheet: Any, *, is_distinct: bool) -> Any:
    """(contact_id, number, day, n, future, limits): events of each day inside a rule's window, or of a day to come."""
    base, tally = facts.base, facts.source.tally
    of_tally = [tally.c[name] for name in ("counter_id", "day", "key", "n")]
    days = facts.source.of(tally, base.c.contact_id, *of_tally).lateral("days")
    is_recent = or_(sheet.c.window_days.is_(None), days.c.day > AS_OF - sheet.c.window_days)
    from_day = facts.reset_day(sheet.c.model_id)
    counts = or_(base.c.resets.is_(None), from_day.is_(None), days.c.day >= from_day)
    inside = days.c.day <= AS_OF
    columns = [
        base.c.contact_id,
        sheet.c.number,
        case((inside, days.c.day)).label("day"),
        days.c.n,
        case((~inside, days.c.day)).label("future"),
    ]
    joined = base.join(days, TRUE).join(sheet, sheet.c.counter_id == days.c.counter_id)
    rows = select(*columns).select_from(joined).where(is_recent, counts)
    if not is_distinct:
        return rows.add_columns(*(sheet.c[name] for name in _LIMITS)).subquery("seen")
    told = _told_apart(rows.add_columns(days.c.key, sheet.c.is_distinct).cte("seen"))
    return (
        select(told, *(sheet.c[name] for name in _LIMITS))
        .select_from(told.join(sheet, sheet.c.number == told.c.number))
        .subquery("limited")
    )


def _told_apart(seen: Any) -> Any:
    """Of rules that count distinct values: each value once, on its newest day."""
    plain = select(seen.c.contact_id, seen.c.number, seen.c.day, seen.c.n, seen.c.future).where(~seen.c.is_distinct)
    newest, future = func.max(seen.c.day).label("day"), func.min(seen.c.future).label("future")
    once = (
        select(seen.c.contact_id, seen.c.number, newest, future)
        .where(seen.c.is_distinct)
        .group_by(seen.c.contact_id, seen.c.number, seen.c.key)
        .subquery("once")
    )
    each = [once.c.contact_id, once.c.number, once.c.day]
    distinct = select(*each, func.count().label("n"), func.min(once.c.future).label("future")).group_by(*each)
    return union_all(plain, distinct).subquery("told")


def _counted(seen: Any, *, limits_count: bool) -> Any:
    """With `counted`: what counts of each day, after the limits a day and in number, the newest days first."""
    capped = func.least(seen.c.n, seen.c.max_per_day)
    if limits_count:
        newer = func.sum(capped).over(
            partition_by=[seen.c.contact_id, seen.c.number], order_by=seen.c.day.desc().nulls_last(), rows=(None, -1)
        )
        capped = func.greatest(ZERO, func.least(capped, seen.c.max_count - func.coalesce(newer, ZERO)))
    return select(seen, cast(capped, BigInteger).label("counted"))


def absence_rules(facts: Facts, rules: Sequence[Owned]) -> Any:
    """Points for each full stretch of days since the newest matching event, or since the contact was made."""
    base, tally = facts.base, facts.source.tally
    sheet = constants(
        "absence",
        (
            ("number", Integer, [live.number for _, live in rules]),
            ("model_id", SmallInteger, [model.id for model, _ in rules]),
            ("counter_id", Integer, [live.counter_id for _, live in rules]),
            ("points", Numeric, [live.rule.points for _, live in rules]),
            ("after_days", Integer, [live.rule.after_days for _, live in rules]),
            ("max_times", Integer, [live.rule.max_times for _, live in rules]),
            *facts.gates(rules),
        ),
    )
    from_day = facts.reset_day(sheet.c.model_id)
    counts = and_(tally.c.day <= AS_OF, or_(from_day.is_(None), tally.c.day >= from_day))
    newest, future = case((counts, tally.c.day)), case((tally.c.day > AS_OF, tally.c.day))
    last = (
        facts.source.of(tally, base.c.contact_id, func.max(newest).label("newest"), func.min(future).label("future"))
        .where(tally.c.counter_id == sheet.c.counter_id)
        .lateral("last")
    )
    begins = func.greatest(func.coalesce(last.c.newest, base.c.made_on), from_day, type_=Date)
    # Integers divide towards nought, so a silence that has not begun is no full stretch.
    stretches = cast(AS_OF - begins, Integer).op("/")(sheet.c.after_days)
    times = cast(func.greatest(ZERO, func.least(stretches, sheet.c.max_times)), Integer)
    grows = or_(sheet.c.max_times.is_(None), times < sheet.c.max_times)
    next_on = case((grows, begins + (times + ONE) * sheet.c.after_days))
    gate, flip = facts.gated(rules, sheet)
    counted = times if gate is None else case((gate, times), else_=ZERO)
    return facts.given(
        base,
        sheet,
        count=counted,
        points=counted * sheet.c.points,
        next_change_on=func.least(next_on, last.c.future, flip),
        details=func.jsonb_build_object("silent_since", begins),
    ).select_from(base.join(sheet, TRUE).join(last, TRUE))


def _worth(said: Any, age: Any) -> Any:
    """The factor at an age: that of the last step reached, 1 before the first."""
    return func.coalesce(said.c.worths[func.width_bucket(age, said.c.ages)], ONE)


def _listed(numbers: Iterable[int | Decimal]) -> str:
    """An array's literal."""
    return "{" + ",".join(f"{number:f}" if isinstance(number, Decimal) else str(number) for number in numbers) + "}"
