"""Whether a connection can do what the sync needs, found out without changing anything; and how to mend what is not."""

from collections.abc import Mapping

from app.connectors.faults import Refused, SignInRefused
from app.connectors.salesforce import queries
from app.connectors.salesforce.api import Api
from app.connectors.salesforce.fields import (
    BOUNCED_DATE,
    BOUNCED_REASON,
    EMAIL,
    NATIVE,
    OPT_OUT,
    Described,
    is_others_own,
)
from app.connectors.salesforce.people import OBJECTS
from app.connectors.shapes import Account, Checked, CrmField, Finding, Level

_BY_HAND = "fields for scores have to be made by hand, or give our user the permission Customize Application"


async def check(api: Api, described: Described, bounce_fields: str) -> Checked:
    """Describes are read anew. Raises Later."""
    try:
        account = await _account(api)
        found: list[Finding] = []
        objects = {}
        for object_ in OBJECTS:
            described.forget(object_)
            try:
                objects[object_] = await described.fields(object_)
            except Refused as fault:
                found.append(_hidden_object(object_, fault))
        if not objects:
            what = "our user may see neither contacts nor leads"
            mend = "give it read and edit rights on both objects, by its profile or a permission set"
            return Checked(account, [Finding(Level.ERROR, "sees_nothing", what, mend)])
        for object_, fields in objects.items():
            found += _of_fields(object_, fields, bounce_fields)
        found += await _of_people(api, list(objects))
        found += await _of_activities(api)
        found += await _of_making(api)
    except SignInRefused as fault:
        return Checked(None, [Finding(Level.ERROR, fault.code, fault.what, fault.mend)])
    return Checked(account, found)


async def _account(api: Api) -> Account:
    user = await api.user() or ""
    organisation = await api.organization() or ""
    name = await _first(api, "Name", "User", [f"Id = {queries.text(user)}"])
    title = await _first(api, "Name", "Organization", [])
    return Account(title or organisation, user, name or user)


def _of_fields(object_: str, fields: Mapping[str, CrmField], bounce_fields: str) -> list[Finding]:
    found = []
    where = f"Setup > Object Manager > {object_} > Fields & Relationships > the field > Set Field-Level Security"
    if EMAIL not in fields:
        what = f"{object_}.{EMAIL} is hidden from our user: nobody can be found"
        found.append(Finding(Level.ERROR, "field_hidden", what, f"make it visible: {where}"))
    wanted = (OPT_OUT, *((BOUNCED_DATE, BOUNCED_REASON) if bounce_fields == NATIVE else ()))
    for name in wanted:
        field = fields.get(name)
        if field is None:
            what = f"{object_}.{name} is hidden from our user: it is neither read nor told"
            found.append(Finding(Level.WARNING, "field_hidden", what, f"make it visible and editable: {where}"))
        elif not field.is_writable:
            what = f"{object_}.{name} cannot be written by our user: what is said here is not told"
            mend = f"take Read-Only from our user's profile: {where}"
            found.append(Finding(Level.WARNING, "field_read_only", what, mend))
    if any(is_others_own(field) for field in fields.values()):
        what = f"{object_} has fields of Account Engagement (Pardot), which may write {OPT_OUT} too"
        mend = "decide which of the two owns the opt-out: in Account Engagement, let Salesforce's value win"
        found.append(Finding(Level.WARNING, "other_tool", what, mend))
    return found


async def _of_people(api: Api, objects: list[str]) -> list[Finding]:
    for object_ in objects:
        if await _first(api, "Id", object_, []) is not None:
            return []
    what = "our user sees not one contact or lead: there are none, or they are not shared with it"
    mend = "give it View All on Contact and Lead by a permission set; without it hidden and deleted look the same"
    return [Finding(Level.WARNING, "sees_nobody", what, mend)]


async def _of_activities(api: Api) -> list[Finding]:
    found = []
    for object_ in ("Task", "Event", "CampaignMember"):
        try:
            await api.query(queries.select(["Id"], object_, [], "Id", 1))
        except Refused as fault:
            what = f"{object_} is hidden from our user ({fault.code}): no such activities come in"
            found.append(Finding(Level.WARNING, "object_hidden", what, "give it the rights to read activities"))
    return found


async def _of_making(api: Api) -> list[Finding]:
    """Salesforce tells a user's own permissions; where it does not, an incomplete field is asked for.

    That is refused in any case: for what is missing in it, or for the permission.
    """
    try:
        rows = (await api.query("SELECT PermissionsCustomizeApplication FROM UserPermissionAccess LIMIT 1")).rows
        may = not rows or rows[0].get("PermissionsCustomizeApplication") is not False
    except Refused:
        try:
            await api.call("POST", "tooling/sobjects/CustomField/", json={})
            may = True
        except Refused as fault:
            may = not fault.code.startswith("INSUFFICIENT_ACCESS")
    return [] if may else [Finding(Level.NOTE, "no_customize", "our user may not make fields: " + _BY_HAND, "")]


async def _first(api: Api, column: str, object_: str, where: list[str]) -> str | None:
    try:
        rows = (await api.query(queries.select([column], object_, where, "Id", 1))).rows
    except Refused:
        return None
    return str(rows[0][column]) if rows and rows[0].get(column) is not None else None


def _hidden_object(object_: str, fault: Refused) -> Finding:
    what = f"{object_} is hidden from our user ({fault.code})"
    mend = "give it read and edit rights on the object, by its profile or a permission set; or map nothing of it"
    return Finding(Level.WARNING, "object_hidden", what, mend)
