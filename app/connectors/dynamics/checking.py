"""Whether a connection can do what the sync needs, found out without changing anything; and how to mend what is not."""

from collections.abc import Sequence
from uuid import uuid4

from app.connectors.dynamics.activities import SET as ACTIVITIES
from app.connectors.dynamics.api import Api, address
from app.connectors.dynamics.batches import Operation
from app.connectors.dynamics.columns import ANY, BOTH, BULK, CONTACT, EMAIL, IDS, SETS, Described, Table
from app.connectors.dynamics.tracking import TRACK
from app.connectors.faults import Refused, SignInRefused
from app.connectors.shapes import Account, Checked, Finding, Level

_CONSENTS = "msdynmkt_contactpointconsent4"
_NO_PRIVILEGE, _NOT_TRACKED = 403, (400, 404, 501)
_ROLE = (
    "in the Power Platform admin center, Environments, the environment, Settings, Users + permissions, Application "
    "users, our user, Edit security roles"
)


async def check(api: Api, described: Described, objects: Sequence[str], opt_out: str) -> Checked:
    """Tables are described anew. Raises Later."""
    try:
        account = await _account(api)
        found: list[Finding] = []
        tables: list[Table] = []
        for object_ in objects:
            described.forget(object_)
            try:
                table = await described.table(object_)
            except Refused as fault:
                found.append(_hidden(object_, fault))
                continue
            if table is None:
                what = "there is no table of leads: Dynamics 365 Sales is not installed; contacts are read alone"
                found.append(Finding(Level.NOTE, "no_leads", what, ""))
            else:
                tables.append(table)
        for table in tables:
            found += _of_columns(table, opt_out)
            found += await _of_rights(api, table)
        if not tables or any(one.code == "no_read" for one in found if one.level is Level.ERROR):
            return Checked(account, found)
        found += await _of_activities(api)
        found += await _of_making(api)
        found += await _of_consents(api)
    except SignInRefused as fault:
        return Checked(None, [Finding(Level.ERROR, fault.code, fault.what, fault.mend)])
    return Checked(account, found)


async def _account(api: Api) -> Account:
    user, organisation = await api.user() or "", await api.organization()
    title = await _first(api, "organizations", "name")
    name = await _first(api, f"systemusers({user})", "fullname")
    return Account(title or organisation, user, name or user)


async def _first(api: Api, path: str, column: str) -> str | None:
    try:
        said = await api.json("GET", address(path, select=column))
    except Refused:
        return None
    rows = said.get("value")
    row = rows[0] if isinstance(rows, list) and rows else said
    return str(row[column]) if isinstance(row, dict) and row.get(column) else None


def _of_columns(table: Table, opt_out: str) -> list[Finding]:
    found = []
    for name in (EMAIL, *((BULK, ANY) if opt_out == BOTH else (opt_out,))):
        column = table.columns.get(name)
        level = Level.ERROR if name == EMAIL else Level.WARNING
        if column is None or table.mappable(name) is None:
            what = f"{table.object}.{name} is under column security, or not there: it is neither read nor told"
            mend = (
                "give our user a column security profile that lets it read and update the column, and choose `secured`"
            )
            found.append(Finding(level, "field_hidden", what, mend))
        elif not column.shown.is_writable and name != EMAIL:
            what = f"{table.object}.{name} cannot be written by our user: what is said here is not told"
            found.append(Finding(level, "field_read_only", what, "see why the column is read only, or map another"))
    return found


async def _of_rights(api: Api, table: Table) -> list[Finding]:
    """Each is tried by a call that changes nothing: somebody who is not there is written to."""
    set_, id_ = SETS[table.object], IDS[table.object]
    nobody = address(f"{set_}({uuid4()})")
    answers = await api.batch(
        [
            Operation("GET", address(set_, select=id_), {"Prefer": f"{TRACK},odata.maxpagesize=1"}),
            Operation("GET", address(set_, select=id_, top="1"), {}),
            Operation("PATCH", nobody, {"If-Match": "*"}, {EMAIL: None}),
        ],
        again=True,
    )
    if (silence := next(filter(None, map(api.access.silence, answers)), None)) is not None:
        raise silence
    tracked, read, write = answers
    name = table.object.capitalize()
    if read.status == _NO_PRIVILEGE:
        level = Level.ERROR if table.object == CONTACT else Level.WARNING
        what = f"our user may not read {set_}: its role lacks prvRead{name}"
        return [Finding(level, "no_read", what, f"give its role Read on {name} at organization level: {_ROLE}")]
    found = []
    if tracked.status == _NO_PRIVILEGE:
        what = f"our user may not read all {set_}: changes are looked for by their time, and deletions found late"
        mend = f"give its role Read on {name} at organization level: {_ROLE}"
        found.append(Finding(Level.WARNING, "reads_not_all", what, mend))
    elif tracked.status in _NOT_TRACKED:
        what = f"the CRM tracks no changes of {set_}: they are looked for by their time, and deletions found late"
        mend = f"make.powerapps.com > Tables > {name} > Properties > Advanced options: tick Track changes"
        found.append(Finding(Level.WARNING, "not_tracked", what, mend))
    if write.status == _NO_PRIVILEGE:
        what = f"our user may not write {set_}: its role lacks prvWrite{name}; nothing is told"
        found.append(Finding(Level.WARNING, "no_write", what, f"give its role Write on {name}: {_ROLE}"))
    return found


async def _of_activities(api: Api) -> list[Finding]:
    try:
        await api.page(address(ACTIVITIES, select="activityid", top="1"))
    except Refused as fault:
        what = f"activities are hidden from our user ({fault.code}): none come in"
        return [Finding(Level.WARNING, "object_hidden", what, f"give its role Read on Activity: {_ROLE}")]
    return []


async def _of_making(api: Api) -> list[Finding]:
    """A column without a name is asked for: that is refused in any case, for the name or for the right."""
    path = address(f"EntityDefinitions(LogicalName='{CONTACT}')/Attributes")
    [reply] = await api.batch([Operation("POST", path, {}, {})])
    if reply.status != _NO_PRIVILEGE:
        return []
    what = (
        "our user may not make columns: those for scores and bounces have to be made by hand, or give it the role "
        "System Customizer"
    )
    return [Finding(Level.NOTE, "no_customize", what, "")]


async def _of_consents(api: Api) -> list[Finding]:
    """The table in which Customer Insights - Journeys keeps who may be mailed, by address and not by person."""
    path = address("EntityDefinitions", select="LogicalName", filter=f"LogicalName eq '{_CONSENTS}'")
    try:
        rows = (await api.page(path)).rows
    except Refused:
        return []
    if not rows:
        return []
    what = "Customer Insights - Journeys keeps consents of its own, which are neither read nor told"
    mend = "let Journeys honour Do Not Bulk Email, and write its unsubscribes to the contact"
    return [Finding(Level.WARNING, "other_tool", what, mend)]


def _hidden(object_: str, fault: Refused) -> Finding:
    level = Level.ERROR if object_ == CONTACT else Level.WARNING
    what = f"the table {object_} is hidden from our user ({fault.code})"
    return Finding(level, "object_hidden", what, f"give it a security role that reads it: {_ROLE}")
