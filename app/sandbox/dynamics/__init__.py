"""A stand-in Dynamics 365: one environment of one tenant, in memory, with one app that is its application user.

`site` is its HTTP, `api` says which call is carried out where, `org` holds what there is, `faults` its switches.
"""

import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from starlette.types import ASGIApp

from app.sandbox.dynamics.faults import Faults
from app.sandbox.dynamics.login import Login
from app.sandbox.dynamics.org import APPLICATION, INTEGRATION, ORGANIZATION, SALES, Org
from app.sandbox.dynamics.site import Site
from app.sandbox.dynamics.wire import Json, Ref, Row, stamp
from app.sandbox.shapes import Clock, Person

TENANT = "9f3b6f0c-2a74-4c5e-8d1b-6e0a7c4f5d21"
_SINCE = timedelta(days=20)
_APART = timedelta(seconds=10)
# One person of so many is a lead.
_LEADS = 4


class Dynamics:
    """See `shapes.StandIn`. `faults` may be set at any time; `clock` moved."""

    name: str = "dynamics"

    def __init__(self, clock: Clock | None = None, *, client_id: str = "", client_secret: str = "") -> None:
        self.clock = clock or Clock()
        self.faults = Faults()
        self.org = Org(self.clock, self.faults, client_id or APPLICATION)
        secret = client_secret or f"q~8{secrets.token_urlsafe(28)}"
        self.login = Login(self.org, TENANT, client_id or APPLICATION, secret)
        self.site = Site(self.org, self.login)
        self.app: ASGIApp = self.site

    def fill(self, people: Iterable[Person]) -> None:
        """Three of four become contacts of accounts by their company, the others leads, if there are any."""
        now = self.clock()
        at = now - _SINCE
        owner = Ref("systemuser", SALES)
        accounts: dict[str, Ref] = {}
        for number, person in enumerate(people, start=1):
            at = min(at + _APART, now)
            made = stamp(at)
            row: Row = {
                "firstname": person.first_name, "lastname": person.last_name, "emailaddress1": person.email,
                "jobtitle": person.title, "telephone1": person.phone, "ownerid": owner, "statuscode": 1,
            }  # fmt: skip
            if person.opted_out:
                row["donotbulkemail"] = True
            if number % _LEADS == 0 and not self.faults.no_leads:
                self.org.put("lead", {**row, "subject": "Website", "companyname": person.company}, made, SALES)
                continue
            if person.company not in accounts:
                account = {"name": person.company, "ownerid": owner, "statuscode": 1}
                accounts[person.company] = Ref("account", self.org.put("account", account, made, SALES))
            self.org.put("contact", {**row, "parentcustomerid": accounts[person.company]}, made, SALES)

    def credentials(self, base_url: str) -> dict[str, Any]:  # Any: JSON
        """For all of the flows; the private key signs assertions in place of the secret. The sign-in of the tenant and
        the environment are served at one address."""
        certificate = self.login.certificate
        return {
            "base_url": base_url,
            "authority": base_url,
            "token_url": f"{base_url}/{TENANT}/oauth2/v2.0/token",
            "authorize_url": f"{base_url}/{TENANT}/oauth2/v2.0/authorize",
            "tenant_id": TENANT,
            "client_id": self.login.client_id,
            "client_secret": self.login.client_secret,
            "private_key": certificate.private_pem,
            "certificate": certificate.pem,
            "organization_id": ORGANIZATION,
            "user_id": INTEGRATION,
        }

    def state(self) -> Json:
        """As `GET /_sandbox/state` tells."""
        return self.site.state()
