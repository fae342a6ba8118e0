"""The account, its owners, and what of the day's calls is used."""

from app.sandbox.hubspot.limits import ZONE_OFFSET_MS, Limits
from app.sandbox.hubspot.portal import PORTAL_ID, Portal
from app.sandbox.hubspot.records import User
from app.sandbox.hubspot.wire import MAX_PAGE, Call, Json, Reply, iso, not_found

_MOST_OWNERS = 500


def details(_: Portal, __: Call) -> Reply:
    return Reply(
        {
            "portalId": PORTAL_ID,
            "accountType": "STANDARD",
            "timeZone": "Etc/GMT+5",
            "companyCurrency": "EUR",
            "additionalCurrencies": [],
            "utcOffset": "-05:00",
            "utcOffsetMilliseconds": ZONE_OFFSET_MS,
            "uiDomain": "app.hubspot.com",
            "dataHostingLocation": "na1",
        }
    )


def owners(portal: Portal, call: Call) -> Reply:
    limit, email = call.query.limit(MAX_PAGE, _MOST_OWNERS), call.query.text("email")
    after = call.query.integer("after", 0)
    there = [one for one in portal.users.values() if one.owner_id > after and email in (None, one.email)]
    archived = call.query.flag("archived")
    rows = [] if archived else [_owner(portal, one) for one in there[:limit]]
    body: Json = {"results": rows}
    if len(there) > limit and not archived:
        body["paging"] = {"next": {"after": str(there[limit - 1].owner_id)}}
    return Reply(body, rows=len(rows))


def owner(portal: Portal, call: Call) -> Reply:
    name = "userId" if call.query.text("idProperty") == "userId" else "id"
    known = {str(one[name]): one for one in (_owner(portal, user) for user in portal.users.values())}
    found = known.get(call.path["id"])
    if found is None:
        raise not_found()
    return Reply(found, rows=1)


def usage(limits: Limits, portal: Portal) -> Json:
    """Of private apps."""
    return {
        "results": [
            {
                "name": "private-apps-api-calls-daily",
                "usageLimit": limits.daily_limit,
                "currentUsage": limits.spent,
                "collectedAt": iso(portal.millis()),
                "fetchStatus": "SUCCESS",
                "resetsAt": iso(limits.resets_at),
            }
        ]
    }


def _owner(portal: Portal, user: User) -> Json:
    return {
        "id": str(user.owner_id),
        "email": user.email,
        "type": "PERSON",
        "firstName": user.first_name,
        "lastName": user.last_name,
        "userId": user.id,
        "userIdIncludingInactive": user.id,
        "createdAt": iso(portal.made_at),
        "updatedAt": iso(portal.made_at),
        "archived": False,
        "teams": [],
    }
