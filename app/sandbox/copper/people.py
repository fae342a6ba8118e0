"""People: making, changing, merging and deleting them, and finding one by an address."""

from dataclasses import replace

from app.sandbox.copper import attributes, changing
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Parent, Person
from app.sandbox.copper.wire import Caller, Invalid, Json, Problem, Wrong, not_found, read, text


def known(account: Account, caller: Caller, number: int) -> Person:
    """Raises Refused (404)."""
    person = account.people.rows.get(number)
    if person is None or not changing.is_visible(caller, person):
        raise not_found()
    return person


def create(account: Account, caller: Caller, body: Json) -> Person:
    """Raises Invalid."""
    wanted = attributes.new(account, "person", body)
    now = account.now()
    company_id = wanted.get("company_id")
    if company_id is not None:
        wanted["company_name"] = account.companies[company_id].name
    wanted["custom"] = attributes.kept({}, wanted.get("custom", {}))
    person = Person(id=0, date_created=now, date_modified=now, **wanted)
    _check_addresses(account, person)
    person.id = account.next_id("person")
    return changing.make(account, caller, person)


def change(account: Account, caller: Caller, number: int, body: Json) -> Person:
    """Raises Invalid, and Refused (404)."""
    old = known(account, caller, number)
    new = attributes.changed(account, old, body)
    if new.emails != old.emails:
        _check_addresses(account, new)
    return changing.change(account, caller, old, new)


def delete(account: Account, caller: Caller, number: int) -> Json:
    """Raises Refused (404)."""
    return changing.remove(account, caller, known(account, caller, number))


def merge(account: Account, caller: Caller, number: int, into: int) -> Person:
    """What the user interface does: one goes, the other has the addresses, the tags and the activities of both.

    Where both have a value, that of the one who stays wins. Raises Refused (404).
    """
    gone, stays = known(account, caller, number), known(account, caller, into)
    if gone is stays:
        raise not_found()
    changing.remove(account, caller, gone)
    has = {point.value.lower() for point in stays.emails}
    merged = replace(
        stays,
        emails=(*stays.emails, *(point for point in gone.emails if point.value.lower() not in has)),
        tags=tuple(dict.fromkeys((*stays.tags, *gone.tags))),
        custom={**gone.custom, **stays.custom},
        leads_converted_from=(*stays.leads_converted_from, *gone.leads_converted_from),
        title=stays.title or gone.title,
    )
    move_activities(account, Parent("person", number), Parent("person", into))
    return changing.change(account, caller, stays, merged)


def by_email(account: Account, caller: Caller, body: Json) -> Person:
    """Raises Invalid, and Refused (404)."""
    missing = [] if body.get("email") else [Problem("email", "can't be blank", "blank")]
    address = read(body, {"email": _address}, missing)["email"]
    table = account.people
    if account.faults.fetch_by_email_lags:
        table.catch_up(account.millis(), account.lag_ms)
        found = [table.seen.rows[number] for number in table.seen.holders(address)]
    else:
        found = [table.rows[number] for number in table.holders(address)]
    for person in found:
        if has_address(account, person, address) and changing.is_visible(caller, person):
            return person
    raise not_found()


def has_address(account: Account, person: Person, address: str) -> bool:
    """In whatever case, unless a switch says otherwise."""
    if account.faults.case_matters:
        return any(point.value == address for point in person.emails)
    return any(point.value.lower() == address.lower() for point in person.emails)


def holder(account: Account, address: str) -> Person | None:
    """Who has an address, whoever may see that."""
    for number in account.people.holders(address):
        if has_address(account, account.people.rows[number], address):
            return account.people.rows[number]
    return None


def move_activities(account: Account, of: Parent, to: Parent) -> None:
    for number in list(account.activities_of[of]):
        account.keep_activity(replace(account.activities.rows[number], parent=to))


def _check_addresses(account: Account, person: Person) -> None:
    """An address is one person's only, seen or not. Raises Invalid."""
    for point in person.emails:
        other = holder(account, point.value)
        if other is not None and other.id != person.id:
            raise Invalid(Problem("emails", "already in use", "taken"))


def _address(value: object) -> str:
    if not text(value).strip():
        raise Wrong("can't be blank")
    return text(value).strip()
