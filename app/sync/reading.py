"""Records as the sync takes them: which fields are asked for, in text that Postgres can hold, each record once."""

from collections.abc import Collection, Iterable, Sequence
from math import isfinite

from app.connectors.shapes import Key, Record, Value
from app.engine.conditions import is_clean
from app.engine.identity import normal_email
from app.sync.mapping import EMAIL, Pair
from app.sync.options import Options
from app.sync.shapes import Opened

_BITS = 2**63


def pairs(options: Options, object_: str) -> list[Pair]:
    return [pair for pair in options.pairs if pair.object == object_]


def fields(options: Options, object_: str) -> list[str]:
    """What is asked for of a record, by the CRM's names."""
    return sorted({pair.there for pair in pairs(options, object_)})


async def fetch(opened: Opened, keys: Collection[Key]) -> list[Record]:
    """These records as they are now, if they are of people; one that the CRM does not answer with is gone.

    One that is gone does not say since when: what was asked for just now is no late answer.
    """
    found: list[Record] = []
    for object_ in opened.connector.objects:
        wanted = dict.fromkeys(key.id for key in keys if key.object == object_)
        if wanted:
            records = await opened.connector.fetch(object_, list(wanted), fields(opened.options, object_))
            answered = {record.key.id for record in records}
            found += [one._replace(modified_at=None) if one.is_gone else one for one in records]
            found += [Record(Key(object_, id_), is_gone=True) for id_ in wanted if id_ not in answered]
    return found


def distinct(records: Iterable[Record]) -> list[Record]:
    """Each record once, as it was last modified, in the order in which they were modified, clean."""
    latest: dict[Key, Record] = {}
    for record in records:
        other = latest.get(record.key)
        if other is None or not _is_newer(other, record):
            latest.pop(record.key, None)  # the later one takes its place at the end
            latest[record.key] = _clean_record(record)
    # One that does not say when is as it is now.
    dated = sorted((one for one in latest.values() if one.modified_at), key=lambda one: (one.modified_at, one.key))
    return [*dated, *(one for one in latest.values() if not one.modified_at)]


def _is_newer(one: Record, other: Record) -> bool:
    return one.modified_at is not None and other.modified_at is not None and one.modified_at > other.modified_at


def addresses(record: Record, mapped: Sequence[Pair]) -> list[str]:
    """The record's addresses in normal form, the primary one first; what is no address is left out."""
    given = [record.values.get(pair.there) for pair in mapped if pair.here == EMAIL]
    found = (normal(one) for one in (*given, *record.addresses))
    return list(dict.fromkeys(one for one in found if one is not None))


def normal(address: object) -> str | None:
    """An address in normal form; None if it is none."""
    if not isinstance(address, str) or not is_clean(address):
        return None
    try:
        return normal_email(address)
    except ValueError:
        return None


def _clean_record(record: Record) -> Record:
    values = {name: _clean_value(value) for name, value in record.values.items()}
    return record._replace(values=values, addresses=tuple(clean(one) for one in record.addresses))


def _clean_value(value: Value) -> Value:
    match value:
        case str():
            return clean(value)
        case list():
            return [clean(one) for one in value]
        case float() if not isfinite(value):
            return None
        case int() if not -_BITS <= value < _BITS:
            return float(value)
    return value


def clean(text: str) -> str:
    """Text that Postgres can hold: without NUL, and without halves of surrogate pairs."""
    return text if is_clean(text) else text.replace("\x00", "").encode(errors="replace").decode()
