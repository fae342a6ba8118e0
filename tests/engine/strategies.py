"""Hypothesis strategies: deployments in all that docs/scoring.md lets a model say, and what happens to contacts."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from string import ascii_uppercase
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import Phase
from hypothesis import strategies as st

from app.engine.ingest import NewEvent
from app.errors import InvalidInput
from tests.engine.reference import Measure, Rule, Sheet
from tests.engine.worlds import Deployment, World, at, event, is_type

Json = Any  # Any: JSON

DAY = timedelta(days=1)
PEOPLE = [f"{name}@example.com" for name in ("ada", "bob", "cyd", "dan")]
LONG = "/long" * 60
"""Longer than the text that a tally has room for."""

EVENT_PROPERTIES: list[dict[str, Json]] = [
    {},
    {"amount": 5},
    {"amount": 2.5, "path": "/pricing"},
    {"amount": -3, "path": "/Pricing/50%"},
    {"amount": 0.1},
    {"amount": 1e16},
    {"amount": 1e100, "path": "5"},
    {"amount": "5", "path": 5},
    {"amount": None, "path": 5.0},
    {"amount": True, "path": False},
    {"amount": [5], "path": "false"},
    {"amount": {"net": 5}, "path": {"a": 1}},
    {"path": LONG},
    {"path": LONG.upper(), "deep": {"er": 2}},
    {"path": "Ärger", "deep.er": 3},
    {"path": "ärger", "deep": {"er": "x"}},
    {"bounce": "hard"},
]
"""Clean and dirty."""
CONTACT_PROPERTIES: list[dict[str, Json]] = [
    {"employees": 0},
    {"employees": 12.5},
    {"employees": -40},
    {"employees": 1e6},
    {"employees": "12"},
    {"employees": [1]},
    {"employees": None},
    {"country": "DE"},
    {"country": "de", "patience": 2},
    {"country": 7, "patience": "two"},
    {"size": {"seats": 3}},
    {"size": None},
]
"""Merged into what the contact has; a null removes one."""


seeds = st.integers(0, 2**24 - 1)
"""What everything of an example is drawn from. Left to itself, Hypothesis makes most examples by changing a little of
one before; each of these costs a second, so each is to be another. There is nothing to shrink, so a test that fails
says which rule is at fault."""
unshrunk = (Phase.explicit, Phase.reuse, Phase.generate)


def _any(random: Random, **chances: int) -> str:
    """One of these names, as often as its number says."""
    return random.choices(list(chances), list(chances.values()))[0]


# --- conditions -------------------------------------------------------------------------------------------------------


def a_test(field: str, operator: str, value: Json = None) -> dict[str, Json]:
    return {"field": field, "operator": operator, "value": value}


def a_comparison(field: str, operator: str, other: str) -> dict[str, Json]:
    return {**a_test(field, operator, other), "valueSource": "field"}


EVENT_TESTS = [
    is_type("a"),
    is_type("B"),
    a_test("event.type", "in", "a, b"),
    a_test("event.type", "!=", "a"),
    a_test("event.source", "!=", "crm"),
    a_test("event.properties.amount", ">=", 1),
    a_test("event.properties.amount", "!=", 5),
    a_test("event.properties.amount", "between", ["-3", "2.5"]),
    a_test("event.properties.path", "doesNotContain", "PRICING"),
    a_test("event.properties.path", "null"),
    a_test("event.properties.path", "!=", "5"),
    a_test("event.properties.deep.er", ">", 2),
    a_test("event.occurred_at", "<", "2026-05-12"),
]


def event_condition(random: Random) -> Json:
    return _condition(random, EVENT_TESTS)


def contact_condition(random: Random, known: Deployment) -> Json:
    """On a contact; it may name everything that the deployment has made so far."""
    own, made = _tests_of_contacts(), _tests_of_made(known)
    return _condition(random, made if made and random.random() < 0.7 else own)


def _condition(random: Random, tests: Sequence[Json]) -> Json:
    """One of these tests, or a group of them; now and then the opposite, or with a part that is muted."""
    if random.random() < 0.7:
        return random.choice(tests)
    parts = [{**random.choice(tests), "muted": random.random() < 0.15} for _ in range(random.randint(1, 3))]
    return {"combinator": random.choice(["and", "or"]), "not": random.random() < 0.3, "rules": parts}


def _tests_of_contacts() -> list[Json]:
    return [
        a_test("contact.stage", "=", "mql"),
        a_test("contact.stage", "!=", "mql"),
        a_test("contact.tags", "contains", "VIP"),
        a_test("contact.opted_out", "=", True),
        a_test("contact.bounce_status", "!=", "none"),
        a_test("contact.email_domain", "=", "example.com"),
        a_test("contact.properties.country", "in", "DE, FR"),
        a_test("contact.properties.employees", ">=", 10),
        a_test("contact.properties.employees", "notBetween", [1, 100]),
        a_test("contact.created_at", ">=", "2026-05-13"),
        a_test("contact.last_event_at", "<", "2026-05-14"),
        a_test("contact.last_event_at", "null"),
        a_test("contact.days_inactive", ">=", 2),
        a_test("contact.days_inactive", "<", "4.5"),
        a_test("contact.days_inactive", "between", [1, 3]),
        a_test("contact.days_inactive", "notIn", [0, 3]),
        a_test("contact.days_inactive", "null"),
        a_comparison("contact.days_inactive", ">", "contact.properties.patience"),
    ]


def _tests_of_made(known: Deployment) -> list[Json]:
    tests: list[Json] = []
    for key in known.measures:
        field = f"contact.measures.{key}"
        tests += [a_test(field, ">=", 2), a_test(field, "=", 0), a_test(field, "between", [1, 10])]
        tests.append(a_comparison("contact.days_inactive", "<", field))
    for key, sheet in known.models.items():
        score, band = f"contact.score.{key}", f"contact.band.{key}"
        tests += [a_test(score, ">=", 10), a_test(score, "<", 5), a_test(score, "null"), a_test(score, "!=", 0)]
        tests += [a_test(band, "null"), a_test(band, "!=", "warm")]
        names = bands_of(sheet, known)
        if names:
            tests += [a_test(band, "=", names[-1].upper()), a_test(band, "in", names[:2])]
    segments = list(known.segments)
    if segments:
        tests += [a_test("contact.segments", operator, segments[-1]) for operator in ("contains", "=", "!=")]
        tests += [a_test("contact.segments", "in", segments), a_test("contact.segments", "notIn", segments[:2])]
    return tests


def bands_of(sheet: Sheet, known: Deployment) -> list[str]:
    """The names of a model's bands."""
    if sheet.combine is None or "grid" not in sheet.combine:
        return [band["name"] for band in sheet.bands]
    rows, columns = (bands_of(known.models[sheet.combine["grid"][side]], known) for side in ("rows", "columns"))
    return [f"{row}{column}" for row in ascii_uppercase[: len(rows)] for column in range(1, len(columns) + 1)]


# --- what a deployment says -------------------------------------------------------------------------------------------


def measure(random: Random) -> Measure:
    window, aggregate = random.choice([None, 1, 3, 7]), random.choice(["count", "sum", "distinct"])
    of: dict[str, list[str | None]] = {
        "count": [None],
        "sum": ["event.properties.amount", "event.properties.deep.er"],
        "distinct": ["event.properties.path", "event.properties.amount", "event.type"],
    }
    return Measure(event_condition(random), aggregate, random.choice(of[aggregate]), window)


_DISTINCT = [
    "event.properties.path",
    "event.properties.amount",
    "event.properties.deep.er",
    "event.source",
    "event.type",
]


def rule(random: Random, known: Deployment, groups: Sequence[str]) -> Rule:
    group = random.choice([None, *groups])
    audience = contact_condition(random, known) if random.random() < 0.3 else None
    match _any(random, event=5, absence=2, profile=2, per_unit=2):
        case "event":
            return Rule(
                kind="event",
                condition=event_condition(random),
                points=_points(random),
                window_days=random.choice([None, None, 1, 3, 7, "unlimited"]),
                max_per_day=random.choice([None, None, 1, 2]),
                max_points=random.choice([None, None, _points(random, 1, 60)]),
                distinct_by=random.choice([None, *_DISTINCT]) if random.random() < 0.6 else None,
                max_count=random.choice([None, None, 1, 3]),
                at_least=random.choice([None, None, 1, 2, 3]),
                decay=_decay(random) if random.random() < 0.5 else None,
                audience=audience,
                group=group,
            )
        case "absence":
            return Rule(
                kind="absence",
                condition=event_condition(random),
                points=_points(random),
                audience=audience,
                group=group,
                after_days=random.randint(1, 5),
                max_times=random.choice([None, 1, 2, 4]),
            )
        case "profile":
            return Rule("profile", contact_condition(random, known), _points(random), group=group)
        case _:
            return Rule(
                kind="profile",
                condition=random.choice([None, contact_condition(random, known)]),
                points=_points(random, -5, 5, places=4),
                max_points=random.choice([None, None, _points(random, 1, 60)]),
                group=group,
                per_unit_of=_unit(random, known),
            )


def _points(random: Random, least: int = -50, most: int = 50, places: int = 2) -> Decimal:
    return Decimal(random.randint(least * 10**places, most * 10**places)).scaleb(-places)


def _decay(random: Random) -> Json:
    if random.random() < 0.4:
        return {"half_life_days": random.randint(1, 6), "every_days": random.randint(1, 4)}
    ages = sorted(random.sample(range(1, 13), random.randint(1, 3)))
    return {"steps": [{"after_days": age, "percent": random.choice([0, 10, 33.33, 50, 100])} for age in ages]}


def _unit(random: Random, known: Deployment) -> Json:
    fields = ["contact.properties.employees", "contact.properties.size.seats", "contact.days_inactive"]
    fields += [f"contact.measures.{key}" for key in known.measures]
    fields += [f"contact.score.{key}" for key in known.models]
    least, most = sorted([random.randint(-10, 100), random.randint(-10, 100)])
    return {
        "field": random.choice(fields),
        "min": random.choice([None, None, least]),
        "max": random.choice([None, None, most]),
    }


def sheet(random: Random, known: Deployment) -> Sheet:
    """A model that may depend on all that is known; one of few is a combination of others."""
    audience = contact_condition(random, known) if random.random() < 0.25 else None
    banded = [key for key, one in known.models.items() if 0 < len(bands_of(one, known)) <= 9]
    kind = _any(random, rules=4, sum=bool(known.models), grid=2 * (len(banded) > 1))
    if kind == "grid":
        rows, columns = random.sample(banded, 2)
        return Sheet(audience=audience, combine={"grid": {"rows": rows, "columns": columns}})
    bounds = sorted([_points(random), _points(random, 0, 90)])
    edges = random.sample([-10, 0, "7.5", 20], random.randint(0, 3))
    edges = [*random.choice([[], [None]]), *sorted(edges, key=lambda edge: Decimal(str(edge)))][:3]
    plain = Sheet(
        audience=audience,
        min=bounds[0] if random.random() < 0.25 else None,
        max=bounds[1] if random.random() < 0.25 else None,
        bands=[{"name": name, "min": edge} for name, edge in zip(_BANDS, edges, strict=False)],
    )
    if kind == "sum":
        parts = random.sample(list(known.models), random.randint(1, len(known.models)))
        weights = ["0.4", "1", "-0.25", "0.3333"]
        combine = {"sum": [{"model": key, "weight": random.choice(weights)} for key in parts]}
        return replace(plain, combine=combine)
    groups = [f"group {number}" for number in range(random.choice([0, 0, 1, 2]))]
    return replace(
        plain,
        rules=[rule(random, known, groups) for _ in range(random.randint(1, 6))],
        window_days=random.choice([None, None, 2, 5]),
        groups=[{"name": name, "max_points": _points(random, 1, 40)} for name in groups],
    )


_BANDS = ["cold", "warm", "hot"]


class Made(NamedTuple):
    kind: str
    """type, measure, segment or model."""
    key: str
    said: Any  # Any: a property's type, a Measure, a condition or a Sheet


def deployment(random: Random) -> list[Made]:
    """Types of properties and measures, then models, some after a segment; each may name those before it."""
    known, made = Deployment(), list[Made]()
    types = [("employees", "number"), ("country", "text"), ("patience", "number")]
    made += [Made("type", *one) for one in random.sample(types, random.choice([0, 0, 1, 3]))]
    for number in range(random.randint(0, 2)):
        made.append(Made("measure", f"n{number}", measure(random)))
        known.measures[f"n{number}"] = made[-1].said
    for number in range(random.randint(1, 4)):
        if random.random() < 0.6:
            made.append(Made("segment", f"s{number}", contact_condition(random, known)))
            known.segments[f"s{number}"] = made[-1].said
        made.append(Made("model", f"m{number}", sheet(random, known)))
        known.models[f"m{number}"] = made[-1].said
    return made


# --- what happens -----------------------------------------------------------------------------------------------------


class Happened(NamedTuple):
    """An event that is still to be told."""

    who: str
    type: str
    source: str
    days: int
    """From the day on which it is told: below nought it is late, above it is to come."""
    time: str
    properties: dict[str, Json]

    def event(self, told: date, number: int) -> NewEvent:
        when = at(f"{told + self.days * DAY} {self.time}")
        return event(self.type, self.who, when, id=f"{number}", source=self.source, **self.properties)


def happened(random: Random) -> Happened:
    return Happened(
        who=random.choice(PEOPLE),
        type=random.choice(["a", "A", "b", "c"] * 4 + ["email.bounced", "email.unsubscribed"]),
        source=random.choice(["web", "Web", "crm"]),
        days=random.choice([-random.randint(1, 11), 0, 0, -1, random.randint(1, 4)]),
        time=random.choice(["00:00:00", "12:00:00", "23:59:59.999999"]),
        properties=random.choice(EVENT_PROPERTIES),
    )


@dataclass(frozen=True)
class Send:
    """A batch; `again` are places among the events that were told before, which are told again."""

    events: Sequence[Happened]
    again: Sequence[int] = ()


@dataclass(frozen=True)
class Say:
    """Somebody changes a contact."""

    who: str
    said: dict[str, Any]  # Any: as in Change


@dataclass(frozen=True)
class Adjust:
    who: str
    kind: str
    model: int | None
    """The place of the model among those that count; None: all."""
    points: Decimal
    from_day: int | None
    """Days from the day on which it is made; None: not said."""
    ends_in: int | None


@dataclass(frozen=True)
class Revoke:
    """Of the adjustments that can be revoked, the one at this place."""

    place: int


Step = Send | Say | Adjust | Revoke


def sending(random: Random, least: int, most: int) -> Send:
    return Send([happened(random) for _ in range(random.randint(least, most))])


def step(random: Random) -> Step:
    """What happens next."""
    match _any(random, send=4, say=3, adjust=4, revoke=1):
        case "send":
            return replace(sending(random, 1, 8), again=random.choices(range(40), k=random.randint(0, 2)))
        case "say":
            changes: list[dict[str, Any]] = [  # Any: as in Change
                {"stage": random.choice([None, "MQL", "x"])},
                {"tags": random.choice([(), ("vip",), ("a", "Vip")])},
                {"opted_out": random.choice([True, False])},
                *({"properties": one} for one in random.sample(CONTACT_PROPERTIES, 3)),
            ]
            return Say(random.choice(PEOPLE), random.choice(changes))
        case "adjust":
            return Adjust(
                who=random.choice(PEOPLE),
                kind=random.choice(["points", "override", "reset", "reset"]),
                model=random.choice([None, 0, 1, 2, 3]),
                points=_points(random),
                from_day=random.choice([None, random.randint(-8, 3)]),
                ends_in=random.choice([None, random.randint(1, 6)]),
            )
        case _:
            return Revoke(random.randrange(6))


def hours(random: Random) -> timedelta:
    """Between two steps."""
    return timedelta(hours=random.choice([0, 1, 1, 5, 13, 30]))


class Teller:
    """Lets what was drawn happen in a world, and remembers what the judge is to be told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.deployment = Deployment()
        self.told: list[NewEvent] = []

    async def make(self, made: Made, meanwhile: Send | None = None) -> None:
        """A measure, segment or model, in place of the one of that key; `meanwhile` comes before its job has run."""
        kind, key, said = made
        match kind:
            case "type":
                await self.world.declare(key, said)
                self.deployment.types[f"contact.properties.{key}"] = said
            case "measure":
                await self.world.measure(key, said)
                self.deployment.measures[key] = said
            case "segment":
                await self.world.segment(key, said)
                self.deployment.segments[key] = said
            case _:
                await self.world.begin_publish(key, said)
                if meanwhile is not None:
                    await self.send(meanwhile)
                await self.world.work()
                self.deployment.models[key] = said

    async def happen(self, step: Step) -> None:
        match step:
            case Send():
                await self.send(step)
            case Say():
                if contact := await self._known(step.who):
                    with suppress(InvalidInput):  # a value may not be of the type that was declared
                        await self.world.change(contact, **step.said)
            case Adjust():
                await self._adjust(step)
            case Revoke():
                query = "SELECT contact_id, id FROM adjustment WHERE revoked_at IS NULL ORDER BY id"
                rows = await self.world.rows(query)
                if rows:
                    row = rows[step.place % len(rows)]
                    await self.world.revoke(row["contact_id"], row["id"])

    async def send(self, step: Send) -> None:
        first, today = len(self.told), self.world.now.date()
        new = [one.event(today, first + number) for number, one in enumerate(step.events)]
        again = [self.told[place % first] for place in step.again] if first else []
        self.told += new
        await self.world.send(*{one.id: one for one in [*again, *new]}.values())

    async def _adjust(self, step: Adjust) -> None:
        contact, keys, today = await self._known(step.who), list(self.deployment.models), self.world.now.date()
        if contact is None or not keys:
            return
        model = None if step.model is None else keys[step.model % len(keys)]
        is_reset = step.kind == "reset"
        await self.world.adjust(
            contact,
            step.kind,
            model if is_reset else model or keys[0],
            None if is_reset else step.points,
            from_day=None if step.from_day is None or not is_reset else today + step.from_day * DAY,
            ends_on=None if step.ends_in is None else today + step.ends_in * DAY,
        )

    async def _known(self, who: str) -> UUID | None:
        found: UUID | None = await self.world.value(
            "SELECT contact_id FROM identity WHERE kind = 'email' AND value = $1", who
        )
        return found
