"""Leads: making, changing and deleting them, the one call that does either, and what they become."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.sandbox.copper import attributes, changing, people, values
from app.sandbox.copper.account import LEAD_STATUSES, Account
from app.sandbox.copper.records import Lead, Opportunity, Parent, Person
from app.sandbox.copper.wire import Caller, Invalid, Json, Problem, Refused, Wrong, integer, not_found, read

_MOST_NAMED = 30


def known(account: Account, caller: Caller, number: int) -> Lead:
    """A lead, converted or not. Raises Refused (404)."""
    lead = account.leads.rows.get(number)
    if lead is None or not changing.is_visible(caller, lead):
        raise not_found()
    if lead.converted_at is not None and account.faults.converted_leads_gone:
        raise not_found()
    return lead


def create(account: Account, caller: Caller, body: Json) -> Lead:
    """An address may be any number of leads', and a person's beside. Raises Invalid."""
    wanted = attributes.new(account, "lead", body)
    now = account.now()
    wanted["custom"] = attributes.kept({}, wanted.get("custom", {}))
    wanted.setdefault("status_id", next(iter(LEAD_STATUSES)))
    lead = Lead(id=account.next_id("lead"), date_created=now, date_modified=now, **wanted)
    return changing.make(account, caller, lead)


def change(account: Account, caller: Caller, number: int, body: Json) -> Lead:
    """Raises Invalid, and Refused (404)."""
    old = known(account, caller, number)
    if old.converted_at is not None and account.faults.converted_leads_locked:
        raise Invalid(Problem("base", "The lead is converted"))
    return changing.change(account, caller, old, attributes.changed(account, old, body))


def delete(account: Account, caller: Caller, number: int) -> Json:
    """Raises Refused (404)."""
    return changing.remove(account, caller, known(account, caller, number))


# --- Upsert -----------------------------------------------------------------------------------------------------------


def upsert(account: Account, caller: Caller, body: Json) -> Lead:
    """Change the one lead that matches, or make it; several are refused by their ids, very many without.

    Converted leads do not match. Raises Invalid.
    """
    missing = [Problem(name, "can't be blank", "blank") for name in ("properties", "match") if not body.get(name)]
    wanted = read(body, {"properties": _object, "match": _object}, missing)
    match = wanted["match"]
    is_match = _matcher(account, match)
    if match["field_name"] == "email":
        numbers = account.leads.holders(str(match["field_value"]))
        candidates = [account.leads.rows[number] for number in numbers]
    else:
        candidates = list(account.leads.rows.values())
    found = [
        one for one in candidates if one.converted_at is None and changing.is_visible(caller, one) and is_match(one)
    ]
    if len(found) > 1:
        ids = f": {', '.join(str(one.id) for one in found)}" if len(found) <= _MOST_NAMED else ""
        raise Invalid(Problem("base", f"More than one lead matches{ids}"))
    if found:
        return change(account, caller, found[0].id, wanted["properties"])
    return create(account, caller, wanted["properties"])


def _matcher(account: Account, match: Json) -> Callable[[Lead], bool]:
    """Raises Invalid."""
    given = match.get("field_value")
    match match.get("field_name"):
        case "email" if isinstance(given, str):
            return lambda lead: lead.email is not None and lead.email.value.lower() == given.lower()
        case "name" if isinstance(given, str):
            return lambda lead: lead.name.lower() == given.lower()
        case "custom" if isinstance(given, dict):
            return _custom_matcher(account, given)
    raise Invalid(Problem("match", "must have field_name (email, name or custom) and field_value"))


def _custom_matcher(account: Account, given: Json) -> Callable[[Lead], bool]:
    try:
        definition = account.definitions.get(integer(given.get("custom_field_definition_id")))
        if definition is None or not definition.is_filterable:
            raise Invalid(Problem("match", "there is no such field, or it is not filterable"))
        value = values.kept(definition, given.get("value"), account.faults)
    except Wrong as fault:
        raise Invalid(Problem("match", str(fault))) from None
    return lambda lead: value is not None and bool(lead.custom.get(definition.id) == value)


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise Wrong("must be an object")
    return value


def _named(value: object) -> Json:
    found = _object(value)
    if not isinstance(found.get("name"), str | None):
        raise Wrong("must have a name that is a string")
    return found


# --- Conversion -------------------------------------------------------------------------------------------------------


def convert(account: Account, caller: Caller, number: int, body: Json) -> tuple[Person, Opportunity | None, Lead]:
    """Make a person of a lead, or join it to the person who has its address; with an opportunity if one is named.

    Its activities move to the person, with its custom fields that people have too. Raises Invalid, and Refused (404).
    """
    lead = known(account, caller, number)
    if lead.converted_at is not None:
        raise Refused(422, "Invalid input: Validation errors: Base: The lead is converted")
    details = read(body, {"details": _object}).get("details", {})
    asked = read(details, {"person": _named, "company": _named, "opportunity": _named})
    person = _become_person(account, caller, lead, asked)
    opportunity = None
    if "opportunity" in asked:
        name = asked["opportunity"].get("name") or lead.name
        opportunity = account.opportunity(name, person, lead.monetary_value)
    people.move_activities(account, Parent("lead", lead.id), Parent("person", person.id))
    converted = replace(
        lead,
        converted_at=account.now(),
        converted_contact_id=person.id,
        converted_opportunity_id=None if opportunity is None else opportunity.id,
    )
    return person, opportunity, changing.change(account, caller, lead, converted)


def _become_person(account: Account, caller: Caller, lead: Lead, asked: Json) -> Person:
    company_name = asked.get("company", {}).get("name") or lead.company_name
    company_id = None if company_name is None else account.company(company_name)
    fields = {one.id for one in account.definitions_of("person")}
    custom = {number: value for number, value in lead.custom.items() if number in fields}
    known_as = None if lead.email is None else people.holder(account, lead.email.value)
    if known_as is not None:
        joined = replace(
            known_as,
            custom={**custom, **known_as.custom},
            leads_converted_from=(*known_as.leads_converted_from, lead.id),
            date_lead_created=lead.date_created,
        )
        return changing.change(account, caller, known_as, joined)
    now = account.now()
    shared: dict[str, Any] = {  # Any: as people and leads have it
        name: getattr(lead, name)
        for name in ("name", "prefix", "first_name", "middle_name", "last_name", "suffix", "address", "assignee_id",
                     "details", "phone_numbers", "socials", "websites", "tags", "title")
    }  # fmt: skip
    person = Person(
        id=account.next_id("person"), date_created=now, date_modified=now, custom=custom, emails=lead.emails,
        company_id=company_id, company_name=company_name, leads_converted_from=(lead.id,),
        date_lead_created=lead.date_created, **shared,
    )  # fmt: skip
    name = asked.get("person", {}).get("name") or person.name
    return changing.make(account, caller, replace(person, name=name))
