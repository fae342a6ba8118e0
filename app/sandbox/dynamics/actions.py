"""Functions and actions: who we are, merging two people, qualifying a lead. Source: the Web API's action reference."""

from app.sandbox.dynamics import parties
from app.sandbox.dynamics import values as checks
from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.org import BUSINESS_UNIT, ORGANIZATION, Org
from app.sandbox.dynamics.paths import Segment
from app.sandbox.dynamics.records import Records
from app.sandbox.dynamics.tables import PEOPLE
from app.sandbox.dynamics.wire import Call, Json, Ref, Refusal, Reply, Row, guid, no_row, payload_fault
from app.sandbox.dynamics.writing import Transaction

_COPIED = (
    "firstname", "lastname", "salutation", "jobtitle", "emailaddress1", "emailaddress2", "emailaddress3", "telephone1",
    "mobilephone", "websiteurl", "address1_city", "address1_country", "donotemail", "donotbulkemail", "donotphone",
    "donotfax", "donotpostalmail", "donotsendmm", "followemail",
)  # fmt: skip
_QUALIFIED = {"statecode": 1, "statuscode": 3}


class Actions:
    def __init__(self, org: Org, records: Records) -> None:
        self._org = org
        self._records = records

    def who_am_i(self, call: Call) -> Reply:
        context = f"{call.root}$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse"
        about = {"BusinessUnitId": BUSINESS_UNIT, "UserId": call.user_id, "OrganizationId": ORGANIZATION}
        return Reply(body={"@odata.context": context, **about})

    def merge(self, call: Call) -> Reply:
        body = call.object()
        winner, _ = checks.target_of(self._org, call, body.get("Target"))
        loser, _ = checks.target_of(self._org, call, body.get("Subordinate"))
        content = body.get("UpdateContent") or {}
        if not isinstance(content, dict):
            raise payload_fault("'UpdateContent' is an entity.")
        own = {name: value for name, value in content.items() if name != self._org.tables[winner.table].primary_id}
        with self._records.transaction(call) as transaction:
            merge(transaction, winner, loser, own)
        return Reply(204, rows=2)

    def qualify(self, call: Call, of: Table, key: Segment) -> Reply:
        id_ = guid(key.key)
        if of.name != "lead" or id_ is None:
            raise no_row(of.name, key.text)
        body = call.object()
        with self._records.transaction(call) as transaction:
            made = qualify(
                transaction, id_, contact=body.get("CreateContact") is True, account=body.get("CreateAccount") is True
            )
        value = [
            {
                "@odata.type": f"#Microsoft.Dynamics.CRM.{one.table}",
                self._org.tables[one.table].primary_id: one.id,
            }
            for one in made
        ]  # fmt: skip
        return Reply(body={"@odata.context": f"{call.root}$metadata#Collection(crmbaseentity)", "value": value}, rows=1)


def merge(transaction: Transaction, winner: Ref, loser: Ref, content: Json) -> None:
    """The loser is deactivated and points at the winner, who gets its activities. Raises Refusal."""
    org = transaction.org
    of = org.tables[winner.table]
    if winner.table != loser.table or winner == loser or of.name not in (*PEOPLE, "account"):
        raise Refusal("0x80040203", "Only two rows of one table can be merged.")
    transaction.standing(of, winner.id)
    if transaction.standing(of, loser.id).get("statecode", 0) != 0:
        raise Refusal("0x80040203", "A row that is not active cannot be merged.")
    if content:
        transaction.update(of, winner.id, content)
    inactive: Row = {"statecode": 2, "statuscode": 7} if of.name == "lead" else {"statecode": 1, "statuscode": 2}
    transaction.write(of, loser.id, {**inactive, "merged": True, "masterid": winner})
    parties.hand_over(transaction, loser, winner)


def qualify(transaction: Transaction, id_: str, *, contact: bool = True, account: bool = True) -> list[Ref]:
    """What a lead became. Raises Refusal."""
    org = transaction.org
    leads, contacts, accounts = (org.tables[name] for name in ("lead", "contact", "account"))
    lead = transaction.standing(leads, id_)
    if lead.get("statecode", 0) != 0:
        raise Refusal("0x80040203", "Only an open lead can be qualified.")
    made: list[Ref] = []
    company = None
    if account and lead.get("companyname"):
        same = org.rows("account").having("name", lead["companyname"])
        company = Ref("account", same[0] if same else transaction.create(accounts, {"name": lead["companyname"]}))
        if not same:
            made.append(company)
    if contact:
        # Columns of one's own are copied only where an admin mapped them.
        new = {name: lead[name] for name in _COPIED if name in lead}
        person = Ref("contact", transaction.create(contacts, new))
        transaction.write(
            contacts,
            person.id,
            {"originatingleadid": Ref("lead", id_), **({"parentcustomerid": company} if company else {})},
        )
        made.append(person)
    transaction.write(leads, id_, dict(_QUALIFIED))
    return made
