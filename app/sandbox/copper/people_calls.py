"""The calls on people and leads."""

from app.sandbox.copper import bulk, leads, people, showing
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Lead, Person
from app.sandbox.copper.searching import Found, search
from app.sandbox.copper.wire import Call, Caller, Invalid, Json, Problem, Reply, Wrong, integer

TOTAL = "X-PW-TOTAL"


def _found(account: Account, found: Found) -> Reply:
    show = showing.Showing(account)
    rows = [show.row(one) for one in found.records]
    if found.fields is not None:
        chosen = {"id", *found.fields}
        rows = [{name: value for name, value in row.items() if name in chosen} for row in rows]
    return Reply(rows, {TOTAL: str(found.total)})


def _updated(item: Json) -> tuple[int, Json]:
    """The id of an item of a bulk update, and what it says beside. Raises Invalid."""
    try:
        return integer(item.get("id")), {name: value for name, value in item.items() if name != "id"}
    except Wrong as fault:
        raise Invalid(Problem("id", str(fault))) from None


# --- People -----------------------------------------------------------------------------------------------------------


def _person(account: Account, one: Person) -> Json:
    return showing.row(account, one)


def search_people(account: Account, call: Call) -> Reply:
    return _found(account, search(account, call, account.people, "person"))


def get_person(account: Account, call: Call) -> Reply:
    return Reply(_person(account, people.known(account, call.caller, call.number())))


def add_person(account: Account, call: Call) -> Reply:
    return Reply(_person(account, people.create(account, call.caller, call.object())))


def change_person(account: Account, call: Call) -> Reply:
    return Reply(_person(account, people.change(account, call.caller, call.number(), call.object())))


def delete_person(account: Account, call: Call) -> Reply:
    return Reply(people.delete(account, call.caller, call.number()))


def fetch_by_email(account: Account, call: Call) -> Reply:
    return Reply(_person(account, people.by_email(account, call.caller, call.object())))


def add_people(account: Account, call: Call) -> Reply:
    def add(item: Json) -> Json:
        return _person(account, people.create(account, call.caller, item))

    return Reply(bulk.each(account, call.object(), "people", add))


def change_people(account: Account, call: Call) -> Reply:
    def change(item: Json) -> Json:
        number, body = _updated(item)
        return _person(account, people.change(account, call.caller, number, body))

    return Reply(bulk.each(account, call.object(), "people", change))


# --- Leads ------------------------------------------------------------------------------------------------------------


def _lead(account: Account, one: Lead) -> Json:
    return showing.row(account, one)


def search_leads(account: Account, call: Call) -> Reply:
    return _found(account, search(account, call, account.leads, "lead"))


def get_lead(account: Account, call: Call) -> Reply:
    return Reply(_lead(account, leads.known(account, call.caller, call.number())))


def add_lead(account: Account, call: Call) -> Reply:
    return Reply(_lead(account, leads.create(account, call.caller, call.object())))


def change_lead(account: Account, call: Call) -> Reply:
    return Reply(_lead(account, leads.change(account, call.caller, call.number(), call.object())))


def delete_lead(account: Account, call: Call) -> Reply:
    return Reply(leads.delete(account, call.caller, call.number()))


def upsert_lead(account: Account, call: Call) -> Reply:
    return Reply(_lead(account, leads.upsert(account, call.caller, call.object())))


def convert_lead(account: Account, call: Call) -> Reply:
    return Reply(converted(account, call.caller, call.number(), call.object()))


def converted(account: Account, caller: Caller, number: int, body: Json) -> Json:
    """What a conversion answers. Source: the Postman collection, as far as it is known; some of it is a guess."""
    person, opportunity, _ = leads.convert(account, caller, number, body)
    company = None if person.company_id is None else account.companies[person.company_id]
    return {
        "person": showing.row(account, person),
        "company": None if company is None else {"id": company.id, "name": company.name},
        "opportunity": None if opportunity is None else {"id": opportunity.id, "name": opportunity.name},
    }


def add_leads(account: Account, call: Call) -> Reply:
    def add(item: Json) -> Json:
        return _lead(account, leads.create(account, call.caller, item))

    return Reply(bulk.each(account, call.object(), "leads", add))


def change_leads(account: Account, call: Call) -> Reply:
    def change(item: Json) -> Json:
        number, body = _updated(item)
        return _lead(account, leads.change(account, call.caller, number, body))

    return Reply(bulk.each(account, call.object(), "leads", change))
