"""A stand-in Salesforce: one org, in memory, with one app that acts as the integration user.

`site` is its HTTP, `api` says which call is carried out where, `org` holds what there is, `faults` its switches.
"""

import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from starlette.types import ASGIApp

from app.sandbox.salesforce.faults import Faults
from app.sandbox.salesforce.login import Login
from app.sandbox.salesforce.org import INTEGRATION, ORG_ID, SALES, USERNAME, Org, audit
from app.sandbox.salesforce.site import Site
from app.sandbox.salesforce.wire import Json, Row, stamp
from app.sandbox.shapes import Clock, Person

_SINCE = timedelta(days=20)
_APART = timedelta(seconds=10)
# One person of so many is a lead.
_LEADS = 4


class Salesforce:
    """See `shapes.StandIn`. `faults` may be set at any time; `clock` moved."""

    name: str = "salesforce"

    def __init__(self, clock: Clock | None = None, *, client_id: str = "", client_secret: str = "") -> None:
        self.clock = clock or Clock()
        self.faults = Faults()
        self.org = Org(self.clock, self.faults)
        self.login = Login(
            self.org,
            client_id or f"3MVG9{secrets.token_urlsafe(40)}",
            client_secret or secrets.token_hex(32).upper(),
        )
        self.site = Site(self.org, self.login)
        self.app: ASGIApp = self.site

    def fill(self, people: Iterable[Person]) -> None:
        """Three of four become contacts of accounts by their company, the others leads."""
        now = self.clock()
        at = now - _SINCE
        accounts: dict[str, str] = {}
        for number, person in enumerate(people, start=1):
            at = min(at + _APART, now)
            made = audit(stamp(at), SALES, None)
            row: Row = {
                "FirstName": person.first_name, "LastName": person.last_name, "Email": person.email,
                "Title": person.title, "Phone": person.phone, "OwnerId": SALES, **made,
            }  # fmt: skip
            if person.opted_out:
                row["HasOptedOutOfEmail"] = True
            if number % _LEADS == 0:
                own = {"Id": self.org.new_id("00Q"), "Company": person.company, "Status": "Open - Not Contacted"}
                self.org.table("Lead").put(own | row)
                continue
            if person.company not in accounts:
                accounts[person.company] = self.org.new_id("001")
                account = {"Id": accounts[person.company], "Name": person.company, "OwnerId": SALES, **made}
                self.org.table("Account").put(account)
            own = {"Id": self.org.new_id("003"), "AccountId": accounts[person.company]}
            self.org.table("Contact").put(own | row)

    def credentials(self, base_url: str) -> dict[str, Any]:  # Any: JSON
        """For all of the flows; the private key signs assertions of the JWT bearer flow."""
        return {
            "instance_url": base_url,
            "token_url": f"{base_url}/services/oauth2/token",
            "authorize_url": f"{base_url}/services/oauth2/authorize",
            "api_version": "62.0",
            "client_id": self.login.client_id,
            "client_secret": self.login.client_secret,
            "username": USERNAME,
            "private_key": self.login.private_pem,
            "organization_id": ORG_ID,
            "user_id": INTEGRATION,
        }

    def state(self) -> Json:
        """As `GET /_sandbox/state` tells."""
        return self.site.state()
