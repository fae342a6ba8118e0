"""Values on either side, and who is right about them: by examples, and by laws on whatever there may be."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import EllipsisType
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.connectors.shapes import CrmField, Kind, Value
from app.sync.mapping import (
    FLAGS,
    OURS,
    Pair,
    Policy,
    Way,
    default_policy,
    fault_of,
    fits,
    same,
    to_here,
    to_there,
)
from app.sync.options import Options
from app.sync.reconcile import Ours, Side, Theirs, Verdict, judge, to_tell

T0 = datetime(2026, 5, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def pair(here: str, kind: Kind, way: Way = Way.BOTH, policy: Policy | None = None, **more: Any) -> Pair:  # Any: fields
    return Pair("person", here, "there", way, policy or default_policy(here), kind, **more)


def judged(
    one: Pair,
    ours: object,
    there: Value,
    *,
    known: Value | EllipsisType = ...,
    said_at: datetime | None = None,
    modified_at: datetime | None = T0,
    by_us: bool | None = None,
) -> Verdict:
    """`known` is what the shadow holds; nothing unless it is given."""
    shadow: Mapping[str, Any] = {} if isinstance(known, EllipsisType) else {"there": known}
    ours_ = Ours({one.here: ours}, {} if said_at is None else {one.here: said_at})
    [verdict] = judge([one], shadow, ours_, Theirs({"there": there}, modified_at, by_us))
    return verdict


INDUSTRY = pair("properties.industry", Kind.TEXT)
OUT = pair("opted_out", Kind.BOOLEAN)
BOUNCED = pair("bounced_at", Kind.INSTANT)
DATE = "2026-05-10T00:00:00Z"


# --- who is right -----------------------------------------------------------------------------------------------------


def test_a_field_that_both_hold_alike_is_agreed_on_though_neither_knew() -> None:
    assert Side.AGREED is judged(INDUSTRY, "steel", "steel").side
    assert Side.AGREED is judged(INDUSTRY, "steel", "steel", known="wood").side


def test_a_field_that_moved_on_one_side_is_that_sides() -> None:
    assert Side.THERE is judged(INDUSTRY, "wood", "steel", known="wood").side
    assert Side.HERE is judged(INDUSTRY, "steel", "wood", known="wood").side
    assert Side.THERE is judged(INDUSTRY, "wood", None, known="wood").side
    assert Side.HERE is judged(INDUSTRY, None, "wood", known="wood").side


@pytest.mark.parametrize(
    ("policy", "said_at", "side"),
    [
        (Policy.HERE, T0 - HOUR, Side.HERE),
        (Policy.THERE, T0 + HOUR, Side.THERE),
        (Policy.NEWEST, T0 + HOUR, Side.HERE),
        (Policy.NEWEST, T0 - HOUR, Side.THERE),
        (Policy.NEWEST, None, Side.THERE),
    ],
)
def test_of_a_field_that_moved_on_both_sides_the_policy_decides(
    policy: Policy, said_at: datetime | None, side: Side
) -> None:
    verdict = judged(pair("stage", Kind.TEXT, policy=policy), "glass", "steel", known="wood", said_at=said_at)

    assert (side, True) == (verdict.side, verdict.is_conflict)


def test_what_one_side_never_said_is_filled_from_the_other() -> None:
    for policy in (Policy.HERE, Policy.THERE, Policy.NEWEST):
        one = pair("stage", Kind.TEXT, policy=policy)

        assert Side.THERE is judged(one, None, "steel").side
        assert Side.HERE is judged(one, "steel", None).side


def test_no_and_zero_are_words_of_a_property_and_come_in() -> None:
    assert Side.THERE is judged(pair("properties.staff", Kind.NUMBER, Way.IN), None, 0).side
    assert Side.THERE is judged(pair("properties.vip", Kind.BOOLEAN, Way.IN), None, False).side
    # But a box that nobody ticked does not say no to what we know.
    assert Side.HERE is judged(pair("properties.vip", Kind.BOOLEAN), True, False).side


def test_a_flag_that_is_up_on_either_side_goes_up_on_the_other() -> None:
    assert Side.HERE is judged(OUT, True, False).side
    assert Side.THERE is judged(OUT, False, True).side
    assert Side.HERE is judged(OUT, True, False, known=False).side
    assert Side.THERE is judged(OUT, False, True, known=False).side
    assert Side.THERE is judged(BOUNCED, None, DATE).side
    assert Side.HERE is judged(BOUNCED, T0, None).side


def test_somebody_who_opted_in_here_after_the_record_was_touched_stays_in() -> None:
    assert Side.HERE is judged(OUT, False, True, said_at=T0 + HOUR).side
    assert Side.THERE is judged(OUT, False, True, said_at=T0 - HOUR).side


def test_an_opt_in_there_is_a_move_like_any_but_what_runs_under_our_name_takes_no_flag_down() -> None:
    assert Side.THERE is judged(OUT, True, False, known=True).side
    assert Side.THERE is judged(BOUNCED, T0, None, known=DATE, by_us=False).side

    verdict = judged(OUT, True, False, known=True, by_us=True)

    assert (Side.HERE, True) == (verdict.side, verdict.is_reversal)
    assert Side.THERE is judged(OUT, False, True, known=False, by_us=True).side


def test_two_dates_of_a_bounce_are_no_difference() -> None:
    assert Side.AGREED is judged(BOUNCED, T0, DATE, known=None).side


def test_what_flows_out_alone_is_told_again_where_the_crm_changed_it() -> None:
    one = pair("score.m", Kind.NUMBER, Way.OUT)

    changed_back = judged(one, Decimal(40), 7, known=40)
    never_told = judged(one, Decimal(40), 7, known=7)

    assert (Side.HERE, True) == (changed_back.side, changed_back.is_reversal)
    assert (Side.HERE, False) == (never_told.side, never_told.is_reversal)


def test_what_flows_in_alone_stays_as_it_was_changed_here_until_it_moves_there() -> None:
    one = pair("name", Kind.TEXT, Way.IN)

    assert Side.HERE is judged(one, "Ada L.", "Ada", known="Ada").side
    assert Side.THERE is judged(one, "Ada L.", "Ada Lovelace", known="Ada").side
    assert Side.HERE is judged(one, "Ada L.", None).side


def test_a_field_that_the_crm_does_not_show_has_no_verdict() -> None:
    assert [] == judge([INDUSTRY], {"there": "wood"}, Ours({INDUSTRY.here: "steel"}), Theirs({}))


def test_only_what_differs_from_the_shadow_and_may_go_out_is_told() -> None:
    ours = Ours({"properties.industry": "steel", "name": "Ada", "score.m": Decimal("7.4"), "opted_out": True})
    pairs = [
        INDUSTRY,
        Pair("person", "name", "full_name", Way.IN, Policy.NEWEST, Kind.TEXT),
        Pair("person", "score.m", "points", Way.OUT, Policy.HERE, Kind.NUMBER),
        Pair("person", "opted_out", "out", Way.BOTH, Policy.RESTRICTIVE, Kind.BOOLEAN),
    ]

    assert {"there": "steel", "points": 7, "out": True} == to_tell(
        pairs, {"there": None, "full_name": None, "out": False}, ours
    )
    assert {} == to_tell(pairs, {"there": "steel", "full_name": None, "points": 7, "out": True}, ours)
    # What nobody has seen yet is not overwritten, unless it is ours alone.
    assert {"points": 7} == to_tell(pairs, {}, ours)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "here", "there"),
    [
        (Kind.NUMBER, "12.50", 12.5),
        (Kind.NUMBER, "a dozen", None),
        (Kind.NUMBER, "1e999", None),
        (Kind.NUMBER, True, None),
        (Kind.BOOLEAN, "no", False),
        (Kind.BOOLEAN, 1, True),
        (Kind.BOOLEAN, "perhaps", None),
        (Kind.TEXT, True, "Yes"),
        (Kind.TEXT, ["b", 1, "a"], "1, a, b"),
        (Kind.TEXT, {"a": 1}, None),
        (Kind.TEXT, "  ", None),
        (Kind.DAY, "2026-05-10T23:30:00-05:00", "2026-05-11"),
        (Kind.DAY, "soon", None),
        (Kind.INSTANT, "2026-05-10T23:30:00.123-05:00", "2026-05-11T04:30:00Z"),
        (Kind.INSTANT, "2026-05-10", "2026-05-10T00:00:00Z"),
        (Kind.CHOICES, ["b", "a"], ["a", "b"]),
        (Kind.CHOICES, "a", ["a"]),
    ],
)
def test_a_property_is_said_in_what_the_field_holds(kind: Kind, here: object, there: Value) -> None:
    assert there == to_there(pair("properties.p", kind), here)


def test_what_a_field_cannot_hold_is_not_told_and_clears_nothing() -> None:
    staff = pair("properties.staff", Kind.NUMBER)

    assert not fits(staff, "a dozen")
    assert {} == to_tell([staff], {"there": 12}, Ours({staff.here: "a dozen"}))
    assert Side.HERE is judged(staff, "a dozen", 12, known=12).side
    assert Side.THERE is judged(staff, "a dozen", 13, known=12).side


def test_a_score_is_told_whole_unless_the_field_keeps_more() -> None:
    assert 12 == to_there(pair("score.m", Kind.NUMBER, Way.OUT), Decimal("12.49"))
    assert 12.5 == to_there(pair("score.m", Kind.NUMBER, Way.OUT, places=1), Decimal("12.46"))
    assert same(pair("score.m", Kind.NUMBER, Way.OUT), Decimal("12.49"), 12.0)


def test_a_flag_is_up_for_any_word_that_is_not_no() -> None:
    choice = pair("opted_out", Kind.CHOICE, yes=("Unsubscribed",), no=("Subscribed",))

    assert [True, False, True, True, False, False] == [
        to_here(choice, word) for word in ("unsubscribed", "Subscribed", "Bounced", "yes", "", None)
    ]
    assert ["Unsubscribed", "Subscribed"] == [to_there(choice, value) for value in (True, False)]
    assert same(choice, False, None)


def test_a_text_that_was_cut_or_trimmed_there_is_the_same() -> None:
    short = pair("properties.industry", Kind.TEXT, max_length=5)

    assert "steel" == to_there(short, " steel mills ")
    assert same(short, " steel mills ", "steel")
    assert same(INDUSTRY, "steel ", "steel")
    assert same(pair("email", Kind.TEXT, Way.IN), "ada@example.com", "Ada@Example.com")


def test_tags_are_a_list_or_a_line() -> None:
    choices, line = pair("tags", Kind.CHOICES), pair("tags", Kind.TEXT)

    assert ["a", "b"] == to_here(choices, ["b", "a"]) == to_here(line, "b, a,")
    assert "a, b" == to_there(line, ["b", "a"])
    assert [] == to_here(line, None)


@pytest.mark.parametrize(
    ("one", "field", "fault"),
    [
        (OUT, None, "hidden"),
        (OUT, CrmField("there", "There", Kind.BOOLEAN, is_writable=False), "cannot be written"),
        (OUT, CrmField("there", "There", Kind.NUMBER, is_writable=True), "holds number"),
        (OUT, CrmField("there", "There", Kind.CHOICE, is_writable=True, options=("Yes", "Never")), "no option 'No'"),
        (pair("score.m", Kind.NUMBER), CrmField("there", "There", Kind.NUMBER, is_writable=True), "said here alone"),
        (pair("email", Kind.TEXT), CrmField("there", "There", Kind.TEXT, is_writable=True), "the CRM's to say"),
        (
            pair("stage", Kind.TEXT, policy=Policy.RESTRICTIVE),
            CrmField("there", "There", Kind.TEXT, is_writable=True),
            "only a flag",
        ),
        (pair("properties.p", Kind.OTHER), CrmField("there", "There", Kind.OTHER, is_writable=True), "holds other"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_with_a_reason(one: Pair, field: CrmField | None, fault: str) -> None:
    assert fault in str(fault_of(one, field))


def test_a_pair_that_can_be_is_not_refused_and_survives_its_json() -> None:
    one = pair("opted_out", Kind.CHOICE, yes=("Out",), no=("In",), max_length=3)

    assert fault_of(one, CrmField("there", "There", Kind.CHOICE, is_writable=True, options=("In", "Out"))) is None
    options = Options(pairs=(one, INDUSTRY), scores=("m",), choices={"a": 1})
    assert options == Options.from_json(options.to_json())


# --- laws -------------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    pair: Pair
    values: "st.SearchStrategy[Any]"
    """What we may say."""
    theirs: "st.SearchStrategy[Value]"
    """What the CRM may hold."""


_WORDS = st.text(alphabet="ab ,é", max_size=6)
_DAYS = st.dates(datetime(2020, 1, 1).date(), datetime(2030, 1, 1).date())  # noqa: DTZ001 - days alone
_MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - bounds
    lambda at: at.replace(microsecond=0)
)
_THERE: dict[Kind, st.SearchStrategy[Value]] = {
    Kind.TEXT: st.none() | _WORDS,
    Kind.CHOICE: st.none() | st.sampled_from(["Yes", "No", "Maybe", "a"]),
    Kind.CHOICES: st.none() | st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(sorted),
    Kind.NUMBER: st.none() | st.integers(-1000, 1000) | st.floats(-1000, 1000).map(lambda n: round(n, 2)),
    Kind.BOOLEAN: st.booleans() | st.none(),
    Kind.INSTANT: st.none() | _MOMENTS.map(lambda at: at.isoformat().replace("+00:00", "Z")),
    Kind.DAY: st.none() | _DAYS.map(lambda day: day.isoformat()),
}
_JSON = (
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(allow_nan=False) | _WORDS
    | st.lists(_WORDS, max_size=3) | _MOMENTS.map(lambda at: at.isoformat()) | st.just({"a": 1})
)  # fmt: skip
_HERE: dict[str, tuple[tuple[Kind, ...], st.SearchStrategy[Any]]] = {
    "opted_out": ((Kind.BOOLEAN, Kind.CHOICE), st.booleans()),
    "bounced": ((Kind.BOOLEAN, Kind.CHOICE), st.booleans()),
    "bounced_at": ((Kind.INSTANT, Kind.DAY), st.none() | _MOMENTS),
    "email": ((Kind.TEXT,), st.none() | st.sampled_from(["a@example.com", "b@example.com"])),
    "name": ((Kind.TEXT,), st.none() | _WORDS),
    "stage": ((Kind.TEXT, Kind.CHOICE), st.none() | _WORDS),
    "tags": ((Kind.CHOICES, Kind.TEXT), st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(sorted)),
    "score.m": ((Kind.NUMBER,), st.none() | st.decimals(-1000, 1000, places=2)),
    "band.m": ((Kind.TEXT,), st.none() | st.sampled_from(["cold", "hot"])),
    "properties.p": (tuple(_THERE), _JSON),
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    here = draw(st.sampled_from(sorted(_HERE)))
    kinds, values = _HERE[here]
    kind = draw(st.sampled_from(kinds))
    if here in OURS or here.startswith(("score.", "band.")):
        ways = [Way.OUT]
    else:
        ways = [Way.IN] if here in ("email", "name") else list(Way)
    policies = list(Policy) if here in FLAGS else [one for one in Policy if one is not Policy.RESTRICTIVE]
    one = pair(
        here,
        kind,
        draw(st.sampled_from(ways)),
        draw(st.sampled_from(policies)),
        places=draw(st.sampled_from([None, 2])) if kind is Kind.NUMBER else None,
        max_length=draw(st.sampled_from([None, 4])) if kind is Kind.TEXT else None,
    )
    theirs = _THERE[kind]
    if here == "tags":
        theirs = st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(
            lambda tags: ", ".join(tags) if kind is Kind.TEXT else sorted(tags)
        )
    held = theirs.map(lambda value: value[: one.max_length] if isinstance(value, str) else value)
    return Case(one, values, held)


LAW = settings(max_examples=120, deadline=None)
_INSTANTS = st.none() | st.sampled_from([T0 - HOUR, T0, T0 + HOUR])


@LAW
@given(cases(), st.data(), st.booleans())
def test_sides_that_say_the_same_change_nothing(case: Case, data: st.DataObject, is_known: bool) -> None:
    value = data.draw(case.values)
    assume(fits(case.pair, value))
    there = to_there(case.pair, value)
    known = data.draw(case.theirs) if is_known else Ellipsis

    assert Side.AGREED is judged(case.pair, value, there, known=known).side
    assert {} == to_tell([case.pair], {"there": there}, Ours({case.pair.here: value}))


@LAW
@given(cases(), st.data(), _INSTANTS, st.sampled_from([None, False]))
def test_what_moved_only_there_flows_in(
    case: Case, data: st.DataObject, said_at: datetime | None, by_us: bool | None
) -> None:
    value, there = data.draw(case.values), data.draw(case.theirs)
    assume(case.pair.comes_in and fits(case.pair, value) and not same(case.pair, value, there))

    verdict = judged(case.pair, value, there, known=to_there(case.pair, value), said_at=said_at, by_us=by_us)

    assert (Side.THERE, False, False) == verdict[1:]


@LAW
@given(cases(), st.data(), _INSTANTS, st.sampled_from([None, False, True]))
def test_what_moved_only_here_is_told(
    case: Case, data: st.DataObject, said_at: datetime | None, by_us: bool | None
) -> None:
    value, there = data.draw(case.values), data.draw(case.theirs)
    assume(case.pair.goes_out and fits(case.pair, value) and not same(case.pair, value, there))

    verdict = judged(case.pair, value, there, known=there, said_at=said_at, by_us=by_us)

    assert (Side.HERE, False, False) == verdict[1:]
    assert {"there": to_there(case.pair, value)} == to_tell(
        [case.pair], {"there": there}, Ours({case.pair.here: value})
    )


@LAW
@given(
    st.sampled_from([OUT, BOUNCED, pair("bounced", Kind.CHOICE)]), st.booleans(), st.data(), _INSTANTS,
    st.sampled_from([None, False, True]),
)  # fmt: skip
def test_the_restrictive_policy_never_loses_a_flag_that_was_raised(
    one: Pair, is_ours_up: bool, data: st.DataObject, said_at: datetime | None, by_us: bool | None
) -> None:
    up = {Kind.BOOLEAN: True, Kind.CHOICE: "Yes", Kind.INSTANT: DATE}[one.kind]
    down = {Kind.BOOLEAN: False, Kind.CHOICE: "No", Kind.INSTANT: None}[one.kind]
    ours_up, ours_down = (T0, None) if one.here == "bounced_at" else (True, False)
    known = data.draw(st.sampled_from([Ellipsis, down]))
    value, there = (ours_up, down) if is_ours_up else (ours_down, up)

    side = judged(one, value, there, known=known, said_at=None if is_ours_up else said_at, by_us=by_us).side  # type: ignore[arg-type]  # each kind has its own

    if is_ours_up:
        assert Side.HERE is side
    elif known is Ellipsis and said_at is not None and said_at > T0:
        assert Side.HERE is side  # taken down here, by somebody, since
    else:
        assert Side.THERE is side


@LAW
@given(cases(), st.data(), _INSTANTS, st.sampled_from([None, False, True]), st.booleans())
def test_judging_twice_is_stable_and_both_sides_end_up_alike(
    case: Case, data: st.DataObject, said_at: datetime | None, by_us: bool | None, is_known: bool
) -> None:
    one, value, there = case.pair, data.draw(case.values), data.draw(case.theirs)
    known = data.draw(case.theirs) if is_known else Ellipsis

    side = judged(one, value, there, known=known, said_at=said_at, by_us=by_us).side
    becomes = to_here(one, there) if side is Side.THERE else value
    again = judged(one, becomes, there, known=there, said_at=said_at, by_us=by_us)
    told = to_tell([one], {"there": there}, Ours({one.here: becomes}))

    assert again.side in (Side.AGREED, Side.HERE)
    assert side is not Side.THERE or again.side is Side.AGREED
    assert not again.is_conflict
    if told:
        # What was written is what the CRM holds: its echo is nothing new, and nothing is left to tell.
        assert Side.AGREED is judged(one, becomes, told["there"], known=told["there"]).side
        assert {} == to_tell([one], told, Ours({one.here: becomes}))
    elif again.side is Side.HERE:
        assert not one.goes_out or not fits(one, becomes)


@LAW
@given(cases(), st.data())
def test_what_comes_in_goes_out_as_the_same(case: Case, data: st.DataObject) -> None:
    there = data.draw(case.theirs)
    assume(case.pair.comes_in)

    assert same(case.pair, to_here(case.pair, there), there)
