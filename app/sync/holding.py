"""What a CRM does not take is held back: tried again after waits that grow, then parked. So calls stay bounded. Pure.

`link.held` holds, by the CRM's name of each field: why, code, reason, tries, value, since, until; instants in ISO 8601.
`until` None: it is parked, and tried no more until somebody asks for it, the record moves there in that field, or the
mapping changes.

| why | waits | then |
| --- | --- | --- |
| a lock, a time-out | 2 s, 10 s, 1 min, 5 min, 30 min | every hour |
| refused | 1 min, 10 min, 1 h, 6 h | parked |
| passed over in silence, or changed back there | 1 min, 10 min, 1 h | parked |
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

from app.connectors.shapes import End, Outcome, Value, Values

Held: TypeAlias = Mapping[str, Any]  # Any: JSON, as above


class Why(StrEnum):
    """What a field is held for."""

    BUSY = "busy"
    REFUSED = "refused"
    OTHERWISE = "otherwise"
    """The CRM took it, and keeps something else."""
    REVERSED = "reversed"
    """The CRM changed it back."""


OTHERWISE, REVERSED = "kept_otherwise", "changed_back"
"""The codes of what no CRM has a code for."""

_REASONS = {
    OTHERWISE: "the CRM took it and keeps something else: a workflow, a trigger or a formula there sets this field",
    REVERSED: "something in the CRM sets this field after us: a workflow, a trigger or another integration",
}

_WAITS = {
    Why.BUSY: tuple(timedelta(seconds=one) for one in (2, 10, 60, 300, 1_800, 3_600)),
    Why.REFUSED: tuple(timedelta(minutes=one) for one in (1, 10, 60, 360)),
    Why.OTHERWISE: tuple(timedelta(minutes=one) for one in (1, 10, 60)),
    Why.REVERSED: tuple(timedelta(minutes=one) for one in (1, 10, 60)),
}
_FORGIVEN = timedelta(days=1)
"""After so long without a reversal the next one is the first."""


def refuse(held: Held, fields: Iterable[str], outcome: Outcome, values: Values, now: datetime) -> dict[str, Any]:
    """With these fields held, by what became of the write of `values`: for a while, or for good after some tries."""
    why = Why.BUSY if outcome.end is End.AGAIN else Why.REFUSED
    code, reason = outcome.code or outcome.end.value, outcome.reason or "the CRM gave no reason"
    return _hold(held, {name: values.get(name) for name in fields}, why, code, reason, now)


def otherwise(held: Held, values: Values, now: datetime) -> dict[str, Any]:
    """With these fields held, which the CRM took and keeps otherwise; `values` are what was written."""
    return _hold(held, values, Why.OTHERWISE, OTHERWISE, _REASONS[OTHERWISE], now)


def reversed_(held: Held, field: str, value: Value, now: datetime) -> dict[str, Any]:
    """With this field held, which the CRM changed back from `value`."""
    return _hold(held, {field: value}, Why.REVERSED, REVERSED, _REASONS[REVERSED], now)


def settle(held: Held, fields: Collection[str], now: datetime) -> dict[str, Any]:
    """After the CRM took these fields: only that it changes one back is remembered, for a day."""
    return {
        name: entry
        for name, entry in held.items()
        if name not in fields or (entry["why"] == Why.REVERSED and not _is_forgiven(entry, now))
    }


def free(held: Held, fields: Collection[str]) -> dict[str, Any]:
    """Without these fields: nothing is known against them."""
    return {name: entry for name, entry in held.items() if name not in fields}


def is_free(held: Held, field: str, now: datetime) -> bool:
    """Whether it may be told now, whatever its value: what changes often must not call often either."""
    entry = held.get(field)
    return entry is None or (entry["until"] is not None and datetime.fromisoformat(entry["until"]) <= now)


def is_in_doubt(held: Held, field: str) -> bool:
    """Whether it was refused before, so that it might take others with it."""
    return field in held and held[field]["why"] == Why.REFUSED


def next_try(held: Held, fields: Iterable[str]) -> datetime | None:
    """When the first of these fields may be told again; None if all of them are parked, or none is held."""
    untils = [held[name]["until"] for name in fields if name in held and held[name]["until"] is not None]
    return min(map(datetime.fromisoformat, untils), default=None)


def parked(held: Held) -> list[str]:
    """The fields that are tried no more."""
    return sorted(name for name, entry in held.items() if entry["until"] is None)


def wait(why: Why, tries: int) -> timedelta | None:
    """How long to wait after so many tries in vain; None: for good."""
    waits = _WAITS[why]
    if tries <= len(waits):
        return waits[tries - 1]
    return waits[-1] if why is Why.BUSY else None


def _hold(held: Held, values: Values, why: Why, code: str, reason: str, now: datetime) -> dict[str, Any]:  # Any: JSON
    found = dict(held)
    for name, value in values.items():
        before = held.get(name)
        if before is not None and why is Why.BUSY and before["why"] != Why.BUSY:
            # That it could not be tried counts neither for it nor against it.
            pause = wait(Why(before["why"]), before["tries"])
            found[name] = {**before, "until": None if pause is None else (now + pause).isoformat()}
            continue
        if before is None or _is_forgiven(before, now) or (before["why"] == Why.BUSY and why is not Why.BUSY):
            before = {"tries": 0, "since": now.isoformat()}
        tries = before["tries"] + 1
        pause = wait(why, tries)
        found[name] = {
            "why": why.value,
            "code": code,
            "reason": reason,
            "tries": tries,
            "value": value,
            "since": before["since"],
            "until": None if pause is None else (now + pause).isoformat(),
        }
    return found


def _is_forgiven(entry: Mapping[str, Any], now: datetime) -> bool:  # Any: JSON
    """Whether a reversal is too long ago to be one of a series."""
    until = entry["until"]
    return entry["why"] == Why.REVERSED and until is not None and now - datetime.fromisoformat(until) > _FORGIVEN
