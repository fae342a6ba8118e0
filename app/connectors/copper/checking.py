"""Whether a connection can do what the sync needs: each right is tried by a call that changes nothing, eleven in all.

What a user may not see is missing from every answer without a word. That is found out by a search which Copper keeps
for administrators. Source: Copper's developer documentation and help centre, August 2026.
"""

from collections.abc import Sequence
from typing import NamedTuple

from app.connectors.copper import webhooks
from app.connectors.copper.activities import SEARCH, TYPES
from app.connectors.copper.calls import Api, Endpoint, Json, refused
from app.connectors.copper.fields import Fields
from app.connectors.copper.listed import LEAD, PERSON
from app.connectors.copper.people import SEARCHES
from app.connectors.faults import Refused, SignInRefused
from app.connectors.shapes import Account, Checked, Finding, Kind, Level

_ME, _ACCOUNT = Endpoint("GET", "/users/me"), Endpoint("GET", "/account")
_ONE_ROW: Json = {"page_number": 1, "page_size": 1}
_MOST_NAMED = 10
_FORBIDDEN = "http_403"


class _Trial(NamedTuple):
    endpoint: Endpoint
    asked: Json | None
    level: Level
    without: str
    """What does not work if it is refused."""


_TRIALS = {
    PERSON: _Trial(SEARCHES[PERSON], _ONE_ROW, Level.ERROR, "people cannot be read"),
    LEAD: _Trial(
        SEARCHES[LEAD],
        _ONE_ROW,
        Level.ERROR,
        'leads cannot be read: where the account has none, connect with the choice "objects": ["person"]',
    ),
}
_MORE = (
    _Trial(TYPES, None, Level.WARNING, "activities cannot be read: they score nothing"),
    _Trial(
        webhooks.LIST, None, Level.WARNING, "webhooks cannot be made: changes are seen only when it is time to look"
    ),
)
_FOR_ADMINISTRATORS = _Trial(
    SEARCH,
    {**_ONE_ROW, "full_result": True},
    Level.WARNING,
    "our user seems to be no administrator: whoever is hidden from it is missing here, and looks deleted",
)


async def check(api: Api, fields: Fields, objects: Sequence[str]) -> Checked:
    try:
        me = await api.one(_ME)
        company = await api.one(_ACCOUNT)
    except SignInRefused as fault:
        return Checked(None, [Finding(Level.ERROR, fault.code, fault.what, fault.mend)])
    except Refused as fault:
        return Checked(None, [_finding(_Trial(_ME, None, Level.ERROR, "it is not known who we are"), fault)])
    account = Account(
        str(company.get("name") or company.get("id")), str(me.get("id")), str(me.get("name") or me.get("id"))
    )
    trials = [*(_TRIALS[object_] for object_ in objects), *_MORE]
    findings = [found for trial in trials if (found := await _tried(api, trial)) is not None]
    restricted = await _tried(api, _FOR_ADMINISTRATORS)
    if restricted is not None and restricted.code == _FORBIDDEN:
        findings.append(
            restricted._replace(
                code="not_admin", mend="use a key of a user of its own, who is an administrator and in every team"
            )
        )
    try:
        findings += await _of_fields(fields)
    except Refused as fault:
        findings.append(_finding(_Trial(_ME, None, Level.ERROR, "it is not known which fields there are"), fault))
    return Checked(account, findings)


async def _tried(api: Api, trial: _Trial) -> Finding | None:
    reply = await api.call(trial.endpoint, trial.asked)
    return None if reply.is_success else _finding(trial, refused(reply))


def _finding(trial: _Trial, fault: Refused) -> Finding:
    mend = f"use an administrator's key, and see what its user may do in Copper ({fault.reason})"
    return Finding(trial.level, fault.code, trial.without, mend)


async def _of_fields(fields: Fields) -> list[Finding]:
    """Copper makes fields that can be neither filtered by nor sorted by before somebody says so by hand."""
    listing = await fields.listing()
    hidden = [
        one.label
        for one in listing.values()
        if one.is_custom
        and one.is_filterable is False
        and one.kind in (Kind.NUMBER, Kind.BOOLEAN)
        and {PERSON, LEAD} & set(one.objects)
    ]
    if not hidden:
        return []
    names = ", ".join(hidden[:_MOST_NAMED]) + (" and others" if len(hidden) > _MOST_NAMED else "")
    return [
        Finding(
            Level.NOTE,
            "not_filterable",
            f"people in Copper cannot filter by {names}",
            "who wants lists by score: in Copper, as an administrator, open Settings, Customize Copper, Manage Fields, "
            "People (and Leads), and switch the filter of the field on; then, in the list of people, add its column",
        )
    ]
