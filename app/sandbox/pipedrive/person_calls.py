"""Calls on persons: the second version, and what is still only in the first: merging, change log, flow."""

from app.sandbox.pipedrive import persons, showing
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.paging import offset_cursor, offset_of, page
from app.sandbox.pipedrive.records import Entry, Person
from app.sandbox.pipedrive.wire import (
    Call,
    Json,
    Query,
    Refused,
    Reply,
    done,
    invalid,
    not_found,
    offset_page,
    paged,
    plain,
)

_SEARCHED = ("custom_fields", "email", "notes", "phone", "name")


def index(company: Company, call: Call) -> Reply:
    asked = showing.view(company, call.query)
    found, following = page(
        company, call.query, company.persons, company.person_orders, _Chosen(company, call.query).fits
    )
    return paged([showing.person(company, person, asked) for person in found], following)


class _Chosen:
    """Which persons a list is asked for. `filter_id` takes the place of the other filters."""

    def __init__(self, company: Company, query: Query) -> None:
        self._company = company
        number = query.integer("filter_id")
        self._owner, self._org, self._deal = (query.integer(name) for name in ("owner_id", "org_id", "deal_id"))
        self._filter: Json | None = None
        if number is not None:
            self._filter = company.filters.get(number)
            if self._filter is None:
                raise Refused(404, "Filter not found", "Object was not found.")

    def fits(self, person: Person) -> bool:
        if self._filter is not None:
            shown = showing.person(self._company, person, showing.View(()))
            known = {**shown, **person.custom}
            return all(known.get(key) == value for key, value in self._filter.items())
        # There are no deals here.
        is_theirs = self._owner in (None, person.owner_id) and self._org in (None, person.org_id)
        return is_theirs and self._deal is None


def get(company: Company, call: Call) -> Reply:
    asked = showing.view(company, call.query)
    person = company.person(call.number())
    if person is None:
        raise not_found()
    return done(showing.person(company, person, asked))


def add(company: Company, call: Call) -> Reply:
    return _written(company, persons.create(company, call.object(), call.author))


def change(company: Company, call: Call) -> Reply:
    return _written(company, persons.change(company, call.number(), call.object(), call.author))


def _written(company: Company, person: Person) -> Reply:
    # A written person comes back whole, with the marketing status of who has the add-on: how a caller can see that
    # a change was passed over.
    asked = showing.View(showing.custom_fields(company), ("marketing_status",))
    return done(showing.person(company, person, asked))


def delete(company: Company, call: Call) -> Reply:
    return done({"id": persons.delete(company, call.number(), call.author).id})


def search(company: Company, call: Call) -> Reply:
    """By e-mail exactly: costs what is found. Anything else reads all persons, until the page is full."""
    query = call.query
    term, is_exact = (query.text("term") or "").strip(), query.flag("exact_match") is True
    fields = query.listed("fields", len(_SEARCHED)) or list(_SEARCHED)
    org, start, limit = query.integer("organization_id"), offset_of(query), query.limit()
    for name in fields:
        if name not in _SEARCHED:
            raise invalid("fields", f"'{name[:50]}' is not known")
    if len(term) < (1 if is_exact else 2):
        raise invalid("term", f"should have at least {1 if is_exact else 2} characters")
    numbers = company.holders(term) if is_exact and fields == ["email"] else list(company.persons)
    seen_until = company.millis() - company.faults.search_lag_s * 1_000
    found: list[Json] = []
    at = 0
    for number in numbers:
        person = company.person(number)
        if person is None or person.found_from_ms > seen_until or org not in (None, person.org_id):
            continue
        if not _matches(company, person, term.lower(), fields, is_exact=is_exact):
            continue
        if at >= start:
            found.append(showing.hit(company, person, 1.0 if is_exact else 0.5))
        at += 1
        if len(found) > limit:
            break
    following = offset_cursor(start + limit) if len(found) > limit else None
    return done({"items": found[:limit]}, additional_data={"next_cursor": following})


def _matches(company: Company, person: Person, term: str, fields: list[str], *, is_exact: bool) -> bool:
    texts: list[str] = []
    if "name" in fields:
        texts.append(person.name)
    if "email" in fields:
        texts += [point.value for point in person.emails]
    if "phone" in fields:
        texts += [point.value for point in person.phones]
    if "custom_fields" in fields and person.custom:
        texts += showing.hit(company, person, 0)["item"]["custom_fields"]
    return any(text.lower() == term if is_exact else term in text.lower() for text in texts)


def merge(company: Company, call: Call) -> Reply:
    other = call.object().get("merge_with_id")
    if not isinstance(other, int) or isinstance(other, bool):
        raise Refused(400, "merge_with_id must be given")
    into = persons.merge(company, call.number(), other, call.author)
    return done({**showing.first_version(company, into), "merge_what_id": call.number()})


def change_log(company: Company, call: Call) -> Reply:
    """The newest first; the caller's User-Agent is in it."""
    entries = _entries(company, call)
    start, limit = offset_of(call.query), call.query.limit()
    rows = [
        {
            "field_key": entry.key,
            "old_value": entry.old,
            "new_value": entry.new,
            "actor_user_id": entry.author.user_id,
            "time": plain(entry.second),
            "change_source": entry.author.source,
            "change_source_user_agent": entry.author.agent,
            "is_bulk_update_flag": False,
        }
        for entry in entries[start : start + limit]
    ]
    return paged(rows, offset_cursor(start + limit) if start + limit < len(entries) else None)


def flow(company: Company, call: Call) -> Reply:
    """Changes of fields and of the marketing status, the newest first; custom fields only with `all_changes`."""
    entries = _entries(company, call)
    start, limit = call.query.offset()
    wanted = call.query.listed("items", 50)
    custom = {field.code for field in showing.custom_fields(company)}
    with_custom = call.query.flag("all_changes") is True
    rows: list[Json] = []
    for entry in entries:
        kind = "marketing_status_change" if entry.key == "marketing_status" else "personChange"
        is_asked = not wanted or kind in wanted or (kind == "personChange" and "change" in wanted)
        if is_asked and (with_custom or entry.key not in custom):
            rows.append({"object": kind, "timestamp": plain(entry.second), "data": _change(call.number(), entry)})
    return offset_page(rows[start : start + limit + 1], start, limit)


def _change(person: int, entry: Entry) -> Json:
    return {
        "item_id": person,
        "user_id": entry.author.user_id,
        "field_key": entry.key,
        "old_value": entry.old,
        "new_value": entry.new,
        "log_time": plain(entry.second),
        "change_source": entry.author.source,
        "change_source_user_agent": entry.author.agent,
    }


def _entries(company: Company, call: Call) -> list[Entry]:
    if call.number() not in company.persons:
        raise not_found()
    return company.entries.get(call.number(), [])[::-1]
