"""All that happened to contacts, of several kinds in one order, by keyset: one statement for any number of contacts.

Each kind gives at most a page of its own newest, by the contact's key; the best of these are the page. Of a kind that
is kept in another order than that of time (changes of scores and of flags) all of one contact are read.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Integer, Text, TextualSelect, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection


class Kind(StrEnum):
    EVENT = "event"
    SCORE = "score"
    FLAG = "flag"
    SYNC = "sync"


class Place(NamedTuple):
    """Where something stands: the instant, then the kind, then a key within the kind."""

    at: datetime
    rank: int
    key: str


class Item(NamedTuple):
    place: Place
    said: dict[str, Any]  # Any: JSON, as the kind has it below


class Stretch(NamedTuple):
    """At most `limit` between two places, both exclusive: the newest, or `from_end` the oldest of them."""

    limit: int
    kinds: tuple[Kind, ...] = tuple(Kind)
    older_than: Place | None = None
    newer_than: Place | None = None
    from_end: bool = False


FLAG_SAID = """
    jsonb_build_object('flag', f.flag, 'value', s.now -> f.flag, 'at', s.now -> (f.flag || '_at'),
                       'reason', s.now -> (f.flag || '_reason'), 'by', s.now -> (f.flag || '_by'),
                       'is_new_address', s.now -> 'email' IS DISTINCT FROM s.was -> 'email')
"""
"""A flag `f.flag` as it is since a contact's row changed from `s.was` to `s.now`, both as JSON."""
FLAG_CHANGED = """
    (s.now -> f.flag, nullif(s.now -> (f.flag || '_at'), 'null'), nullif(s.now -> (f.flag || '_by'), 'null'),
     nullif(s.now -> (f.flag || '_reason'), 'null'))
    IS DISTINCT FROM (s.was -> f.flag, nullif(s.was -> (f.flag || '_at'), 'null'),
                      nullif(s.was -> (f.flag || '_by'), 'null'), nullif(s.was -> (f.flag || '_reason'), 'null'))
"""
"""Whether that made it another one."""

_SOURCES = {
    Kind.EVENT: """
        SELECT e.occurred_at AS at, 0 AS rank, e.id::text AS key, e.id AS tie, to_jsonb(e) AS said FROM event e
        WHERE e.contact_id = who.id
    """,
    Kind.SCORE: """
        SELECT c.at, 1 AS rank, lpad(c.id::text, 20, '0') AS key, c.id AS tie, to_jsonb(c) AS said FROM score_change c
        WHERE c.contact_id = who.id AND EXISTS (SELECT FROM scoring_model m WHERE m.id = c.model_id)
    """,
    # A state that is over lasted until the next one began; the present one is the contact's row.
    Kind.FLAG: f"""
        SELECT s.at, 2 AS rank, lpad(s.id::text, 20, '0') || f.flag AS key, s.id AS tie,
               {FLAG_SAID} AS said
        FROM (
            SELECT 0 AS id, c.created_at AS at, '{{"opted_out": false, "bounced": false}}'::jsonb AS was,
                   coalesce((SELECT p.said FROM contact_past p WHERE p.contact_id = c.id ORDER BY p.id LIMIT 1),
                            to_jsonb(c)) AS now
            FROM contact c WHERE c.id = who.id
            UNION ALL
            SELECT p.id, p.until, p.said, coalesce(lead(p.said) OVER (ORDER BY p.id), to_jsonb(c))
            FROM contact_past p JOIN contact c ON c.id = p.contact_id WHERE p.contact_id = who.id
        ) s
        CROSS JOIN (VALUES ('opted_out'), ('bounced')) f(flag) WHERE {FLAG_CHANGED}
    """,
    Kind.SYNC: """
        SELECT n.at, 3 AS rank, concat_ws('/', c.id, l.object, l.record, n.field) AS key,
               concat_ws('/', c.id, l.object, l.record, n.field) COLLATE "C" AS tie,
               jsonb_build_object('connection', c.name, 'connection_id', c.id, 'object', l.object, 'record', l.record,
                                  'field', n.field, 'code', n.code, 'reason', n.reason) AS said
        FROM (
            SELECT split_part(kind, ':', 2)::uuid AS connection_id, split_part(kind, ':', 3) AS object, value AS record
            FROM identity WHERE contact_id = who.id AND kind LIKE 'crm:%' OFFSET 0
        ) i
        CROSS JOIN LATERAL (
            SELECT * FROM link
            WHERE connection_id = i.connection_id AND object = i.object AND record = i.record OFFSET 0
        ) l
        JOIN connection c ON c.id = l.connection_id
        CROSS JOIN LATERAL (
            SELECT l.created_at AS at, NULL AS field, NULL AS code, NULL AS reason
            UNION ALL
            SELECT (held.value ->> 'since')::timestamptz, held.key, held.value ->> 'code', held.value ->> 'reason'
            FROM jsonb_each(l.held) held
        ) n
    """,
}
"""What each kind is, of the contact `who.id`: when, its rank among the kinds, its key, and what orders that."""


@cache
def _statement(kinds: tuple[Kind, ...], *, from_end: bool) -> TextualSelect:
    direction = "ASC" if from_end else "DESC"
    parts = [
        f"""
        (SELECT at, rank, key, said FROM ({_SOURCES[kind]}) one
         WHERE (CAST(:older_at AS timestamptz) IS NULL
                OR at <= :older_at AND (at, rank, key COLLATE "C") < (:older_at, :older_rank, :older_key))
           AND (CAST(:newer_at AS timestamptz) IS NULL
                OR at >= :newer_at AND (at, rank, key COLLATE "C") > (:newer_at, :newer_rank, :newer_key))
         ORDER BY at {direction}, tie {direction} LIMIT :limit)
        """
        for kind in kinds
    ]
    statement = text(
        f"""
        SELECT who.id, found.at, found.rank, found.key, found.said FROM unnest(:contacts) AS who(id)
        CROSS JOIN LATERAL (
            SELECT * FROM ({" UNION ALL ".join(parts)}) each
            ORDER BY at {direction}, rank {direction}, key COLLATE "C" {direction} LIMIT :limit
        ) found
        """
    ).bindparams(
        bindparam("contacts", type_=ARRAY(Uuid)),
        *(bindparam(f"{side}_at", type_=DateTime(timezone=True)) for side in ("older", "newer")),
        *(bindparam(f"{side}_rank", type_=Integer) for side in ("older", "newer")),
        *(bindparam(f"{side}_key", type_=Text) for side in ("older", "newer")),
    )
    return statement.columns(id=Uuid, at=DateTime(timezone=True), rank=Integer, key=Text, said=JSONB)


async def timelines(db: AsyncConnection, contacts: Collection[UUID], wanted: Stretch) -> dict[UUID, list[Item]]:
    """What happened to each contact, the newest first."""
    if not wanted.kinds:
        return {}
    older, newer = wanted.older_than or (None, None, None), wanted.newer_than or (None, None, None)
    given: dict[str, Any] = {"contacts": list(contacts), "limit": wanted.limit}
    for side, place in (("older", older), ("newer", newer)):
        given |= {f"{side}_at": place[0], f"{side}_rank": place[1], f"{side}_key": place[2]}
    grouped: dict[UUID, list[Item]] = defaultdict(list)
    for row in await db.execute(_statement(wanted.kinds, from_end=wanted.from_end), given):
        grouped[row.id].append(Item(Place(row.at, row.rank, row.key), row.said))
    return {contact: found[::-1] if wanted.from_end else found for contact, found in grouped.items()}
