"""Fields for scores and bands in a CRM: made where they are missing, and mapped; and what became of mapped fields.

A model's score is told in a field of its own, as soon as anybody whom the connection knows has one. What only somebody
in the CRM can do, `connection.recipes` says: object, here, label, recipe, since, asked; instants in ISO 8601.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from app import clock
from app.connectors.shapes import CrmField, Kind, MadeField, WantedField
from app.engine.identity import record_kind
from app.engine.plan import Plan
from app.store.db import Connection
from app.sync import connections, mapping, outbox, parked
from app.sync.mapping import BAND, SCORE, Pair, Way, default_policy
from app.sync.options import Options
from app.sync.shapes import Opened

Recipe: TypeAlias = dict[str, Any]  # Any: JSON

_ASKED_AGAIN = timedelta(hours=1)
_LOOKED_AT = 10_000
"""Records of an object among whose contacts a score is looked for; a drain finds it where it is rarer."""
_BAND_LENGTH = 40


class Wanted(NamedTuple):
    """A field that should be mapped and is not."""

    object: str
    here: str
    model: int
    field: WantedField

    @property
    def key(self) -> tuple[str, str]:
        return self.object, self.here


async def ensure(opened: Opened, scored: Collection[tuple[str, str]] = ()) -> Options:
    """The connection's options with a pair for each chosen score and band that somebody known there has, and without
    those that are broken.

    `scored` names objects and scores (`score.<model>`) of which that is known; of all others it is looked up. A field
    that somebody must make by hand is asked for again an hour later at the earliest. Raises NotFound, and faults.
    """
    now = clock.now()
    async with opened.database.batch() as db:
        plan = await opened.plans.hold(db)
        held = await connections.get(db, opened.id)
        recipes: list[Recipe] = await _recipes(db, opened)
        waiting = {(one["object"], one["here"]) for one in recipes if not _is_stale(one, now)}
        wanted = [one for one in await _wanted(db, opened, held.options, plan) if one.key not in waiting]
        wanted = await _had(db, opened, wanted, scored)
    lost = {one["object"] for one in recipes if _is_stale(one, now) and not one["here"].startswith((SCORE, BAND))}
    if lost:
        await mend(opened._replace(options=held.options), lost)
        async with opened.database.batch() as db:
            recipes = await _recipes(db, opened)
    if not wanted:
        return _working(held.options, recipes)
    made = await opened.connector.ensure([one.field for one in wanted])
    return await _keep(opened, wanted, made, now)


async def mend(opened: Opened, objects: Collection[str]) -> Options:
    """Look what the CRM says of the fields that are written; returns the options without the pairs that are broken.

    Of a score or band the pair is dropped, so that its field is made again; any other stays, with a recipe that says
    what is wrong, until it is mended. Raises NotFound, and faults.
    """
    described: dict[str, Mapping[str, CrmField]] = {}
    for object_ in sorted(objects):
        described[object_] = {one.name: one for one in await opened.connector.describe(object_)}
    faults = {
        pair: fault
        for pair in opened.options.pairs
        if pair.object in described and pair.goes_out
        if (fault := mapping.fault_of(pair, described[pair.object].get(pair.there))) is not None
    }
    now = clock.now()
    async with opened.database.batch() as db:
        options = (await connections.locked(db, opened.id)).options
        known = await _recipes(db, opened)
        others = [one for one in known if one["object"] not in described or one["here"].startswith((SCORE, BAND))]
        news = [
            _recipe(known, pair.object, pair.here, pair.there, fault, now)
            for pair, fault in faults.items()
            if not _is_ours(pair)
        ]
        if len(known) > len(others) + len(news):  # some field is as it should be again
            await parked.retry(db, opened.id, None, now)
        kept = tuple(pair for pair in options.pairs if not (pair in faults and _is_ours(pair)))
        await _store(db, opened, options, replace(options, pairs=kept), [*others, *news], now)
    return _working(replace(options, pairs=kept), [*others, *news])


def lacking(options: Options, object_: str, values: Mapping[str, Any]) -> set[tuple[str, str]]:  # Any: a contact's
    """Of a contact with a record of this object, the scores that it has and no pair tells, if they are chosen."""
    mapped = {pair.here for pair in options.pairs if pair.object == object_}
    return {
        (object_, name)
        for name, value in values.items()
        if name.startswith(SCORE) and value is not None and name not in mapped and _is_chosen(options, name)
    }


# --- what is wanted ---------------------------------------------------------------------------------------------------


async def _wanted(db: Connection, opened: Opened, options: Options, plan: Plan) -> list[Wanted]:
    """All that is chosen and not mapped, of every object that is mapped at all."""
    objects = list(dict.fromkeys(pair.object for pair in options.pairs)) or list(opened.connector.objects)
    mapped = {(pair.object, pair.here) for pair in options.pairs}
    models = [model for model in plan.models if _is_chosen(options, f"{SCORE}{model.key}")]
    rows = await db.fetch(
        """
        SELECT v.model_id, v.name FROM unnest($1::smallint[], $2::int[]) AS live(model_id, version)
        CROSS JOIN LATERAL (
            SELECT model_id, name FROM model_version WHERE model_id = live.model_id AND version = live.version OFFSET 0
        ) v
        """,
        [model.id for model in models],
        [model.version for model in models],
    )
    names: dict[int, str] = dict(map(tuple, rows))
    found = []
    for object_ in objects:
        for model in models:
            found.append(Wanted(object_, f"{SCORE}{model.key}", model.id, _score(object_, model.key, names[model.id])))
            if options.bands and model.bands:
                field = _band(object_, model.key, names[model.id])
                found.append(Wanted(object_, f"{BAND}{model.key}", model.id, field))
    return [one for one in found if one.key not in mapped]


def _score(object_: str, key: str, name: str) -> WantedField:
    described = f"The score of the model {name}, as Leadtally last told it."
    return WantedField(object_, f"score_{key}", f"Lead Score: {name}", Kind.NUMBER, described, places=0)


def _band(object_: str, key: str, name: str) -> WantedField:
    described = f"The band of the score of the model {name}, as Leadtally last told it."
    return WantedField(object_, f"band_{key}", f"Lead Band: {name}", Kind.TEXT, described, max_length=_BAND_LENGTH)


def _is_chosen(options: Options, here: str) -> bool:
    return options.scores is None or here.removeprefix(SCORE) in options.scores


async def _had(
    db: Connection, opened: Opened, wanted: Sequence[Wanted], scored: Collection[tuple[str, str]]
) -> list[Wanted]:
    """Those of which some known contact has a score."""
    known = {(one.object, one.model) for one in wanted if (one.object, one.here) in scored}
    asked = sorted({(one.object, one.model) for one in wanted} - known)
    if asked:
        rows = await db.fetch(
            """
            SELECT asked.object, asked.model_id
            FROM unnest($1::text[], $2::text[], $3::smallint[]) AS asked(object, kind, model_id)
            CROSS JOIN LATERAL (
                SELECT FROM (SELECT contact_id FROM identity WHERE kind = asked.kind ORDER BY value LIMIT $4) i
                CROSS JOIN LATERAL (
                    SELECT FROM score
                    WHERE contact_id = i.contact_id AND model_id = asked.model_id AND value IS NOT NULL OFFSET 0
                ) s
                LIMIT 1
            ) found
            """,
            [object_ for object_, _ in asked],
            [record_kind(opened.id, object_) for object_, _ in asked],
            [model for _, model in asked],
            _LOOKED_AT,
        )
        known |= {(row[0], row[1]) for row in rows}
    return [one for one in wanted if (one.object, one.model) in known]


# --- what is kept -----------------------------------------------------------------------------------------------------


async def _keep(opened: Opened, wanted: Sequence[Wanted], made: Sequence[MadeField], now: datetime) -> Options:
    """Map the fields that are there, and note how to make the others."""
    pairs: dict[Pair, Wanted] = {}
    news: list[tuple[Wanted, str]] = []
    by_field = {one.wanted: one for one in made}
    for one in wanted:
        came = by_field.get(one.field)
        field = None if came is None else came.field
        pair = None if field is None else _pair(one, field)
        fault = None if pair is None else mapping.fault_of(pair, field)
        if pair is not None and fault is None:
            pairs[pair] = one
        else:
            news.append((one, fault or (came and came.recipe) or f"make a field {one.field.label!r}"))
    async with opened.database.batch() as db:
        options = (await connections.locked(db, opened.id)).options
        taken = {(pair.object, name) for pair in options.pairs for name in (pair.here, pair.there)}
        new = {
            pair: one
            for pair, one in pairs.items()
            if not taken & {(pair.object, pair.here), (pair.object, pair.there)}
        }
        known = await _recipes(db, opened)
        asked = {one.key for one in wanted}
        recipes = [one for one in known if (one["object"], one["here"]) not in asked]
        recipes += [_recipe(known, *one.key, one.field.label, how, now) for one, how in news]
        options_now = replace(options, pairs=(*options.pairs, *new))
        await _store(db, opened, options, options_now, recipes, now)
        for object_ in {pair.object for pair in new}:
            models = {one.model for pair, one in new.items() if pair.object == object_}
            await outbox.note_scored(db, opened.id, object_, models, now)
            await _begin_anew(db, opened, object_, [pair.there for pair in new if pair.object == object_])
    return _working(options_now, recipes)


def _pair(wanted: Wanted, field: CrmField) -> Pair:
    places = 0 if wanted.field.kind is Kind.NUMBER else None
    length = None if wanted.field.kind is Kind.NUMBER else field.max_length
    policy = default_policy(wanted.here)
    return Pair(wanted.object, wanted.here, field.name, Way.OUT, policy, field.kind, places, length)


async def _begin_anew(db: Connection, opened: Opened, object_: str, fields: Sequence[str]) -> None:
    """Whatever was known of fields by these names: they may be others than before."""
    await db.execute(
        """
        UPDATE link SET shadow = shadow - $3::text[], held = held - $3::text[]
        WHERE connection_id = $1 AND object = $2 AND (shadow ?| $3 OR held ?| $3)
        """,
        opened.id,
        object_,
        fields,
    )


async def _recipes(db: Connection, opened: Opened) -> list[Recipe]:
    found: list[Recipe] | None = await db.fetchval("SELECT recipes FROM connection WHERE id = $1", opened.id)
    return found or []


def _recipe(known: Iterable[Recipe], object_: str, here: str, label: str, how: str, now: datetime) -> Recipe:
    """Known since it was first said."""
    since = next((one["since"] for one in known if (one["object"], one["here"]) == (object_, here)), now.isoformat())
    return {"object": object_, "here": here, "label": label, "recipe": how, "since": since, "asked": now.isoformat()}


def _working(options: Options, recipes: Iterable[Recipe]) -> Options:
    """Without pairs of which somebody must mend the field first."""
    broken = {(one["object"], one["here"]) for one in recipes}
    return replace(options, pairs=tuple(pair for pair in options.pairs if (pair.object, pair.here) not in broken))


def _is_stale(recipe: Recipe, now: datetime) -> bool:
    return now - datetime.fromisoformat(recipe["asked"]) >= _ASKED_AGAIN


def _is_ours(pair: Pair) -> bool:
    return pair.here.startswith((SCORE, BAND))


async def _store(
    db: Connection, opened: Opened, before: Options, options: Options, recipes: Sequence[Recipe], now: datetime
) -> None:
    """Whoever is at work by other pairs begins again by these."""
    await db.execute(
        """
        UPDATE connection SET options = $2, recipes = $3, updated_at = CASE WHEN $4 THEN $5 ELSE updated_at END
        WHERE id = $1
        """,
        opened.id,
        options.to_json(),
        list(recipes),
        before != options,
        now,
    )
