"""Who takes part in an activity: the parties that are given, and those that follow from it. Source: "ActivityParty"."""

from typing import TYPE_CHECKING

from app.sandbox.dynamics import values
from app.sandbox.dynamics.activity_columns import PARTIES
from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.wire import Json, Ref, Row

if TYPE_CHECKING:
    from app.sandbox.dynamics.writing import Transaction

REGARDING, OWNER = 8, 9
_FOLLOWING = {REGARDING: "regardingobjectid", OWNER: "ownerid"}


def settle(transaction: "Transaction", of: Table, id_: str, given: list[Json] | None, *, is_gone: bool = False) -> None:
    """Bring the parties of an activity in line with its row; `given` replaces those that nothing else says."""
    org = transaction.org
    parties, rows = org.tables[PARTIES], org.rows(PARTIES)
    own = Ref(of.name, id_)
    activity = org.rows(of.name).by_id[id_]
    made: list[Row] = []
    for one in given or ():
        row, _ = values.read_body(org, parties, one, "")
        made.append({"participationtypemask": 2, **_with_address(transaction, row), "activityid": own})
    following = {mask: activity.get(name) for mask, name in _FOLLOWING.items()}
    for party in rows.having("activityid", own):
        mask = rows.by_id[party]["participationtypemask"]
        if mask in _FOLLOWING or given is not None or is_gone:
            transaction.erase(parties, party)
    if is_gone:
        return
    made += [
        {"activityid": own, "partyid": who, "participationtypemask": mask}
        for mask, who in following.items()
        if who is not None
    ]
    for row in made:
        transaction.add(parties, row)


def hand_over(transaction: "Transaction", loser: Ref, winner: Ref) -> None:
    """What one person took part in is the other's from now on."""
    org = transaction.org
    rows = org.rows(PARTIES)
    touched: dict[Ref, None] = {}
    for party in rows.having("partyid", loser):
        touched[rows.by_id[party]["activityid"]] = None
        transaction.write(org.tables[PARTIES], party, {"partyid": winner})
    for activity in touched:
        row = org.row(activity)
        if row is not None:
            new: Row = {"regardingobjectid": winner} if row.get("regardingobjectid") == loser else {}
            transaction.write(org.tables[activity.table], activity.id, new)


def _with_address(transaction: "Transaction", row: Row) -> Row:
    """A party that is a person has that person's address."""
    who = row.get("partyid")
    found = None if who is None else transaction.org.row(who)
    address = None if found is None else found.get("emailaddress1")
    return row if address is None else {"addressused": address, **row}
