"""What humans do in the app, and other tools: by no API, and by nobody's limits."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from app.sandbox.controls import Refused
from app.sandbox.dynamics import actions, making
from app.sandbox.dynamics.activity_columns import ACTIVITIES
from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.org import ADMIN, INTEGRATION, SALES, SYSTEM, Org
from app.sandbox.dynamics.tables import PEOPLE
from app.sandbox.dynamics.wire import Json, Ref, Refusal, guid, stamp
from app.sandbox.dynamics.writing import Transaction
from app.sandbox.edits import fields_of, text_of, user_of

_USERS = {"admin": ADMIN, "sales": SALES, "system": SYSTEM, "us": INTEGRATION}
_TO, _REQUIRED = 2, 5
_DONE: Mapping[str, Json] = {
    "task": {"statecode": 1, "statuscode": 5},
    "phonecall": {"statecode": 1, "statuscode": 2},
    "appointment": {"statecode": 1, "statuscode": 3},
    "email": {"statecode": 1, "statuscode": 3},
}
"""An activity that was carried out."""


def edit(org: Org, body: Json) -> Json:
    """Do what `body["do"]` says; see docs/sandbox-dynamics.md. Raises Refused."""
    act = _ACTS.get(str(body.get("do")))
    if act is None:
        raise Refused(f"do is one of {', '.join(_ACTS)}")
    transaction = Transaction(org, _user(body))
    try:
        done = act(transaction, body)
    except Refusal as fault:
        transaction.undo()
        raise Refused(f"{fault.code}: {fault.message}") from None
    transaction.commit()
    return done


def _create(transaction: Transaction, body: Json) -> Json:
    return {"id": transaction.create(_table(transaction.org, body), fields_of(body))}


def _change(transaction: Transaction, body: Json) -> Json:
    of, id_ = _found(transaction.org, body)
    transaction.update(of, id_, fields_of(body))
    return {"id": id_}


def _delete(transaction: Transaction, body: Json) -> Json:
    of, id_ = _found(transaction.org, body)
    transaction.delete(of, id_)
    return {"id": id_}


def _merge(transaction: Transaction, body: Json) -> Json:
    of, winner = _found(transaction.org, body)
    other, loser = _found(transaction.org, {**body, "id": body.get("loser")})
    actions.merge(transaction, Ref(of.name, winner), Ref(other.name, loser), fields_of(body))
    return {"id": winner}


def _qualify(transaction: Transaction, body: Json) -> Json:
    """A lead becomes a contact of an account."""
    _, id_ = _found(transaction.org, {"object": "lead", **body})
    made = {one.table: one.id for one in actions.qualify(transaction, id_)}
    return {"id": made["contact"], "account_id": made.get("account")}


def _log(transaction: Transaction, body: Json) -> Json:
    """An activity that was carried out with the people `ids`; regarding the first, unless `fields` say otherwise."""
    name = body.get("object", "phonecall")
    if name not in ACTIVITIES:
        raise Refused(f"object is one of {', '.join(ACTIVITIES)}")
    of, ids = transaction.org.tables[name], body.get("ids", [body.get("id")])
    people = [_person(transaction.org, one) for one in ids] if isinstance(ids, list) else []
    if not people:
        raise Refused("ids are those of people")
    values: Json = {"subject": "Call", **_DONE[name], **fields_of(body)}
    if not any(key.startswith("regardingobjectid") for key in values):
        values[f"regardingobjectid_{people[0].table}_{name}@odata.bind"] = _address(transaction.org, people[0])
    if name != "task":
        mask = _REQUIRED if name == "appointment" else _TO
        values.setdefault(
            f"{name}_activity_parties",
            [
                {f"partyid_{one.table}@odata.bind": _address(transaction.org, one), "participationtypemask": mask}
                for one in people
            ],
        )
    id_ = transaction.create(of, values)
    if values["statecode"] == 1 and "actualend" not in values:
        transaction.write(of, id_, {"actualend": stamp(transaction.org.now())})
    return {"id": id_}


def _column(transaction: Transaction, body: Json) -> Json:
    """An admin makes a column by hand: `name`, `type`, and what else the metadata has in `fields`; `options` labels."""
    org, of = transaction.org, _table(transaction.org, body)
    name, type_ = text_of(body, "name"), text_of(body, "type")
    said: Json = {
        "@odata.type": f"Microsoft.Dynamics.CRM.{type_}AttributeMetadata",
        "SchemaName": name,
        "DisplayName": _label(org, text_of({"label": name, **body}, "label")),
    }
    if type_ == "Boolean":
        said["OptionSet"] = {"TrueOption": {"Label": _label(org, "Yes")}, "FalseOption": {"Label": _label(org, "No")}}
    elif type_ == "Picklist":
        options = body.get("options")
        if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
            raise Refused("options are labels")
        said["OptionSet"] = {"Options": [{"Label": _label(org, one)} for one in options]}
    column = making.read_column(org, of, {**said, **fields_of(body)})
    making.add_column(org, of, column)
    return {"id": column.metadata_id, "name": column.name}


def _remove_column(transaction: Transaction, body: Json) -> Json:
    of, name = _table(transaction.org, body), text_of(body, "name")
    column = of.columns.get(name)
    if column is None:
        raise Refused(f"there is no column {name}")
    making.remove_column(transaction.org, of, column, ADMIN)
    return {"name": name}


def _late(transaction: Transaction, body: Json) -> Json:
    """A row changes with a stamp `seconds` in the past: its transaction was committed late."""
    seconds = body.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds <= 10**6:
        raise Refused("seconds is a whole number up to a million")
    of, id_ = _found(transaction.org, body)
    transaction.at = stamp(transaction.org.now() - timedelta(seconds=seconds))
    transaction.update(of, id_, fields_of(body))
    return {"id": id_}


_ACTS: Mapping[str, Callable[[Transaction, Json], Json]] = {
    "create": _create, "change": _change, "delete": _delete, "merge": _merge, "qualify": _qualify, "log": _log,
    "column": _column, "remove_column": _remove_column, "late": _late,
}  # fmt: skip


def _user(body: Json) -> str:
    return user_of(body, _USERS)


def _table(org: Org, body: Json) -> Table:
    found = org.by_name(text_of({"object": "contact", **body}, "object"))
    if found is None:
        raise Refused("object is no table")
    return found


def _found(org: Org, body: Json) -> tuple[Table, str]:
    """The row with the `id`, of the table `object` or of any."""
    id_ = guid(body.get("id")) or ""
    among = [_table(org, body)] if "object" in body else [one for one in org.tables.values() if org.is_there(one)]
    for of in among:
        # Each activity is in the table of all as well.
        if of.name != "activitypointer" and id_ in org.rows(of.name).by_id:
            return of, id_
    raise Refused(f"there is no row with the id {body.get('id')!r}")


def _person(org: Org, id_: object) -> Ref:
    for name in PEOPLE:
        if isinstance(id_, str) and id_ in org.rows(name).by_id:
            return Ref(name, id_)
    raise Refused(f"there is no person with the id {id_!r}")


def _address(org: Org, ref: Ref) -> str:
    return f"/{org.tables[ref.table].set_name}({ref.id})"


def _label(org: Org, text: str) -> Json:
    return {"LocalizedLabels": [{"Label": text, "LanguageCode": org.faults.language}]}
