"""Leads: the first version, search and conversion in the second. Deals are not here; a converted lead is gone."""

from dataclasses import replace

from app.sandbox.pipedrive import showing, values
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.records import Event, Lead
from app.sandbox.pipedrive.wire import Author, Call, Json, Refused, Reply, done, fine, invalid, not_found, offset_page

_SORTED = ("id", "title", "owner_id", "creator_id", "was_seen", "expected_close_date", "next_activity_id", "add_time",
           "update_time")  # fmt: skip


def shown(company: Company, lead: Lead) -> Json:
    """Custom fields, which are those of deals, are at the root; one without a value is not there."""
    return {
        "id": lead.id,
        "title": lead.title,
        "owner_id": lead.owner_id,
        "creator_id": lead.creator_id,
        "label_ids": list(lead.label_ids),
        "person_id": lead.person_id,
        "organization_id": lead.organization_id,
        "source_name": "API" if lead.origin == "API" else "Manually created",
        "origin": lead.origin,
        "origin_id": lead.origin_id,
        "channel": lead.channel,
        "channel_id": lead.channel_id,
        "source_deal_id": None,
        "is_archived": lead.is_archived,
        "was_seen": lead.was_seen,
        "value": lead.value,
        "expected_close_date": lead.expected_close_date,
        "next_activity_id": None,
        "add_time": fine(lead.added_ms),
        "update_time": fine(lead.updated_ms),
        "visible_to": lead.visible_to,
        "cc_email": f"{company.name}+1+lead{lead.number}@pipedrivemail.com",
        **{code: value for code, value in lead.custom.items() if value is not None and code in company.fields["deal"]},
    }


def index(company: Company, call: Call) -> Reply:
    return _page(company, call, is_archived=False)


def archived(company: Company, call: Call) -> Reply:
    return _page(company, call, is_archived=True)


def _page(company: Company, call: Call, *, is_archived: bool) -> Reply:
    query = call.query
    start, limit = query.offset()
    since = query.second("updated_since")
    wanted: Json = {name: query.integer(name) for name in ("owner_id", "person_id", "organization_id")}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    name, _, direction = (query.text("sort") or "add_time ASC").partition(" ")
    if name not in _SORTED or direction.upper() not in ("", "ASC", "DESC"):
        raise Refused(400, "sort is not valid")
    chosen = [
        lead for lead in company.lead_order.ascending(None if since is None else (since * 1_000, 0))
        if lead.is_archived is is_archived and all(getattr(lead, key) == value for key, value in wanted.items())
    ]  # fmt: skip
    if (name, direction.upper()) != ("update_time", "ASC"):
        chosen.sort(key=lambda lead: _sort_key(lead, name), reverse=direction.upper() == "DESC")
    rows = [shown(company, lead) for lead in chosen[start : start + limit + 1]]
    return offset_page(rows, start, limit)


def _sort_key(lead: Lead, name: str) -> tuple[str, int]:
    if name in ("update_time", "add_time"):
        return fine(lead.updated_ms if name == "update_time" else lead.added_ms), lead.number
    value = getattr(lead, name, None)
    return f"{value:020}" if isinstance(value, int) else str(value or ""), lead.number


def get(company: Company, call: Call) -> Reply:
    return done(shown(company, _known(company, call.path["id"])))


def add(company: Company, call: Call) -> Reply:
    return done(shown(company, create(company, call.object(), call.author)), 201)


def change(company: Company, call: Call) -> Reply:
    return done(shown(company, edit(company, call.path["id"], call.object(), call.author)))


def delete(company: Company, call: Call) -> Reply:
    return done({"id": remove(company, call.path["id"], call.author).id})


def search(company: Company, call: Call) -> Reply:
    """By title."""
    term, is_exact = (call.query.text("term") or "").lower(), call.query.flag("exact_match") is True
    if len(term) < (1 if is_exact else 2):
        raise invalid("term", f"should have at least {1 if is_exact else 2} characters")
    limit = call.query.limit()
    titled = [
        lead for lead in company.leads.values()
        if (lead.title.lower() == term if is_exact else term in lead.title.lower())
    ]  # fmt: skip
    items = [{"result_score": 1.0, "item": _hit(company, lead)} for lead in titled[:limit]]
    return done({"items": items}, additional_data={"next_cursor": None})


def _hit(company: Company, lead: Lead) -> Json:
    person = None if lead.person_id is None else company.person(lead.person_id)
    org = lead.organization_id
    return {
        "id": lead.id,
        "type": "lead",
        "title": lead.title,
        "owner": {"id": lead.owner_id},
        "person": None if person is None else {"id": person.id, "name": person.name},
        "organization": None if org is None else {"id": org, "name": company.orgs.get(org)},
        "phones": [] if person is None else [point.value for point in person.phones],
        "emails": [] if person is None else [point.value for point in person.emails],
        "custom_fields": [],
        "notes": [],
        "value": None if lead.value is None else lead.value["amount"],
        "currency": None if lead.value is None else lead.value["currency"],
        "visible_to": int(lead.visible_to),
        "is_archived": lead.is_archived,
    }


def convert(company: Company, call: Call) -> Reply:
    """The lead becomes a deal, in a job that is done at once; the lead is deleted."""
    lead = company.leads.get(call.path["id"])
    if lead is None:
        raise not_found()
    return done({"conversion_id": become_deal(company, lead, call.author)})


def become_deal(company: Company, lead: Lead, author: Author) -> str:
    number = company.uuid(f"conversion {lead.id}")
    company.conversions[number] = {
        "conversion_id": number, "lead_id": None, "deal_id": company.next_id("deal"), "status": "completed"
    }  # fmt: skip
    remove(company, lead.id, author)
    return number


def conversion(company: Company, call: Call) -> Reply:
    found = company.conversions.get(call.path["conversion"])
    if found is None:
        raise not_found()
    return done(found)


def create(company: Company, body: Json, author: Author) -> Lead:
    """Raises Refused (400)."""
    wanted, custom = _read(company, body)
    if "title" not in wanted:
        raise Refused(400, "title must be given")
    number, now = company.next_id("lead"), company.millis()
    lead = Lead(number, company.uuid(f"lead {number}"), "", author.user_id, author.user_id, now, now)
    _set(lead, wanted, custom)
    if lead.person_id is None and lead.organization_id is None:
        raise Refused(400, "A lead must be linked to a person or an organization")
    if author.source == "app":
        lead.origin = "ManuallyCreated"
    lead.writes += author.source == "api"
    company.keep_lead(lead)
    _tell(company, lead, "create", author, None)
    return lead


def edit(company: Company, number: str, body: Json, author: Author) -> Lead:
    """Raises Refused (400, 404)."""
    lead = _known(company, number)
    wanted, custom = _read(company, body)
    if wanted.get("person_id", lead.person_id) is None and wanted.get("organization_id", lead.organization_id) is None:
        raise Refused(400, "A lead must be linked to a person or an organization")
    before = shown(company, replace(lead, custom=dict(lead.custom)))
    _set(lead, wanted, custom)
    after = shown(company, lead)
    lead.writes += author.source == "api"
    previous = {key: before.get(key) for key in {**before, **after} if before.get(key) != after.get(key)}
    if previous:
        lead.updated_ms = company.millis()
        company.keep_lead(lead)
        _tell(company, lead, "change", author, previous)
    return lead


def remove(company: Company, number: str, author: Author) -> Lead:
    """Raises Refused (404)."""
    lead = _known(company, number)
    company.drop_lead(lead)
    company.tell(
        Event("delete", "lead", lead.id, None, _told(company, shown(company, lead)), author, company.millis(), {})
    )
    return lead


def _known(company: Company, number: str) -> Lead:
    lead = company.leads.get(number)
    if lead is None:
        raise Refused(404, "requested lead not found", "Object was not found.")
    return lead


def _read(company: Company, body: Json) -> tuple[Json, Json]:
    """What a body changes: attributes, and custom fields. Raises Refused (400)."""
    wanted: Json = {}
    custom: Json = {}
    for name, value in body.items():
        field = company.fields["deal"].get(name)
        if field is not None and field.is_custom:
            values.check(field, value, name)
            custom[name] = value
        elif not _is_right(company, name, value):
            raise invalid(name[:60], "is not allowed, or not of the right type")
        else:
            wanted[name] = value
    return wanted, custom


def _is_right(company: Company, name: str, value: object) -> bool:
    match name:
        case "title":
            return isinstance(value, str) and 0 < len(value.strip()) <= 255
        case "person_id":
            return value is None or _is_person(company, value)
        case "organization_id":
            return value is None or (values.is_id(value) and value in company.orgs)
        case "owner_id":
            return values.is_id(value) and value in company.users
        case "label_ids":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        case "was_seen" | "is_archived":
            return isinstance(value, bool)
        case "value":
            return value is None or (
                isinstance(value, dict)
                and value.keys() == {"amount", "currency"}
                and values.is_number(value["amount"])
                and isinstance(value["currency"], str)
            )
        case "expected_close_date":
            return value is None or values.is_date(value)
        case "visible_to":
            return value in ("1", "3", "5", "7")
        case "channel":
            return value is None or values.is_id(value)
        case "origin_id" | "channel_id":
            return value is None or isinstance(value, str)
    return False


def _is_person(company: Company, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and company.person(value) is not None


def _set(lead: Lead, wanted: Json, custom: Json) -> None:
    for name, value in wanted.items():
        setattr(lead, name, value)
    lead.custom.update(custom)


def _tell(company: Company, lead: Lead, action: str, author: Author, previous: Json | None) -> None:
    if company.hooks:
        data = _told(company, shown(company, lead))
        company.tell(Event(action, "lead", lead.id, data, previous, author, company.millis(), {}))


def _told(company: Company, row: Json) -> Json:
    """What a webhook tells of a lead: custom fields typed, and apart."""
    custom = showing.custom_fields(company, "deal")
    told = {
        name: value for name, value in row.items() if name not in company.fields["deal"] or name in ("title", "value")
    }
    told |= {name: row[name] for name in ("id", "owner_id", "person_id", "add_time", "update_time")}
    return {**told, "custom_fields": {field.code: values.typed(field, row.get(field.code)) for field in custom}}
