"""What is associated with what, in the fourth version. Source: its documentation; type ids are HubSpot's own."""

from app.sandbox.hubspot import writing
from app.sandbox.hubspot.batch_calls import answer, fault
from app.sandbox.hubspot.catalog import ObjectType
from app.sandbox.hubspot.object_calls import to_write, type_named
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.wire import Call, Json, Reply, as_object, invalid, not_found, number_of, text_of

_MOST = 1_000


def read_many(portal: Portal, call: Call) -> Reply:
    """What has nothing of the other type is told as an error, and the answer is 207."""
    of, other = type_named(call.path["type"]), type_named(call.path["other"])
    rows, errors = [], []
    for given in call.inputs(_MOST):
        id_ = text_of(as_object(given, ("id", "after")), "id")
        found = _to(portal, of, id_, other)
        if found:
            rows.append({"from": {"id": id_}, "to": found})
        else:
            what = f"No {other.singular} is associated with {of.singular} {id_}."
            context = {"fromObjectId": [id_], "fromObjectType": [of.id], "toObjectType": [other.id]}
            more = {"subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}
            errors.append(fault("OBJECT_NOT_FOUND", what, context, **more))
    return answer(portal, rows, errors)


def index(portal: Portal, call: Call) -> Reply:
    of, other = type_named(call.path["type"]), type_named(call.path["other"])
    return Reply({"results": _to(portal, of, call.path["id"], other)})


def create_default(portal: Portal, call: Call) -> Reply:
    of, other, one, two = _ends(portal, call)
    writing.link(portal, (of.name, one), (other.name, two))
    rows = [
        {
            "from": {"id": str(one)}, "to": {"id": str(two)},
            "associationSpec": {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": _type_id(of, other)},
        }
    ]  # fmt: skip
    return answer(portal, rows, [])


def archive(portal: Portal, call: Call) -> Reply:
    of, other, one, two = _ends(portal, call)
    writing.unlink(portal, (of.name, one), [(other.name, two)])
    return Reply(None, 204)


def _ends(portal: Portal, call: Call) -> tuple[ObjectType, ObjectType, int, int]:
    of, other = type_named(call.path["type"]), type_named(call.path["other"])
    one = to_write(portal, portal.tables[of.name], call.path["id"])
    two = to_write(portal, portal.tables[other.name], call.path["other_id"])
    if one is None or two is None:
        raise not_found()
    if of.is_contact == other.is_contact:
        raise invalid("Only activities and contacts can be associated")
    return of, other, one.id, two.id


def _to(portal: Portal, of: ObjectType, id_: str, other: ObjectType) -> list[Json]:
    number = portal.tables[of.name].survivor(number_of(id_) or 0)
    kind = {"category": "HUBSPOT_DEFINED", "typeId": _type_id(of, other), "label": None}
    there = portal.tables[other.name].live
    return [
        {"toObjectId": one, "associationTypes": [kind]}
        for type_, one in portal.links.get((of.name, number), ())
        if type_ == other.name and one in there and number in portal.tables[of.name].live
    ]


def _type_id(of: ObjectType, other: ObjectType) -> int:
    return other.from_contact if of.is_contact else of.to_contact
