"""`POST /people/search` and `POST /leads/search`: a page of who matches, in an order.

A page costs what it holds where nothing is asked but a time, in the order of that time, or nothing at all, in an order
that is kept; by `ids` and `emails` likewise. Anything else looks at all whom a time leaves once, and goes on from that
while nothing changes.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import orjson

from app.sandbox.copper import changing, filters
from app.sandbox.copper.account import LEAD_STATUSES, Account
from app.sandbox.copper.records import Lead, Person
from app.sandbox.copper.table import Table
from app.sandbox.copper.wire import Call, Invalid, Json, Problem, Wrong, integer

MOST_ON_A_PAGE = 200
_PAGE = 20

Record = TypeVar("Record", Person, Lead)


class Rows(NamedTuple):
    """Places in what was found: from the first to before the second."""

    start: int
    stop: int


class Found(NamedTuple):
    """A page, how many there are at most, and which attributes to show; None: all."""

    records: list[Any]  # Any: people or leads
    total: int
    fields: tuple[str, ...] | None = None


def page(account: Account, call: Call, body: Json) -> Rows:
    """The rows that are asked for, of those that can be reached; takes its keys out of `body`. Raises Invalid."""
    problems: list[Problem] = []
    asked = {"page_number": 1, "page_size": _PAGE}
    heard: Mapping[str, object] = {} if account.faults.deaf_query else call.query
    for name in asked:
        given = body.pop(name, None)
        given = heard.get(name) if given is None else given
        if given is None:
            continue
        try:
            asked[name] = integer(given)
        except Wrong as fault:
            problems.append(Problem(name, str(fault)))
    if asked["page_number"] < 1:
        problems.append(Problem("page_number", "must be greater than or equal to 1"))
    if not 1 <= asked["page_size"] <= MOST_ON_A_PAGE:
        problems.append(Problem("page_size", f"must be from 1 to {MOST_ON_A_PAGE}"))
    start = (asked["page_number"] - 1) * asked["page_size"]
    end = account.faults.reachable_rows
    if start >= end and account.faults.refuse_beyond:
        problems.append(Problem("page_number", f"only the first {end} records can be reached"))
    if problems:
        raise Invalid(*problems)
    return Rows(start, min(start + asked["page_size"], end))


def search(account: Account, call: Call, table: Table[Record], kind: str) -> Found:
    """Raises Invalid."""
    body = dict(call.object())
    rows = page(account, call, body)
    sorts = _PEOPLE_BY if kind == "person" else _LEADS_BY
    asked = filters.asked(account, kind, sorts, body)
    fields = asked.pop("fields", None)
    sort_by = asked.pop("sort_by", "first_name" if kind == "person" else "name")
    is_down = asked.pop("sort_direction", "asc") == "desc"
    table.catch_up(account.millis(), account.lag_ms)
    index = table.seen
    order = index.orders.get(sort_by)
    if order is not None and call.caller.is_admin and asked.keys() <= _BOUNDS.get(sort_by, frozenset()):
        start, stop = order.between(*_bounds(asked, sort_by))
        total = stop - start
        if is_down:
            ids = list(order.ids(max(start, stop - rows.stop), stop - rows.start))[::-1]
        else:
            ids = list(order.ids(start + rows.start, min(start + rows.stop, stop)))
    else:
        # An age counts from now: the same question is another one a second later.
        now = account.now() if "age" in asked else 0
        question = (orjson.dumps(body), call.caller.user_id, account.revision, account.faults.case_matters, now)
        found, total = index.found(question, lambda: _look(account, call, table, asked, (sort_by, is_down)))
        ids = found[rows.start : rows.stop]
    return Found([index.rows[number] for number in ids], total + account.faults.total_over, fields)


def _look(
    account: Account, call: Call, table: Table[Record], asked: Json, sort: tuple[str, bool]
) -> tuple[list[int], int]:
    """The ids of all who match and may be seen, in order; and how many match, seen or not."""
    index = table.seen
    if "ids" in asked:
        numbers = [number for number in asked["ids"] if number in index.rows]
    elif "emails" in asked:
        numbers = list({number for address in asked["emails"] for number in index.holders(address)})
    elif asked.get("include_converted_leads"):
        numbers = list(index.rows)
    else:
        by = "date_modified" if asked.keys() & _BOUNDS["date_modified"] else "date_created"
        numbers = list(index.orders[by].ids(*index.orders[by].between(*_bounds(asked, by))))
    tests = filters.tests(account, asked)
    matching = [one for one in (index.rows[number] for number in numbers) if all(test(one) for test in tests)]
    sorting, is_down = _SORTINGS[sort[0]], sort[1]
    matching.sort(key=lambda one: (sorting(one), one.id), reverse=is_down)
    return [one.id for one in matching if changing.is_visible(call.caller, one)], len(matching)


def _bounds(asked: Json, sort_by: str) -> tuple[int | None, int | None]:
    """The least and the greatest of a time, both included."""
    name = f"{sort_by.removeprefix('date_')}_date"
    return asked.get(f"minimum_{name}"), asked.get(f"maximum_{name}")


_BOUNDS = {
    "date_modified": frozenset(("minimum_modified_date", "maximum_modified_date")),
    "date_created": frozenset(("minimum_created_date", "maximum_created_date")),
}
"""Filters that the order of a time answers by itself."""


def _text(name: str) -> Callable[[Any], str]:  # Any: a person or a lead
    return lambda one: (getattr(one, name) or "").lower()


def _place(part: str) -> Callable[[Any], str]:  # Any: as above
    return lambda one: ((one.address or {}).get(part) or "").lower()


_SORTINGS: dict[str, Callable[[Any], Any]] = {  # Any: as above; a number or a text
    **{name: _text(name) for name in ("name", "first_name", "last_name", "title", "company_name")},
    **{name: _place(name) for name in ("city", "state", "country")},
    "zip": _place("postal_code"),
    "email": lambda one: one.emails[0].value.lower() if one.emails else "",
    "phone": lambda one: one.phone_numbers[0].value if one.phone_numbers else "",
    "date_modified": lambda one: one.date_modified,
    "date_created": lambda one: one.date_created,
    "status": lambda one: LEAD_STATUSES[one.status_id],
    "value": lambda one: one.monetary_value or 0,
}
_LEADS_BY = tuple(_SORTINGS)
_PEOPLE_BY = tuple(name for name in _SORTINGS if name not in ("company_name", "status", "value"))
