"""CRM search: what its index holds of the moment, sorted by one property, in pages that count rows.

Source: the documentation of CRM search, and people who met its walls: 10,000 rows to a query, 200 to a page, five
groups of six filters and 18 in all, 3,000 characters. A page counts from the first row as things are now, so that
edits between two pages move rows over the border.
"""

import random
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from app.sandbox.hubspot import showing
from app.sandbox.hubspot.conditions import Condition, Span, condition, getter
from app.sandbox.hubspot.object_calls import table_of
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.records import Property, Record
from app.sandbox.hubspot.table import Index, Table
from app.sandbox.hubspot.wire import (
    MAX_SEARCH_PAGE,
    Call,
    Json,
    Reply,
    as_object,
    invalid,
    not_json,
    number_of,
    texts_of,
)

_MOST_CHARACTERS = 3_000
_MOST_GROUPS, _MOST_FILTERS, _MOST_IN_ALL = 5, 6, 18
_KEYS = ("filterGroups", "filters", "sorts", "query", "properties", "limit", "after")
_SEARCHED = ("firstname", "lastname", "email", "phone", "company", "hs_additional_emails")
"""By the words of `query`."""
_ALL = 10**18

Group = list[Condition]


class Sort(NamedTuple):
    name: str
    is_descending: bool = False


def search(portal: Portal, call: Call) -> Reply:
    table, body = table_of(portal, call), call.object(_KEYS)
    if call.length > _MOST_CHARACTERS:
        raise invalid(f"The request body exceeds {_MOST_CHARACTERS} characters")
    limit, after = _page(portal, body)
    known, index = portal.properties[table.of.name], table.index()
    groups = _groups(index, known, body)
    sort = _sort(table, known, body)
    numbers, total = _found(portal, index, groups, sort, known, after, limit)
    asked = showing.view(portal, table.of, texts_of(body, "properties"))
    rows = [showing.shown(index.seen[number], asked) for number in numbers]
    said: Json = {"total": total, "results": rows}
    if after + limit < total:
        said["paging"] = {"next": {"after": str(after + limit)}}
    return Reply(said, rows=len(rows))


def _page(portal: Portal, body: Json) -> tuple[int, int]:
    """(rows at most, rows before). Raises Refused (400)."""
    asked, given = body.get("limit", 10), body.get("after") or 0
    limit = number_of(str(asked)) if not isinstance(asked, bool) else None
    after = number_of(str(given)) if not isinstance(given, bool) else None
    if limit is None or after is None:
        raise not_json("Cannot deserialize value of 'limit' or 'after'")
    if not 1 <= limit <= MAX_SEARCH_PAGE:
        raise invalid(f"The limit must be from 1 to {MAX_SEARCH_PAGE}")
    if portal.faults.page_rows:
        limit = min(limit, portal.faults.page_rows)
    if after + limit > portal.faults.search_window:
        raise invalid(f"Paging beyond {portal.faults.search_window} results of one query is not possible")
    return limit, after


def _groups(index: Index, known: dict[str, Property], body: Json) -> list[Group]:
    """One of them must be met, and each condition in it. None: everything is found. Raises Refused (400)."""
    given = body.get("filterGroups") or []
    if body.get("filters"):
        given = [{"filters": body["filters"]}, *given]
    if not isinstance(given, list):
        raise not_json("Cannot deserialize value of 'filterGroups'")
    filters = [as_object(group, ("filters",)).get("filters") or [] for group in given]
    if not all(isinstance(group, list) for group in filters):
        raise not_json("Cannot deserialize value of 'filters'")
    sizes = [len(group) for group in filters]
    if len(sizes) > _MOST_GROUPS or max(sizes, default=0) > _MOST_FILTERS or sum(sizes) > _MOST_IN_ALL:
        raise invalid(
            f"At most {_MOST_GROUPS} filter groups of {_MOST_FILTERS} filters, and {_MOST_IN_ALL} in all, are supported"
        )
    groups = [[condition(index, known, one) for one in group] for group in filters]
    words = body.get("query")
    if words is None or words == "":
        return groups
    if not isinstance(words, str):
        raise not_json("Cannot deserialize value of 'query'")
    return [[*group, _worded(words.lower())] for group in groups or [[]]]


def _worded(words: str) -> Condition:
    def is_met(record: Record) -> bool:
        return any(words in (record.values.get(name) or "").lower() for name in _SEARCHED)

    return Condition(is_met)


def _sort(table: Table, known: dict[str, Property], body: Json) -> Sort:
    """`-createdate`, or an object; without one, the oldest are first. Raises Refused (400)."""
    given = body.get("sorts") or []
    if not isinstance(given, list) or len(given) > 1:
        raise invalid("Only one sort is supported")
    if not given:
        return Sort(table.of.created)
    if isinstance(given[0], str):
        sort = Sort(given[0].lstrip("-"), given[0].startswith("-"))
    else:
        asked = as_object(given[0], ("propertyName", "direction"))
        direction = asked.get("direction", "ASCENDING")
        if direction not in ("ASCENDING", "DESCENDING"):
            raise not_json("Cannot deserialize value of 'direction'")
        sort = Sort(str(asked.get("propertyName")), direction == "DESCENDING")
    if sort.name not in known:
        raise invalid(f'Property "{sort.name[:60]}" does not exist', context={"propertyName": [sort.name[:60]]})
    return sort


def _found(
    portal: Portal, index: Index, groups: list[Group], sort: Sort, known: dict[str, Property], after: int, limit: int
) -> tuple[list[int], int]:
    """A page of ids, and how many there are in all."""
    span = _whole(groups, sort)
    if span is not None and not portal.faults.shuffle_ties:
        order = index.orders[span.order]
        first, last = order.between(span.low, span.high)
        if sort.is_descending:
            page = list(order.ids(max(last - after - limit, first), last - after))
            return page[::-1], last - first
        return list(order.ids(first + after, min(first + after + limit, last))), last - first
    found = [record for record in _candidates(index, groups) if _is_met(groups, record)]
    get = getter(index, known[sort.name])
    chance = random.Random() if portal.faults.shuffle_ties else None  # noqa: S311 - not for secrets
    tied = {record.id: record.id if chance is None else chance.random() for record in found}
    with_value = sorted(
        (record for record in found if get(record) is not None),
        key=lambda record: (get(record), tied[record.id]),
        reverse=sort.is_descending,
    )
    without = [record for record in found if get(record) is None]
    return [record.id for record in (*with_value, *without)[after : after + limit]], len(found)


def _whole(groups: list[Group], sort: Sort) -> Span | None:
    """The stretch of an order that is the whole answer, already sorted."""
    conditions = groups[0] if len(groups) == 1 else []
    if len(groups) > 1 or len(conditions) > 1:
        return None
    span = conditions[0].span if conditions else Span(sort.name, 0, _ALL)
    return span if span is not None and span.order == sort.name and sort.name in _ORDERS else None


_ORDERS = frozenset(("hs_object_id", "createdate", "lastmodifieddate", "hs_createdate", "hs_lastmodifieddate",
                     "hs_timestamp"))  # fmt: skip


def _candidates(index: Index, groups: list[Group]) -> Iterable[Record]:
    """All that may be in the answer, each once: as few as the index can tell."""
    if not groups:
        return index.seen.values()
    parts = [_fewest(index, group) for group in groups]
    if len(parts) == 1:
        return parts[0]
    return {record.id: record for record in chain.from_iterable(parts)}.values()


def _fewest(index: Index, group: Group) -> Iterable[Record]:
    numbers = [one.numbers for one in group if one.numbers is not None]
    spans = [one.span for one in group if one.span is not None]
    ends = [(*index.orders[span.order].between(span.low, span.high), span.order) for span in spans]
    fewest = min(numbers, key=len, default=None)
    nearest = min(ends, key=lambda one: one[1] - one[0], default=None)
    if fewest is not None and (nearest is None or len(fewest) <= nearest[1] - nearest[0]):
        return [index.seen[number] for number in fewest if number in index.seen]
    if nearest is not None:
        return [index.seen[number] for number in index.orders[nearest[2]].ids(nearest[0], nearest[1])]
    return index.seen.values()


def _is_met(groups: list[Group], record: Record) -> bool:
    return not groups or any(all(one.is_met(record) for one in group) for group in groups)
