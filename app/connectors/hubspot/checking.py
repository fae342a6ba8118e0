"""Whether a connection can do what the sync needs: each right is tried by a call that changes nothing, seven requests.

What may be written cannot be tried so; there the scopes count that HubSpot tells of the token.
"""

from collections.abc import Iterable
from typing import NamedTuple

from app.connectors.faults import Refused, SignInRefused
from app.connectors.hubspot.access import PREFERENCES, PRIVATE_APP, READ, SCHEMA_WRITE, WRITE, Who
from app.connectors.hubspot.api import (
    CONTACTS,
    MISSING_SCOPE,
    PROPERTIES,
    Api,
    problem,
)
from app.connectors.hubspot.api import (
    PREFERENCES as PREFERENCES_PATH,
)
from app.connectors.provider import Setup
from app.connectors.shapes import Account, Checked, Finding, Level

_LOW_PERCENT = 20


class _Trial(NamedTuple):
    method: str
    path: str
    scope: str
    level: Level
    without: str
    """What does not work if it is refused."""

    @property
    def is_search(self) -> bool:
        return self.path.endswith("/search")


_TRIALS = (
    _Trial("GET", CONTACTS, READ, Level.ERROR, "contacts cannot be read"),
    _Trial("GET", PROPERTIES, READ, Level.ERROR, "it is not known which properties there are"),
    _Trial("POST", f"{CONTACTS}/search", READ, Level.ERROR, "what changed cannot be searched for"),
    _Trial("POST", "crm/v3/objects/calls/search", READ, Level.WARNING, "activities cannot be read: they score nothing"),
    _Trial(
        "GET",
        f"{PREFERENCES_PATH}/v3/definitions",
        PREFERENCES,
        Level.WARNING,
        "opt-outs cannot be told: HubSpot goes on mailing whoever opts out elsewhere",
    ),
)
_NEEDED = (
    (WRITE, Level.ERROR, "contacts cannot be written"),
    (SCHEMA_WRITE, Level.WARNING, "properties cannot be made: whoever wants scores in HubSpot makes them by hand"),
)


async def check(api: Api, setup: Setup) -> Checked:
    """Raises Later."""
    try:
        tried = [await _tried(api, trial) for trial in _TRIALS]
        who = await api.who()  # by now of a token that is good
        account = await _account(api, who)
    except SignInRefused as fault:
        return Checked(None, [Finding(Level.ERROR, fault.code, fault.what, fault.mend)])
    findings = [found for found in tried if found is not None]
    findings += _withheld(who)
    if setup.flow == PRIVATE_APP.name and not setup.credentials.get("client_secret"):
        what = (
            "the private app's client secret is not given: what HubSpot calls us with is believed without a signature"
        )
        findings.append(Finding(Level.NOTE, "no_signature", what, ""))
    return Checked(account, [*findings, *_of_budget(api)])


async def _account(api: Api, who: Who) -> Account:
    portal = who.portal
    if portal is None:
        try:
            portal = str((await api.json("GET", "account-info/v3/details")).get("portalId"))
        except Refused:
            portal = "unknown"
    app = who.app or "unknown"
    return Account(who.domain or f"HubSpot account {portal}", app, f"the app {app}")


async def _tried(api: Api, trial: _Trial) -> Finding | None:
    is_get = trial.method == "GET"
    try:
        reply = await api.call(
            trial.method,
            trial.path,
            again=True,
            is_search=trial.is_search,
            params={"limit": 1} if trial.path == CONTACTS else None,
            json=None if is_get else {"limit": 1},
        )
        fault = None if reply.is_success else problem(reply).fault
    except Refused as refusal:
        fault = refusal
    if fault is None:
        return None
    mend = _scope(trial.scope) if fault.code == MISSING_SCOPE else f"see what HubSpot says: {fault.reason}"
    return Finding(trial.level, fault.code, trial.without, mend)


def _scope(name: str) -> str:
    return f"add the scope {name} to the app in HubSpot, and sign in again; a private app's token then stays the same"


def _withheld(who: Who) -> Iterable[Finding]:
    for scope, level, without in _NEEDED:
        if who.scopes and scope not in who.scopes:
            yield Finding(level, MISSING_SCOPE, without, _scope(scope))


def _of_budget(api: Api) -> Iterable[Finding]:
    daily = api.limits.daily
    if daily is not None and daily.remaining * 100 < daily.limit * _LOW_PERCENT:
        yield Finding(
            Level.WARNING,
            "daily_budget_low",
            f"{daily.remaining:,} of the {daily.limit:,} calls that private apps have a day are left",
            "see in HubSpot under Settings, Integrations, Private Apps who spends them; larger plans have more",
        )
