"""What is mapped: what a CRM suggests, whether what somebody wants can be, and what follows from changing it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.connectors.shapes import Connector, CrmField, DefaultPair, Kind, MadeField, WantedField
from app.engine.conditions import is_clean
from app.errors import Fault, InvalidInput
from app.store.db import Database
from app.sync import connections, mapping
from app.sync.mapping import Pair, Way
from app.sync.shapes import Opened

Described = Mapping[str, Sequence[CrmField]]
"""The fields of each object."""

MAX_PAIRS = 500

_STEP = 1_000
_ALONE = (
    mapping.EMAIL,
    mapping.NAME,
    mapping.STAGE,
    mapping.TAGS,
    *sorted(mapping.FLAGS),
    *sorted(mapping.OURS),
)
"""What is mapped by a name that nothing follows."""
_YES, _NO = ("yes", "true", "1", "y"), ("no", "false", "0", "n")


class ByHand(NamedTuple):
    """A field that somebody has to make before it can be mapped."""

    pair: DefaultPair
    made: MadeField


class Suggested(NamedTuple):
    pairs: tuple[Pair, ...]
    by_hand: tuple[ByHand, ...] = ()


async def describe(connector: Connector) -> dict[str, Sequence[CrmField]]:
    """All fields that may be mapped. Raises what connectors raise."""
    return {object_: await connector.describe(object_) for object_ in connector.objects}


async def defaults(opened: Opened, *, make: bool = False) -> tuple[Pair, ...]:
    """What is mapped if nobody says otherwise. With `make`, fields that the connector would like are made for it."""
    return (await suggested(opened, await describe(opened.connector), make=make)).pairs


async def suggested(
    opened: Opened, described: Described, *, make: bool, only: Collection[tuple[str, str]] | None = None
) -> Suggested:
    """As `defaults`; `only`: for these fields here, by object and name.

    What cannot flow both ways flows in; what cannot flow at all is left out.
    """
    wanted = [
        one
        for object_, fields in described.items()
        for one in opened.connector.defaults(object_, fields)
        if only is None or (one.object, one.here) in only
    ]
    missing = [one.there for one in wanted if isinstance(one.there, WantedField)] if make else []
    made = {one.wanted: one for one in await opened.connector.ensure(missing)} if missing else {}
    pairs: list[Pair] = []
    by_hand = []
    for one in wanted:
        there = one.there
        if not isinstance(there, WantedField):
            pairs += _fitting(one, _field(described, one.object, there))
        elif there in made:
            pairs += _fitting(one, made[there].field)
            by_hand += [ByHand(one, made[there])] if made[there].field is None else []
    return Suggested(tuple(pairs), tuple(by_hand))


def _fitting(one: DefaultPair, field: CrmField | None) -> list[Pair]:
    if field is None:
        return []
    for way in dict.fromkeys((Way(one.way), Way.IN)):
        policy = mapping.default_policy(one.here)
        pair = filled(Pair(one.object, one.here, field.name, way, policy, field.kind, yes=one.yes, no=one.no), field)
        if mapping.fault_of(pair, field) is None:
            return [pair]
    return []


def filled(pair: Pair, field: CrmField) -> Pair:
    """A pair with what the CRM describes of its field. Scores are told whole unless the pair itself says more."""
    places = pair.places
    if places is None and not pair.here.startswith(mapping.SCORE):
        places = field.places
    if places is not None and field.places is not None:
        places = min(places, field.places)
    yes, no = pair.yes, pair.no
    if field.kind is Kind.CHOICE and pair.here in mapping.FLAGS:
        yes, no = yes or _words(field, _YES), no or _words(field, _NO)
    return replace(pair, kind=field.kind, places=places, max_length=field.max_length, yes=yes, no=no)


def _words(field: CrmField, meaning: Sequence[str]) -> tuple[str, ...]:
    return tuple(option for option in field.options if option.lower() in meaning)


# --- whether it can be ------------------------------------------------------------------------------------------------


def check(pairs: Sequence[Pair], described: Described, models: Collection[str]) -> list[Fault]:
    """What is wrong with these pairs, each at its place, as `/pairs/3/there`. `models`: the keys of all there are."""
    faults = []
    there: dict[tuple[str, str], int] = {}
    here: dict[tuple[str, str], int] = {}
    for place, pair in enumerate(pairs):
        at = f"/pairs/{place}"
        known = [_unknown(pair, described, models) or _misfit(pair, described)]
        first = there.setdefault((pair.object, pair.there), place)
        if first != place:
            known.append(("there", f"pair {first} has this field of {pair.object} already"))
        if pair.comes_in:
            first = here.setdefault((pair.object, _fact(pair.here)), place)
            if first != place:
                known.append(("here", f"pair {first} says this by another field of {pair.object} already"))
        faults += [Fault(f"{at}/{name}", detail) for name, detail in filter(None, known)]
    return faults


def _unknown(pair: Pair, described: Described, models: Collection[str]) -> tuple[str, str] | None:
    if pair.object not in described:
        return "object", f"there is no object {pair.object!r}; there is {', '.join(described)}"
    for prefix in (mapping.SCORE, mapping.BAND):
        if pair.here.startswith(prefix):
            key = pair.here.removeprefix(prefix)
            there_is = ", ".join(sorted(models)) or "none"
            return None if key in models else ("here", f"there is no model {key!r}; there is {there_is}")
    if pair.here.startswith(mapping.PROPERTY):
        name = pair.here.removeprefix(mapping.PROPERTY)
        return None if name and is_clean(name) else ("here", "say which property: properties.<name>")
    if pair.here not in _ALONE:
        names = ", ".join([*_ALONE, "score.<model>", "band.<model>", "properties.<name>"])
        return "here", f"there is no {pair.here!r} here; there is {names}"
    return None


def _misfit(pair: Pair, described: Described) -> tuple[str, str] | None:
    field = _field(described, pair.object, pair.there)
    fault = mapping.fault_of(pair, field)
    if fault is None:
        return None
    # The place is what would mend it if it were otherwise.
    others: Iterable[tuple[str, Pair]] = (
        ("policy", replace(pair, policy=mapping.default_policy(pair.here))),
        *(("way", replace(pair, way=way)) for way in Way),
    )
    return next((name for name, other in others if mapping.fault_of(other, field) is None), "there"), fault


def _clash(one: Pair, other: Pair) -> bool:
    """Whether one of them must be left out."""
    is_said_twice = one.comes_in and other.comes_in and _fact(one.here) == _fact(other.here)
    return one.object == other.object and (one.here == other.here or one.there == other.there or is_said_twice)


def _fact(here: str) -> str:
    """That there is a bounce, and since when, is one fact."""
    return mapping.BOUNCED if here == mapping.BOUNCED_AT else here


def _field(described: Described, object_: str, name: str) -> CrmField | None:
    return next((field for field in described.get(object_, ()) if field.name == name), None)


# --- saving -----------------------------------------------------------------------------------------------------------


async def save(opened: Opened, pairs: Sequence[Pair], now: datetime) -> tuple[Pair, ...]:
    """Map these from now on, and compare everybody. What the CRM describes of their fields is filled in.

    Raises InvalidInput with whatever `check` finds, and what connectors raise.
    """
    described = await describe(opened.connector)
    fields = [_field(described, pair.object, pair.there) for pair in pairs]
    whole = tuple(pair if field is None else filled(pair, field) for pair, field in zip(pairs, fields, strict=True))
    async with opened.database.batch() as db:
        models = [row[0] for row in await db.fetch("SELECT key FROM scoring_model")]
        if faults := check(whole, described, models):
            raise InvalidInput(*faults)
        held = await connections.locked(db, opened.id)
        options = replace(held.options, pairs=whole)
        await db.execute(
            "UPDATE connection SET options = $2, reconcile_at = $3, updated_at = $3 WHERE id = $1",
            opened.id,
            options.to_json(),
            now,
        )
    changed = {(pair.object, pair.there) for pair in {*whole} ^ {*held.options.pairs}}
    for object_ in {object_ for object_, _ in changed}:
        await _free(opened.database, opened.id, object_, [there for of, there in changed if of == object_])
    return whole


async def add(opened: Opened, pairs: Iterable[Pair], now: datetime) -> None:
    """Map these, too, but for what somebody has mapped otherwise meanwhile. Whoever is known already is compared."""
    async with opened.database.batch() as db:
        options = (await connections.locked(db, opened.id)).options
        new = [one for one in pairs if not any(_clash(one, other) for other in options.pairs)]
        if not new:
            return
        await db.execute(
            """
            UPDATE connection SET options = $2, updated_at = $3::timestamptz,
                reconcile_at = CASE WHEN reconcile_at IS NULL THEN NULL ELSE $3::timestamptz END
            WHERE id = $1
            """,
            opened.id,
            replace(options, pairs=(*options.pairs, *new)).to_json(),
            now,
        )


async def _free(database: Database, connection: UUID, object_: str, fields: Sequence[str]) -> None:
    """Hold these fields of no record any more, some records at a time."""
    after: str | None = ""
    while after is not None:
        async with database.batch() as db:
            after = await db.fetchval(
                """
                WITH turn AS (
                    SELECT record FROM link
                    WHERE connection_id = $1 AND object = $2 AND record > $3 AND held <> '{}'
                    ORDER BY record LIMIT $5 FOR NO KEY UPDATE
                ), freed AS (
                    UPDATE link SET held = held - $4::text[] FROM turn
                    WHERE link.connection_id = $1 AND link.object = $2 AND link.record = turn.record
                )
                SELECT max(record) FROM turn
                """,
                connection,
                object_,
                after,
                list(fields),
                _STEP,
            )
