"""What humans do in the org, and other tools: not by the API, and by nobody's limits."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from app.sandbox.controls import Refused
from app.sandbox.edits import fields_of, text_of, user_of
from app.sandbox.salesforce import checks
from app.sandbox.salesforce.org import ADMIN, SALES, SECOND_TOOL, Org, audit
from app.sandbox.salesforce.table import Table
from app.sandbox.salesforce.tooling import make_field
from app.sandbox.salesforce.wire import Json, Refusal, Row, long_id, stamp
from app.sandbox.salesforce.writing import Transaction

_USERS = {"admin": ADMIN, "sales": SALES, "tool": SECOND_TOOL}
_MERGED_MOST = 2
_COPIED = (
    "FirstName", "LastName", "Email", "Phone", "MobilePhone", "Title", "HasOptedOutOfEmail", "HasOptedOutOfFax",
    "DoNotCall", "LeadSource", "Salutation", "EmailBouncedReason", "EmailBouncedDate", "LastActivityDate",
)  # fmt: skip


def edit(org: Org, body: Json) -> Json:
    """Do what `body["do"]` says; see docs/sandbox-salesforce.md. Raises Refused."""
    act = _ACTS.get(str(body.get("do")))
    if act is None:
        raise Refused(f"do is one of {', '.join(_ACTS)}")
    try:
        return act(org, body)
    except Refusal as fault:
        raise Refused(f"{fault.code}: {fault.message}") from None


def _create(org: Org, body: Json) -> Json:
    of = org.object(text_of(body, "object"))
    if of is None:
        raise Refused("there is no such object")
    transaction = _transaction(org, body)
    id_ = transaction.create(of, fields_of(body))
    transaction.commit()
    return {"id": id_}


def _change(org: Org, body: Json) -> Json:
    table, row = _found(org, body, "id")
    transaction = _transaction(org, body)
    transaction.update(table.of, row["Id"], fields_of(body))
    transaction.commit()
    return {"id": row["Id"]}


def _delete(org: Org, body: Json) -> Json:
    table, row = _found(org, body, "id")
    transaction = _transaction(org, body)
    transaction.delete(table.of, row["Id"])
    transaction.commit()
    return {"id": row["Id"]}


def _undelete(org: Org, body: Json) -> Json:
    table, row = _found(org, body, "id")
    gone = ("IsDeleted", "MasterRecordId")
    table.put({name: value for name, value in row.items() if name not in gone} | audit(org.stamp(), _user(body), row))
    return {"id": row["Id"]}


def _purge(org: Org, body: Json) -> Json:
    table, row = _found(org, body, "id")
    table.remove(row["Id"])
    return {"id": row["Id"]}


def _merge(org: Org, body: Json) -> Json:
    """The losers go; what belongs to them goes to the winner, which keeps its own fields."""
    table, winner = _found(org, body, "id")
    losers = body.get("losers")
    if not isinstance(losers, list) or not 1 <= len(losers) <= _MERGED_MOST:
        raise Refused(f"losers are 1 to {_MERGED_MOST} ids")
    rows = [_found(org, {"id": one}, "id") for one in losers]
    is_gone = any(row.get("IsDeleted") for row in (winner, *(row for _, row in rows)))
    if is_gone or any(other is not table or row["Id"] == winner["Id"] for other, row in rows):
        raise Refused("winner and losers are different records of one object, and there")
    at = org.stamp()
    for _, row in rows:
        table.put({**row, "IsDeleted": True, "MasterRecordId": winner["Id"], **audit(at, _user(body), row)})
        _move(org, row["Id"], winner["Id"], at, _user(body))
    table.put({**winner, **audit(at, _user(body), winner)})
    return {"id": winner["Id"]}


def _convert(org: Org, body: Json) -> Json:
    """A lead becomes a contact of an account. Custom fields are copied only where `copy` names them."""
    leads, lead = _found(org, body, "id")
    if leads.of.name != "Lead" or lead.get("IsConverted") or lead.get("IsDeleted"):
        raise Refused("only a lead that is there and not converted can be")
    copied = body.get("copy", [])
    if not isinstance(copied, list):
        raise Refused("copy is a list of names of fields")
    at, user = org.stamp(), _user(body)
    accounts = org.table("Account")
    same = [id_ for id_ in accounts.having("Name", lead["Company"]) if not accounts.rows[id_].get("IsDeleted")]
    account_id = same[0] if same else org.new_id("001")
    if not same:
        accounts.put({"Id": account_id, "Name": lead["Company"], "OwnerId": user, **audit(at, user, None)})
    contacts = org.table("Contact")
    id_ = org.new_id("003")
    names = [name for name in (*_COPIED, *map(str, copied)) if name in lead and name.lower() in contacts.of.fields]
    own = {name: lead[name] for name in names}
    contacts.put({"Id": id_, **own, "AccountId": account_id, "OwnerId": user, **audit(at, user, None)})
    _move(org, lead["Id"], id_, at, user)
    converted = {
        "IsConverted": True, "ConvertedDate": at[:10], "ConvertedContactId": id_, "ConvertedAccountId": account_id,
        "Status": "Closed - Converted",
    }  # fmt: skip
    leads.put({**lead, **converted, **audit(at, user, lead)})
    return {"id": id_, "account_id": account_id}


def _log(org: Org, body: Json) -> Json:
    """A task or an event about the person `id`."""
    _, person = _found(org, body, "id")
    kind = body.get("object", "Task")
    if kind not in ("Task", "Event"):
        raise Refused("object is Task or Event")
    values: Json = {"WhoId": person["Id"], "Subject": "Call", **fields_of(body)}
    transaction = _transaction(org, body)
    id_ = transaction.create(org.objects[kind.lower()], values)
    transaction.commit()
    return {"id": id_}


def _field(org: Org, body: Json) -> Json:
    """An admin makes a field by hand, which everybody may see and write."""
    metadata = {"label": text_of(body, "name").removesuffix("__c").replace("_", " ")[:40], **fields_of(body)}
    return {"id": make_field(org, text_of(body, "object"), text_of(body, "name"), metadata, granted=True, by=ADMIN)}


def _late(org: Org, body: Json) -> Json:
    """A record appears, or changes, with a stamp `seconds` in the past: its transaction was committed late."""
    seconds = body.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds <= 10**6:
        raise Refused("seconds is a whole number up to a million")
    table, row = _found(org, body, "id")
    at = stamp(org.now() - timedelta(seconds=seconds))
    values = {}
    for name, value in fields_of(body).items():
        field = table.of.fields.get(name.lower())
        if field is None:
            raise Refused(f"there is no field {name}")
        values[field.name] = checks.from_json(field, value)
    kept = {name: value for name, value in {**row, **values}.items() if value is not None and value is not False}
    table.put({**kept, **audit(at, _user(body), row)})
    return {"id": row["Id"]}


_ACTS: Mapping[str, Callable[[Org, Json], Json]] = {
    "create": _create, "change": _change, "delete": _delete, "undelete": _undelete, "purge": _purge, "merge": _merge,
    "convert": _convert, "log": _log, "field": _field, "late": _late,
}  # fmt: skip


def _move(org: Org, from_id: str, to_id: str, at: str, user: str) -> None:
    """Hand what belongs to one person over to another."""
    of = org.table_of(to_id)
    is_contact = of is not None and of.of.name == "Contact"
    for name, fields in (("Task", ("WhoId",)), ("Event", ("WhoId",)), ("CampaignMember", ("LeadId", "ContactId"))):
        table = org.table(name)
        for field in fields:
            for id_ in table.having(field, from_id):
                row: Row = {key: value for key, value in table.rows[id_].items() if key != field}
                own = field if field == "WhoId" else ("ContactId" if is_contact else "LeadId")
                table.put({**row, own: to_id, **audit(at, user, row)})


def _transaction(org: Org, body: Json) -> Transaction:
    return Transaction(org, _user(body), may_duplicate=True)


def _user(body: Json) -> str:
    return user_of(body, _USERS)


def _found(org: Org, body: Json, name: str) -> tuple[Table, Row]:
    id_ = long_id(body.get(name)) or ""
    table = org.table_of(id_)
    if table is None or id_ not in table.rows:
        raise Refused(f"there is no record with the {name} {body.get(name)!r}")
    return table, table.rows[id_]
