"""The SQL functions of the first migration."""

from datetime import UTC, datetime

import pytest

from app.store.db import Database

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)

INSTANTS: dict[str, datetime | None] = {
    "2026-05-01T12:00:00Z": NOON,
    "2026-05-01t12:00:00z": NOON,
    "2026-05-01 12:00:00Z": NOON,
    "2026-05-01T12:00Z": NOON,
    "2026-05-01T12:00:00+00:00": NOON,
    "2026-05-01T14:00:00+02:00": NOON,
    "2026-05-01T14:00:00+0200": NOON,
    "2026-05-01T14:00:00+02": NOON,
    "2026-05-01T06:30:00-05:30": NOON,
    "2026-05-01T12:00:00.0Z": NOON,
    "2026-05-01T12:00:00.000001Z": NOON.replace(microsecond=1),
    "2026-05-01T12:00:00": NOON,
    "2026-05-01T12:00": NOON,
    "2026-05-01": NOON.replace(hour=0),
    "2024-02-29": datetime(2024, 2, 29, tzinfo=UTC),
    "0001-01-01": datetime(1, 1, 1, tzinfo=UTC),
    "9999-12-31T23:59:59Z": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "": None,
    " ": None,
    "now": None,
    "today": None,
    "yesterday": None,
    "infinity": None,
    "epoch": None,
    "2026": None,
    "2026-05": None,
    "20260501": None,
    "1777636800": None,
    "2026-5-1": None,
    "01.05.2026": None,
    "05/01/2026": None,
    "2026-02-29": None,
    "2026-13-01": None,
    "2026-00-10": None,
    "2026-05-32": None,
    "2026-05-01T25:00:00Z": None,
    "2026-05-01T12:61:00Z": None,
    "2026-05-01T12:00:00+99:00": None,
    "2026-05-01T12:00:00Z ": None,
    " 2026-05-01": None,
    "2026-05-01T12:00:00Z\n": None,
    "2026-05-01\n": None,
    "2026-05-01T12:00:00 Europe/Berlin": None,
    "2026-05-01T12:00:00Z; DROP TABLE event": None,
    "２０２６-05-01": None,
    "2026-05-01T12:00:00Z BC": None,
    "May 1, 2026": None,
}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
async def test_text_is_an_instant_or_nothing_and_never_an_error(migrated: Database, zone: str) -> None:
    async with migrated.hot.acquire() as db, db.transaction():
        await db.execute(f"SET LOCAL TIME ZONE '{zone}'")
        rows = await db.fetch(
            "SELECT said, as_instant(said) AS instant FROM unnest($1::text[]) AS said", list(INSTANTS)
        )

    assert INSTANTS == {row["said"]: row["instant"] for row in rows}


async def test_no_text_is_no_instant(migrated: Database) -> None:
    async with migrated.hot.acquire() as db:
        assert await db.fetchval("SELECT as_instant(NULL)") is None


async def test_tags_are_folded_for_their_index(migrated: Database) -> None:
    async with migrated.hot.acquire() as db:
        assert ["äpfel", "b"] == await db.fetchval("SELECT fold_tags($1)", ["ÄPFEL", "b"])
        assert [] == await db.fetchval("SELECT fold_tags('{}')")
