"""What a draft would change, worked out on the real base before it counts. Nothing is scored, told or kept but that.

The draft is frozen into the job when it is asked for. Each contact's score before and after goes into an unlogged
table, from which the summary and the pages of who would move are read.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import Uuid, bindparam, case, cast, func, literal, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from app import clock
from app.engine import plan as plans
from app.engine import publish, rollout, rules, sources, tally
from app.engine.checks import event_tree
from app.engine.formula import formula
from app.engine.rollout import Chunk
from app.engine.rules import Band, RuleKind, read_bands
from app.engine.sheets import LiveModel, live_model
from app.engine.tally import Counter
from app.errors import NotFound
from app.store import jobs
from app.store.db import Connection, Database, Statement
from app.store.tables import PreviewScore, Score, core

PREVIEW = "model.preview"
BUCKETS = 20
Foresee: TypeAlias = Callable[[Connection, UUID], Awaitable[list[dict[str, Any]]]]  # Any: JSON
"""What others would be told, once the scores of a preview are worked out."""

_preview, _score = core(PreviewScore), core(Score)


class Mover(NamedTuple):
    """A contact whose score the draft would change."""

    contact_id: UUID
    email: str | None
    was: Decimal | None
    becomes: Decimal | None
    moved: Decimal


async def ask(db: Connection, key: str, now: datetime) -> UUID:
    """Enqueue a preview of the draft as it is now; returns the job. Raises as publishing it would."""
    _, frozen = await publish.drafted(db, key)
    return await jobs.enqueue(db, PREVIEW, {"model": key, "draft": frozen}, now)


async def run(database: Database, job_id: UUID, foresee: Foresee | None = None) -> None:
    """Carry out one preview, from wherever it stands. `foresee` says what CRMs would be told."""
    async with database.batch() as db:
        job = await jobs.start(db, job_id, clock.now())
        if job is None:
            return
        key, draft = job["payload"]["model"], job["payload"]["draft"]
        model_id = await db.fetchval("SELECT id FROM scoring_model WHERE key = $1", key)
        if model_id is None:
            await jobs.finish(db, job_id, clock.now(), "the model was deleted meanwhile")
            return
        if job["phase"] is None:
            await jobs.enter(db, job_id, "scoring", await rollout.count_contacts(db))
        contacts = await plans.vocabulary(db)
        known = await db.fetch("SELECT id, digest FROM counter WHERE filled AND retired_by IS NULL")
    model, fresh = _counting(live_model(model_id, key, 0, draft, contacts), {row["digest"]: row["id"] for row in known})
    total = formula([model], contacts, sources.STORED_AND_RECOUNTED).total.subquery("total")
    statement = Statement(_compare(total, model_id))
    recount = tally.Recount(fresh)

    async def compare(db: Connection, chunk: Chunk) -> None:
        now = clock.now()
        await recount.set(db, chunk.contacts)
        arguments = statement.arguments(contacts=chunk.contacts, as_of=now.date(), at=now, job=job_id)
        await db.execute(statement.sql, *arguments)

    await rollout.each_chunk(database, job_id, "scoring", compare)
    async with database.batch() as db:
        result = await _summary(db, job_id, key, read_bands(draft["bands"]))
        result["crm_writes"] = [] if foresee is None else await foresee(db, job_id)
        await jobs.finish(db, job_id, clock.now(), result=result)


def _counting(model: LiveModel, known: dict[bytes, int]) -> tuple[LiveModel, dict[int, Counter]]:
    """The model with counters: those that are filled already, and new ones, below nought, to be counted on the way."""
    fresh: dict[int, Counter] = {}
    live = []
    for one in model.rules:
        if one.rule.kind is RuleKind.PROFILE:
            live.append(one)
            continue
        by = one.rule.distinct_by
        tree = event_tree(one.rule.condition)
        number = known.get(rules.digest(tree, by, "text" if by else None))
        if number is None:
            number = -1 - len(fresh)
            fresh[number] = Counter.asked(tree, by)
        live.append(replace(one, counter_id=number))
    return replace(model, rules=tuple(live)), fresh


def _compare(total: Any, model_id: int) -> Any:
    was = (
        select(_score.c.value)
        .where(_score.c.contact_id == total.c.contact_id, _score.c.model_id == literal(model_id))
        .scalar_subquery()
    )
    both = select(
        total.c.contact_id, was.label("was"), func.coalesce(total.c.override, total.c.computed).label("becomes")
    ).subquery("both")
    either_is_none = both.c.was.is_(None) != both.c.becomes.is_(None)
    moved = case(
        (either_is_none, literal_column("'Infinity'::numeric")),
        else_=func.coalesce(func.abs(both.c.becomes - both.c.was), literal_column("0")),
    )
    names = ["job_id", "contact_id", "was", "becomes", "moved"]
    rows = select(cast(bindparam("job"), Uuid), both.c.contact_id, both.c.was, both.c.becomes, moved)
    return insert(_preview).from_select(names, rows).on_conflict_do_nothing()


async def _summary(db: Connection, job_id: UUID, key: str, becoming: Sequence[Band]) -> dict[str, Any]:  # Any: JSON
    """Distributions before and after, moves between bands, crossings of thresholds; one pass over the table each."""
    live = await db.fetchval(
        """
        SELECT v.bands FROM scoring_model m JOIN model_version v ON v.model_id = m.id AND v.version = m.live_version
        WHERE m.key = $1
        """,
        key,
    )
    bands = read_bands(live) if live is not None else list(becoming)
    whole = await db.fetchrow(
        """
        SELECT count(*) AS contacts, count(*) FILTER (WHERE moved > 0) AS changed,
               least(min(was), min(becomes)) AS low, greatest(max(was), max(becomes)) AS high
        FROM preview_score WHERE job_id = $1
        """,
        job_id,
    )
    assert whole is not None
    rows = await db.fetch(
        """
        SELECT width_bucket(was, $2::numeric[]) AS was, width_bucket(becomes, $3::numeric[]) AS becomes, count(*) AS n
        FROM preview_score WHERE job_id = $1 GROUP BY 1, 2
        """,
        job_id,
        _edges(bands),
        _edges(becoming),
    )
    moves = [{"from": _name(bands, r["was"]), "to": _name(becoming, r["becomes"]), "contacts": r["n"]} for r in rows]
    return {
        "contacts": whole["contacts"],
        "changed": whole["changed"],
        "bands_before": _added(moves, "from"),
        "bands_after": _added(moves, "to"),
        "moves": sorted((m for m in moves if m["from"] != m["to"]), key=lambda m: -m["contacts"]),
        "distribution": await _distribution(db, job_id, whole["low"], whole["high"]),
        "thresholds": [await _crossings(db, job_id, band) for band in becoming if band.min is not None],
    }


def _edges(bands: Sequence[Band]) -> list[Decimal]:
    """Where bands begin; the open one below needs no edge, for it is what lies under the others."""
    return [band.min for band in bands if band.min is not None]


def _name(bands: Sequence[Band], place: int | None) -> str | None:
    """The band of a bucket that `width_bucket` gave: 0 lies below the first edge."""
    if place is None:
        return None
    edged = [band for band in bands if band.min is not None]
    if place > 0:
        return edged[place - 1].name
    return next((band.name for band in bands if band.min is None), "(none)")


def _added(moves: Sequence[dict[str, Any]], side: str) -> dict[str, int]:  # Any: JSON
    added: dict[str, int] = {}
    for move in moves:
        name = "(no score)" if move[side] is None else move[side]
        added[name] = added.get(name, 0) + move["contacts"]
    return added


async def _distribution(
    db: Connection, job_id: UUID, low: Decimal | None, high: Decimal | None
) -> list[dict[str, Any]]:  # Any: JSON
    """How many contacts are in each of equal ranges, before and after."""
    if low is None or high is None:
        return []
    step = (high - low) / BUCKETS or Decimal(1)
    rows = await db.fetch(
        """
        SELECT bucket, sum(before) AS before, sum(after) AS after FROM (
            SELECT least(floor((was - $2) / $3), $4) AS bucket, 1 AS before, 0 AS after
            FROM preview_score WHERE job_id = $1 AND was IS NOT NULL
            UNION ALL
            SELECT least(floor((becomes - $2) / $3), $4), 0, 1
            FROM preview_score WHERE job_id = $1 AND becomes IS NOT NULL
        ) each GROUP BY 1 ORDER BY 1
        """,
        job_id,
        low,
        step,
        Decimal(BUCKETS - 1),
    )
    return [
        {
            "from": float(low + step * row["bucket"]),
            "to": float(low + step * (row["bucket"] + 1)),
            "before": row["before"],
            "after": row["after"],
        }
        for row in rows
    ]


async def _crossings(db: Connection, job_id: UUID, band: Band) -> dict[str, Any]:  # Any: JSON
    row = await db.fetchrow(
        """
        SELECT count(*) FILTER (WHERE (was IS NULL OR was < $2) AND becomes >= $2) AS up,
               count(*) FILTER (WHERE was >= $2 AND (becomes IS NULL OR becomes < $2)) AS down
        FROM preview_score WHERE job_id = $1 AND moved > 0
        """,
        job_id,
        band.min,
    )
    assert row is not None
    assert band.min is not None
    return {"band": band.name, "threshold": float(band.min), "up": row["up"], "down": row["down"]}


async def movers(
    db: Connection,
    job_id: UUID,
    key: str,
    *,
    threshold: Decimal | None,
    is_up: bool | None,
    limit: int,
    after: tuple[Decimal, UUID] | None,
) -> list[Mover]:
    """Who would move, the furthest first; only who moves upwards or downwards, and crosses `threshold`, where said.

    Raises NotFound if there is no such preview, or it is not ready.
    """
    ready = await db.fetchval(
        "SELECT result FROM job WHERE id = $1 AND kind = $2 AND payload ->> 'model' = $3", job_id, PREVIEW, key
    )
    if ready is None:
        raise NotFound("there is no such preview, or it is not ready yet; they are kept for a day")
    rows = await db.fetch(
        """
        SELECT p.contact_id, c.email, p.was, p.becomes, p.moved
        FROM preview_score p JOIN contact c ON c.id = p.contact_id
        WHERE p.job_id = $1 AND p.moved > 0 AND ($5::numeric IS NULL OR (p.moved, p.contact_id) < ($5, $6))
          AND (($3 IS NOT FALSE AND (p.was IS NULL OR p.was < coalesce($2::numeric, p.becomes))
                AND p.becomes >= coalesce($2, p.becomes))
               OR ($3 IS NOT TRUE AND p.was >= coalesce($2, p.was)
                   AND (p.becomes IS NULL OR p.becomes < coalesce($2, p.was))))
        ORDER BY p.moved DESC, p.contact_id DESC LIMIT $4
        """,
        job_id,
        threshold,
        is_up,
        limit,
        None if after is None else after[0],
        None if after is None else after[1],
    )
    return [Mover(*row) for row in rows]


async def forget_old(db: Connection, before: datetime) -> None:
    """Remove previews that were made before an instant."""
    old = await db.fetch("SELECT id FROM job WHERE kind = $1 AND created_at < $2", PREVIEW, before)
    if old:
        ids = [row["id"] for row in old]
        await db.execute("DELETE FROM preview_score WHERE job_id = ANY($1)", ids)
        await db.execute("DELETE FROM job WHERE id = ANY($1)", ids)
