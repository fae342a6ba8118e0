"""Making a draft count: freeze it as a version, and enqueue the work that makes it live (`rollout`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.engine import checks, drafts, rules, usage
from app.engine import plan as plans
from app.engine.fields import BAND, SCORE, Vocabulary
from app.engine.plan import Plan
from app.engine.rules import Band, Rule, RuleKind, read_bands
from app.engine.sheets import MAX_CELLS, LiveModel, Sheet, combined, live_model
from app.errors import Conflict, InvalidInput, NotFound
from app.store import jobs
from app.store.db import Connection

PUBLISH = usage.PUBLISH
TIDY = "model.tidy"
RESCORE = "model.rescore"
ARCHIVED = "the model was deleted or archived meanwhile"


class Published(NamedTuple):
    version: int
    job: UUID


class _Frozen(NamedTuple):
    """What a version says."""

    name: str
    bands: list[dict[str, Any]]  # Any: JSON
    spec: dict[str, Any]  # Any: JSON
    rules: list[Rule]

    @property
    def said(self) -> dict[str, Any]:  # Any: JSON
        """As `live_model` reads it."""
        return {"spec": self.spec, "rules": [rule.to_json() for rule in self.rules], "bands": self.bands}


async def publish(
    db: Connection,
    key: str,
    by: str,
    now: datetime,
    *,
    version: int | None = None,
    side_effects: bool = True,
    starts_at: datetime | None = None,
) -> Published:
    """Freeze the draft of model `key`, or its old `version` again, as the next version; enqueue what makes it count.

    The work begins at `starts_at`, at once if that is None; a version published before then takes its place.
    `side_effects` says whether the scores that change are told to anybody. Grids of this model follow, if its bands
    changed: they say again what they said last, with other cells; their drafts stay drafts. Raises NotFound;
    InvalidInput with a pointer to each fault of the draft; Conflict for an archived model, for one that depends on a
    model that does not count, for an old version that names what is gone, and for more conditions than can be asked at
    once.
    """
    model = await db.fetchrow("SELECT * FROM scoring_model WHERE key = $1 FOR UPDATE", key)
    if model is None:
        raise NotFound(f"there is no scoring model {key!r}")
    if model["archived_at"] is not None:
        raise Conflict(f"scoring model {key!r} is archived; make it active again before publishing")
    # First of all: else what is found here (a counter, a segment, a model it needs) could go before this is committed.
    await plans.change(db)
    plan = await plans.load(db)
    frozen = await (_freeze(db, dict(model), plan.contacts) if version is None else _thaw(db, dict(model), version))
    try:
        mine = _refuse(plan, model["id"], key, frozen)
    except InvalidInput as fault:
        raise Conflict(f"version {version} of {key!r} names what is gone, or has changed: {fault}") from None
    await _refuse_circle(db, mine, plan.contacts)
    if waiting := await usage.not_ready(db, mine.names):
        raise Conflict(f"measure {', '.join(waiting)} is still being counted; publish once it is ready")
    made = await _keep(db, model["id"], frozen, by, now, side_effects=side_effects)
    payload = {"model": model["id"], "version": made}
    job = await jobs.enqueue(db, PUBLISH, payload, now, starts_at=starts_at)
    for grid, latest in await _grids_to_follow(db, key):
        await publish(db, grid, by, now, version=latest, side_effects=side_effects, starts_at=starts_at)
    return Published(made, job)


async def drafted(db: Connection, key: str) -> tuple[LiveModel, dict[str, Any]]:  # Any: JSON
    """The draft as if it counted, without counters; parsed, and as `live_model` reads it. Raises as `publish` does."""
    model = await db.fetchrow("SELECT * FROM scoring_model WHERE key = $1", key)
    if model is None:
        raise NotFound(f"there is no scoring model {key!r}")
    contacts = await plans.vocabulary(db)
    frozen = await _freeze(db, dict(model), contacts)
    return live_model(model["id"], key, 0, frozen.said, contacts), frozen.said


async def _freeze(db: Connection, model: Mapping[str, Any], contacts: Vocabulary) -> _Frozen:  # Any: columns
    """The draft, checked as a whole. Raises InvalidInput."""
    rows = await db.fetch("SELECT said FROM rule WHERE model_id = $1 ORDER BY id", model["id"])
    said = [Rule.from_json(row["said"]) for row in rows]
    sheet = Sheet.from_json(model["spec"])
    checks.check_whole(model["key"], sheet, said, contacts)
    bands: list[dict[str, Any]] = model["bands"]
    drafted = drafts.digest(model["name"], bands, sheet, said)
    if sheet.parts:
        sheet, of_parts, cells = combined(model["key"], sheet, await _bands_of_parts(db, sheet))
        said = [*of_parts, *said]
        bands = [cell.to_json() for cell in cells] or bands
    return _Frozen(model["name"], bands, {**sheet.to_json(), "drafted": drafted}, said)


async def _thaw(db: Connection, model: Mapping[str, Any], version: int) -> _Frozen:  # Any: columns
    """An old version, to say it again; a grid with the cells that the bands of its parts make now. Raises NotFound."""
    row = await db.fetchrow("SELECT * FROM model_version WHERE model_id = $1 AND version = $2", model["id"], version)
    if row is None:
        raise NotFound(f"scoring model {model['key']!r} has no version {version}")
    sheet = Sheet.from_json(row["spec"])
    if "grid" not in (sheet.combine or {}):
        return _Frozen(row["name"], row["bands"], row["spec"], [Rule.from_json(one) for one in row["rules"]])
    sheet, said, cells = combined(model["key"], _as_drafted(sheet), await _bands_of_parts(db, sheet))
    spec = {**sheet.to_json(), "drafted": row["spec"].get("drafted")}
    return _Frozen(row["name"], [cell.to_json() for cell in cells], spec, said)


def _as_drafted(grid: Sheet) -> Sheet:
    """Without what `combined` put before a grid's own audience: that there are both bands."""
    asked = grid.audience["rules"] if isinstance(grid.audience, dict) else []
    own = asked[2:] if isinstance(asked, list) else []
    return replace(grid, audience=own[0] if own else None)


async def _bands_of_parts(db: Connection, sheet: Sheet) -> dict[str, list[Band]]:
    """Of the models that a combined one is made of. Raises Conflict if one is not published, or makes no grid."""
    parts = {part: await _bands_of(db, part) for part in sheet.parts}
    if "grid" in (sheet.combine or {}):
        for part, bands in parts.items():
            if not 1 <= len(bands) <= MAX_CELLS:
                raise Conflict(f"{part!r} is a side of a grid, so it has 1 to {MAX_CELLS} bands, not {len(bands)}")
    return parts


async def _bands_of(db: Connection, key: str) -> list[Band]:
    """The bands of a model's latest version, whether or not it is live already. Raises Conflict if it has none."""
    bands = await db.fetchval(
        """
        SELECT v.bands FROM scoring_model m JOIN model_version v ON v.model_id = m.id
        WHERE m.key = $1 AND m.archived_at IS NULL ORDER BY v.version DESC LIMIT 1
        """,
        key,
    )
    if bands is None:
        raise Conflict(f"it combines {key!r}, which is not published; publish that first")
    return read_bands(bands)


async def _grids_to_follow(db: Connection, key: str) -> list[tuple[str, int]]:
    """The grids whose cells are not those that the bands of model `key` make now, and the latest version of each.

    That version counts, or is about to: of what waits, only the latest comes to count.
    """
    rows = await db.fetch(
        """
        SELECT m.id, m.key, v.version, v.rules, v.bands FROM scoring_model m CROSS JOIN LATERAL (
            SELECT * FROM model_version WHERE model_id = m.id ORDER BY version DESC LIMIT 1
        ) v
        WHERE m.archived_at IS NULL
          AND $1 IN (v.spec -> 'combine' -> 'grid' ->> 'rows', v.spec -> 'combine' -> 'grid' ->> 'columns')
          AND (m.live_version IS NOT NULL OR EXISTS (
              SELECT FROM job WHERE kind = $2 AND status IN ('queued', 'running')
                AND payload @> jsonb_build_object('model', m.id, 'version', v.version)
          ))
        ORDER BY m.id
        """,
        key,
        PUBLISH,
    )
    following = []
    for row in rows:
        again = await _thaw(db, dict(row), row["version"])
        rules_again = [{**rule.to_json(), "counter_id": None} for rule in again.rules]
        if (rules_again, again.bands) != (row["rules"], row["bands"]):
            following.append((row["key"], row["version"]))
    return following


def _refuse(plan: Plan, model_id: int, key: str, frozen: _Frozen) -> LiveModel:
    """The version, parsed. Raises Conflict if it could not count beside what counts already."""
    mine = live_model(model_id, key, 0, frozen.said, plan.contacts)
    missing = sorted(mine.depends_on - {model.key for model in plan.models} - {key})
    if missing:
        raise Conflict(f"it depends on scores that nobody computes; publish {', '.join(missing)} first")
    usage.refuse_too_much(plan, mine)
    return mine


async def _refuse_circle(db: Connection, mine: LiveModel, contacts: Vocabulary) -> None:
    """Raises Conflict if it would come to depend on itself, by what counts or by what waits to."""
    if checks.Terms(contacts, await _needs(db, contacts)).circle(mine.key, mine.depends_on):
        raise Conflict(f"scoring model {mine.key!r} would depend on itself")


async def _needs(db: Connection, contacts: Vocabulary) -> dict[str, frozenset[str]]:
    """The models that each model depends on, by the version of it that counts and by those that wait to."""
    needs: dict[str, frozenset[str]] = {}
    for sheet in await usage.sheets(db):
        if not sheet.is_draft:
            found = checks.needs(sheet.spec, sheet.rules, contacts)
            needs[sheet.model] = needs.get(sheet.model, frozenset()) | found
    return needs


async def _keep(db: Connection, model_id: int, frozen: _Frozen, by: str, now: datetime, *, side_effects: bool) -> int:
    counters = await counters_of(db, frozen.rules)
    version: int = await db.fetchval(
        """
        INSERT INTO model_version
            (model_id, version, name, bands, spec, rules, side_effects, published_at, published_by)
        SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5, $6, $7, $8 FROM model_version WHERE model_id = $1
        RETURNING version
        """,
        model_id,
        frozen.name,
        frozen.bands,
        frozen.spec,
        [{**rule.to_json(), "counter_id": counters.get(rule.id)} for rule in frozen.rules],
        side_effects,
        now,
        by,
    )
    return version


async def archive(db: Connection, key: str, now: datetime) -> UUID:
    """Score this model no more; its scores stay as they are. Returns the job that removes what only it counted.

    Raises NotFound, or Conflict if another model that counts depends on it.
    """
    model = await _existing(db, key)
    await plans.change(db)
    await _refuse_needed(db, key)
    await db.execute("UPDATE scoring_model SET archived_at = $2 WHERE id = $1", model, now)
    tidy = await _tidy(db, {"freeze": model}, now)
    # A version that waits must not come to count by counters that go now, should the model be made active again. After
    # the counters, as whoever fills them does it: else they wait in a circle.
    waiting = await db.fetch(
        """
        SELECT id FROM job WHERE kind = $1 AND status IN ('queued', 'running') AND phase IS DISTINCT FROM 'scoring'
        AND payload @> jsonb_build_object('model', $2::int)
        """,
        PUBLISH,
        model,
    )
    for row in waiting:
        await jobs.finish(db, row["id"], now, ARCHIVED)
    return tidy


async def unarchive(db: Connection, key: str) -> None:
    """Make an archived model a draft again; it counts once it is published, since its tallies are gone."""
    model = await _existing(db, key)
    await plans.change(db)
    await db.execute(
        "UPDATE scoring_model SET archived_at = NULL, live_version = NULL WHERE id = $1 AND archived_at IS NOT NULL",
        model,
    )


async def delete(db: Connection, key: str, now: datetime) -> UUID:
    """Remove a model with its rules and versions. Returns the job that removes its scores and what only it counted.

    Raises NotFound, or Conflict if another model that counts, or a segment, depends on it.
    """
    model = await _existing(db, key)
    await plans.change(db)
    await _refuse_needed(db, key)
    if used := await _users(db, key):
        raise Conflict(f"{', '.join(used)} names its scores; change that first")
    await db.execute("DELETE FROM scoring_model WHERE id = $1", model)
    return await _tidy(db, {"forget": model}, now)


async def _refuse_needed(db: Connection, key: str) -> None:
    needs = await _needs(db, await plans.vocabulary(db))
    needing = sorted(model for model, names in needs.items() if key in names and model != key)
    if needing:
        raise Conflict(f"{', '.join(needing)} depends on its scores; publish that without it, or archive it, first")


async def _users(db: Connection, key: str) -> list[str]:
    """Who names the scores of a model, in words, its own draft and versions aside: they go with it."""
    named = await usage.users(db, f"{SCORE}{key}") + await usage.users(db, f"{BAND}{key}")
    own = {sheet.name for sheet in await usage.sheets(db) if sheet.model == key}
    return [user for user in dict.fromkeys(named) if user not in own]


async def rescore(db: Connection, keys: Sequence[str], now: datetime) -> UUID:
    """Enqueue that everybody is scored anew in these models and all that depend on them. Returns the job."""
    return await jobs.enqueue(db, RESCORE, {"keys": sorted(keys)}, now)


async def _existing(db: Connection, key: str) -> int:
    model: int | None = await db.fetchval("SELECT id FROM scoring_model WHERE key = $1 FOR UPDATE", key)
    if model is None:
        raise NotFound(f"there is no scoring model {key!r}")
    return model


async def _tidy(db: Connection, payload: dict[str, Any], now: datetime) -> UUID:  # Any: JSON
    job = await jobs.enqueue(db, TIDY, payload, now)
    await retire(db, job)
    return job


class Asked(NamedTuple):
    """What a counter is to count: a condition on events as JSON, and the field whose values it tells apart."""

    condition: dict[str, Any]  # Any: JSON
    keyed_by: str | None
    keyed_as: str | None

    @property
    def digest(self) -> bytes:
        tree = checks.event_tree(self.condition)
        return rules.digest(tree, self.keyed_by, self.keyed_as)


async def counters_of(db: Connection, said: Sequence[Rule]) -> dict[UUID, int]:
    """The counter of each rule on events. The caller has changed the plan in this transaction."""
    counting = [rule for rule in said if rule.kind is not RuleKind.PROFILE]
    asked = [
        Asked(
            rule.condition if isinstance(rule.condition, dict) else {},
            rule.distinct_by,
            "text" if rule.distinct_by else None,
        )
        for rule in counting
    ]
    ids = await count(db, asked)
    return {rule.id: counter for rule, counter in zip(counting, ids, strict=True)}


async def count(db: Connection, asked: Sequence[Asked]) -> list[int]:
    """The counters that ask this; those that are new begin to count with the next batch, and are filled later.

    The caller has changed the plan in this transaction: its epoch is the first that counts by them.
    """
    if not asked:
        return []
    by_digest = {one.digest: one for one in asked}
    await db.execute(
        """
        INSERT INTO counter (digest, condition, keyed_by, keyed_as, since)
        SELECT new.*, epoch
        FROM unnest($1::bytea[], $2::jsonb[], $3::text[], $4::text[]) AS new(digest, condition, by, kind), plan_epoch
        ON CONFLICT (digest) WHERE retired_by IS NULL DO NOTHING
        """,
        list(by_digest),
        [one.condition for one in by_digest.values()],
        [one.keyed_by for one in by_digest.values()],
        [one.keyed_as for one in by_digest.values()],
    )
    rows = await db.fetch(
        "SELECT id, digest FROM counter WHERE digest = ANY($1) AND retired_by IS NULL", list(by_digest)
    )
    ids = {row["digest"]: row["id"] for row in rows}
    return [ids[one.digest] for one in asked]


async def retire(db: Connection, job_id: UUID) -> None:
    """Set aside the counters that neither a live version, nor one about to be live, nor a measure needs.

    The job drops their tallies. The caller has changed the plan in this transaction.
    """
    await db.execute(
        """
        UPDATE counter c SET retired_by = $1 WHERE retired_by IS NULL AND NOT EXISTS (
            SELECT FROM scoring_model m
            JOIN model_version v ON v.model_id = m.id AND v.version >= coalesce(m.live_version, 0)
            CROSS JOIN jsonb_array_elements(v.rules) r
            WHERE m.archived_at IS NULL AND (r ->> 'counter_id')::int = c.id
        ) AND NOT EXISTS (SELECT FROM measure WHERE counter_id = c.id)
        """,
        job_id,
    )
