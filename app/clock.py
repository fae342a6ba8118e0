"""The only clock. Everything that asks what time it is asks here, so that a test can move it."""

from datetime import UTC, datetime, timedelta

_offset = timedelta()


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC) + _offset  # noqa: TID251 - this is the one place


def shift(by: timedelta) -> None:
    """Move this process' clock by `by` relative to the machine's; `timedelta()` puts it right again."""
    global _offset
    _offset = by
