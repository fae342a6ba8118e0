"""Whether a connection can do what the sync needs: each right is tried by a call that changes nothing, about 60 tokens.

What an app may write cannot be tried so; there the scopes count that it was told when somebody signed in.
"""

from collections.abc import Iterable
from typing import NamedTuple

from app.connectors.faults import Refused, SignInRefused
from app.connectors.pipedrive import activities, persons, webhooks
from app.connectors.pipedrive.calls import MISSING_SCOPE, Api, Endpoint, Params, refused
from app.connectors.pipedrive.fields import LIST, Fields
from app.connectors.shapes import Account, Checked, Finding, Level

_ME = Endpoint("GET", "/v1/users/me", 2, "base")
_LOW_PERCENT = 20


class _Trial(NamedTuple):
    endpoint: Endpoint
    params: Params
    level: Level
    without: str
    """What does not work if it is refused."""


_TRIALS = (
    _Trial(persons.LIST, {"limit": 1}, Level.ERROR, "persons cannot be read or written"),
    _Trial(activities.LIST, {"limit": 1}, Level.WARNING, "activities cannot be read: they score nothing"),
    _Trial(
        persons.SEARCH,
        {"term": "nobody@example.com", "fields": "email", "exact_match": "true", "limit": 1},
        Level.WARNING,
        "persons cannot be searched for: contacts are not found by their address",
    ),
    _Trial(webhooks.LIST, {}, Level.WARNING, "webhooks cannot be made: changes are seen only when it is time to look"),
)


async def check(api: Api, fields: Fields) -> Checked:
    try:
        me = await api.data(_ME)
    except SignInRefused as fault:
        return Checked(None, [Finding(Level.ERROR, fault.code, fault.what, fault.mend)])
    except Refused as fault:
        return Checked(None, [_finding(_Trial(_ME, {}, Level.ERROR, "it is not known who we are"), fault)])
    account = Account(
        str(me.get("company_name") or me.get("company_domain")), str(me.get("id")), str(me.get("name") or "")
    )
    findings = [found for trial in _TRIALS if (found := await _tried(api, trial)) is not None]
    findings += _withheld(await api.scopes())
    if not any(one.level is Level.ERROR for one in findings):
        findings += await _of_campaigns(fields)
    if me.get("is_admin") in (0, False):
        findings.append(
            Finding(
                Level.WARNING,
                "not_admin",
                "our user is no administrator: persons may be hidden from it, and then look deleted",
                "let a top administrator's user sign in, or let it see all persons",
            )
        )
    return Checked(account, [*findings, *_of_budget(api)])


async def _tried(api: Api, trial: _Trial) -> Finding | None:
    try:
        reply = await api.call(trial.endpoint, params=trial.params)
    except Refused as fault:
        return _finding(trial, fault)
    return None if reply.is_success else _finding(trial, refused(reply))


def _finding(trial: _Trial, fault: Refused) -> Finding:
    mend = f"give its user or permission set the right to it ({fault.reason})"
    if fault.code == MISSING_SCOPE:
        mend = _scope(trial.endpoint.scope)
    return Finding(trial.level, fault.code, trial.without, mend)


def _scope(name: str) -> str:
    return f"add the scope {name} to the app in Pipedrive's Developer Hub, and sign in again"


def _withheld(scopes: frozenset[str]) -> Iterable[Finding]:
    if scopes and "contacts:full" not in scopes:
        yield Finding(Level.ERROR, MISSING_SCOPE, "persons cannot be written", _scope("contacts:full"))
    if scopes and scopes.isdisjoint(("contact-fields:full", "admin")):
        yield Finding(
            Level.WARNING,
            MISSING_SCOPE,
            "fields cannot be made: whoever wants scores in Pipedrive makes them by hand",
            _scope("contact-fields:full"),
        )


async def _of_campaigns(fields: Fields) -> list[Finding]:
    try:
        if await fields.has_campaigns():
            return []
    except Refused as fault:
        return [_finding(_Trial(LIST, {}, Level.ERROR, "it is not known which fields there are"), fault)]
    what = "the company has no Campaigns, and so no marketing status: opting out is told in a field of its own"
    return [Finding(Level.NOTE, "no_campaigns", what, "")]


def _of_budget(api: Api) -> Iterable[Finding]:
    daily = api.limits.daily
    if daily is not None and daily.remaining * 100 < daily.limit * _LOW_PERCENT:
        yield Finding(
            Level.WARNING,
            "daily_budget_low",
            f"{daily.remaining:,} of the company's {daily.limit:,} tokens of the day are left",
            "see in Pipedrive's company settings who spends them; more come with a larger plan or as a top-up",
        )
