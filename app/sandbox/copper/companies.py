"""Companies and opportunities, to be read only, and what is related to what."""

from app.sandbox.copper import changing, searching
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Company, Opportunity
from app.sandbox.copper.wire import Call, Json, Reply, ids, not_found, read, text

_ENTITIES = {"people": "person", "leads": "lead", "companies": "company", "opportunities": "opportunity"}


def _company(one: Company) -> Json:
    return {
        "id": one.id, "name": one.name, "address": None, "assignee_id": None, "contact_type_id": None, "details": None,
        "email_domain": None, "phone_numbers": [], "primary_contact_id": None, "socials": [], "tags": [],
        "websites": [], "custom_fields": [], "interaction_count": 0, "date_created": one.date_created,
        "date_modified": one.date_created,
    }  # fmt: skip


def _opportunity(one: Opportunity) -> Json:
    return {
        "id": one.id, "name": one.name, "assignee_id": None, "close_date": None, "company_id": one.company_id,
        "details": None, "monetary_value": one.monetary_value, "primary_contact_id": one.primary_contact_id,
        "status": "Open", "tags": [], "custom_fields": [], "date_created": one.date_created,
        "date_modified": one.date_created,
    }  # fmt: skip


def company(account: Account, call: Call) -> Reply:
    found = account.companies.get(call.number())
    if found is None:
        raise not_found()
    return Reply(_company(found))


def opportunity(account: Account, call: Call) -> Reply:
    found = account.opportunities.get(call.number())
    if found is None:
        raise not_found()
    return Reply(_opportunity(found))


def search_companies(account: Account, call: Call) -> Reply:
    return _page(account, call, [_company(one) for one in account.companies.values()])


def search_opportunities(account: Account, call: Call) -> Reply:
    return _page(account, call, [_opportunity(one) for one in account.opportunities.values()])


def _page(account: Account, call: Call, found: list[Json]) -> Reply:
    body = dict(call.object())
    rows = searching.page(account, call, body)
    asked = read(body, {"ids": ids, "sort_by": text, "sort_direction": text})
    if "ids" in asked:
        found = [one for one in found if one["id"] in asked["ids"]]
    return Reply(found[rows.start : rows.stop], {"X-PW-TOTAL": str(len(found))})


def related(account: Account, call: Call) -> Reply:
    """`[{"id": 13358412, "type": "company"}]`, of all kinds or of one."""
    kind, number = _ENTITIES.get(call.path["entity"]), call.number()
    found: list[tuple[str, int | None]]
    match kind:
        case "person" if number in account.people.rows:
            one = account.people.rows[number]
            if not changing.is_visible(call.caller, one):
                raise not_found()
            deals = [("opportunity", deal.id) for deal in account.opportunities.values()
                     if deal.primary_contact_id == number]  # fmt: skip
            found = [("company", one.company_id), *deals]
        case "company" if number in account.companies:
            found = [("person", one.id) for one in account.people.rows.values() if one.company_id == number]
        case "opportunity" if number in account.opportunities:
            deal = account.opportunities[number]
            found = [("person", deal.primary_contact_id), ("company", deal.company_id)]
        case "lead" if number in account.leads.rows:
            found = []
        case _:
            raise not_found()
    wanted = call.path.get("other")
    if wanted is not None and wanted not in _ENTITIES:
        raise not_found()
    rows = [{"id": id_, "type": type_} for type_, id_ in found if id_ is not None]
    return Reply([row for row in rows if wanted is None or row["type"] == _ENTITIES[wanted]])
