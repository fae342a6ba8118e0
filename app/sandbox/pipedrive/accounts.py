"""Users, organizations and recent changes: what a connector reads besides persons."""

import heapq
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from app.sandbox.pipedrive import activities, showing
from app.sandbox.pipedrive.company import COMPANY_ID, Company
from app.sandbox.pipedrive.paging import offset_cursor, offset_of
from app.sandbox.pipedrive.records import User
from app.sandbox.pipedrive.wire import Call, Json, Refused, Reply, done, iso, not_found, offset_page, paged, plain

_ITEMS = ("activity", "activityType", "deal", "file", "filter", "note", "person", "organization", "pipeline", "product",
          "stage", "user")  # fmt: skip
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
_MADE_AT = "2026-01-01 08:00:00"


def _user(user: User, caller: int) -> Json:
    return {
        "id": user.id,
        "name": user.name,
        "default_currency": "EUR",
        "locale": "en_US",
        "lang": 1,
        "email": user.email,
        "phone": None,
        "activated": True,
        "last_login": _MADE_AT,
        "created": _MADE_AT,
        "modified": _MADE_AT,
        "has_created_company": user.id == 7,
        "is_admin": int(user.is_admin),
        "access": [{"app": "global", "admin": user.is_admin, "permission_set_id": "1"}],
        "active_flag": True,
        "timezone_name": "Etc/UTC",
        "timezone_offset": "+00:00",
        "role_id": 1,
        "icon_url": None,
        "is_you": user.id == caller,
        "is_deleted": False,
    }


def me(company: Company, call: Call) -> Reply:
    user = company.users[call.caller.user_id]
    return done(
        {
            **_user(user, user.id),
            "company_id": COMPANY_ID,
            "company_name": "Acme Sales",
            "company_domain": company.name,
            "company_country": "EE",
            "company_industry": None,
            "language": {"language_code": "en", "country_code": "US"},
        }
    )


def users(company: Company, call: Call) -> Reply:
    return done([_user(user, call.caller.user_id) for user in company.users.values()])


def user(company: Company, call: Call) -> Reply:
    found = company.users.get(call.number())
    if found is None:
        raise not_found()
    return done(_user(found, call.caller.user_id))


def _organization(company: Company, number: int) -> Json:
    return {
        "id": number,
        "name": company.orgs[number],
        "owner_id": 7,
        "is_deleted": False,
        "add_time": iso(company.org_made_at),
        "update_time": iso(company.org_made_at),
        "visible_to": 3,
        "label_ids": [],
        "address": None,
        "custom_fields": {},
    }


def organizations(company: Company, call: Call) -> Reply:
    start, limit, ids = offset_of(call.query), call.query.limit(), call.query.ids("ids")
    numbers = list(company.orgs) if ids is None else [number for number in ids if number in company.orgs]
    rows = [_organization(company, number) for number in numbers[start : start + limit]]
    return paged(rows, offset_cursor(start + limit) if start + limit < len(numbers) else None)


def organization(company: Company, call: Call) -> Reply:
    if call.number() not in company.orgs:
        raise not_found()
    return done(_organization(company, call.number()))


def recents(company: Company, call: Call) -> Reply:
    """What changed since a time, the oldest first, in the shapes of the first version."""
    since_text, wanted = call.query.text("since_timestamp") or "", call.query.listed("items", len(_ITEMS))
    start, limit = call.query.offset()
    since = _second(since_text)
    if set(wanted) - set(_ITEMS):
        raise Refused(400, "items holds what is not known")
    feeds: list[Iterator[tuple[int, str, int]]] = []
    if not wanted or "person" in wanted:
        feeds.append(_persons(company, since))
    if not wanted or "activity" in wanted:
        feeds.append(_activities(company, since))
    rows: list[Json] = []
    last = since_text
    for at, (second, item, number) in enumerate(heapq.merge(*feeds)):
        if at > start + limit:
            break
        if at >= start:
            rows.append({"item": item, "id": number, "data": _recent(company, item, number)})
            last = plain(second) if len(rows) <= limit else last
    return offset_page(rows, start, limit, since_timestamp=since_text, last_timestamp_on_page=last)


def _second(text: str) -> int:
    try:
        if _TIMESTAMP.fullmatch(text):
            return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        pass
    raise Refused(400, "since_timestamp must be given as YYYY-MM-DD HH:MM:SS, in UTC")


def _persons(company: Company, since: int) -> Iterator[tuple[int, str, int]]:
    for person in company.person_orders["update_time"].ascending((since, 0)):
        yield person.updated, "person", person.id


def _activities(company: Company, since: int) -> Iterator[tuple[int, str, int]]:
    for activity in company.activity_orders["update_time"].ascending((since, 0)):
        yield activity.updated, "activity", activity.id


def _recent(company: Company, item: str, number: int) -> Json:
    if item == "person":
        return showing.first_version(company, company.persons[number])
    return activities.first_version(company.activities[number])
