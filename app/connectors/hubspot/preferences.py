"""Opting out, and back in: by the API for communication preferences, where both hang on the address.

Whoever opts out is unsubscribed from all mail, or, where HubSpot has no such call, from each type of subscription; what
the contact says of it afterwards is what was kept. Back in is only tried for who is out. HubSpot may refuse that: the
third version of the API always does, of the fourth nothing is said. Then the flag is refused, and all else goes on.
Source: HubSpot's guide of the fourth version, its clients' models of the third, October 2026.
"""

from collections.abc import Sequence
from urllib.parse import quote

from app.connectors.faults import Refused, Unreachable
from app.connectors.http import Reply
from app.connectors.hubspot.api import CONTACTS, PREFERENCES, Api, Json, Problem, as_object, parts, problem
from app.connectors.hubspot.fields import BOUNCED, EMAIL, MODIFIED, OPT_OUT, wire_names
from app.connectors.shapes import End, Outcome

_V3, _V4 = f"{PREFERENCES}/v3", f"{PREFERENCES}/v4"
_CHANNEL = {"channel": "EMAIL"}
_BASIS = {
    "legalBasis": "LEGITIMATE_INTEREST_CLIENT",
    "legalBasisExplanation": "What the person said, as Leadtally was told.",
}
_UP = "true"
_ASKED = sorted({EMAIL, MODIFIED, *wire_names((OPT_OUT, BOUNCED))})
_NO_ADDRESS = Problem("no_address", "an opt-out hangs on the address, and the contact has none")
_NOTHING_TO_SUBSCRIBE = Problem("no_subscription_types", "there is no type of subscription to subscribe to again")


class Preferences:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._unsubscribes_all = True

    async def read(self, ids: Sequence[str]) -> dict[str, Json]:
        """Contacts, by their own ids, with their address and their flags. Raises Refused, SignInRefused, Later."""
        found: dict[str, Json] = {}
        for some in parts(ids):
            inputs = [{"id": one} for one in some]
            batch = await self._api.batch(f"{CONTACTS}/batch/read", inputs, properties=_ASKED)
            found |= {row["id"]: row for row in batch.rows}
        return found

    async def say(self, id_: str, row: Json | None, *, is_out: bool) -> Outcome | None:
        """Have a contact's address opt out or in; `row` is the contact as `read` gives it. None: that is how it is by
        now, if HubSpot took it. Raises SignInRefused, Later."""
        if row is None:
            return Outcome(End.GONE, id_, code="not_there", reason="the contact is deleted, or merged into another")
        if (row["properties"].get(OPT_OUT) == _UP) is is_out:
            return None
        address = row["properties"].get(EMAIL)
        if not address:
            return refused(id_, _NO_ADDRESS) if is_out else None
        return await self.of_address(str(address), id_, is_out=is_out)

    async def of_address(self, address: str, id_: str | None, *, is_out: bool) -> Outcome | None:
        """As `say`, of an address that need not be a contact's yet."""
        try:
            found = await (self._unsubscribe(address) if is_out else self._subscribe(address))
        except Refused as fault:
            found = Problem(fault.code, fault.reason)
        return None if found is None else refused(id_, found)

    async def _unsubscribe(self, address: str) -> Problem | None:
        if self._unsubscribes_all:
            path = f"{_V4}/statuses/{quote(address, safe='')}/unsubscribe-all"
            reply = await self._api.call("POST", path, again=True, params=_CHANNEL)
            if reply.status != 404:
                return _heard(reply)
            problem(reply)  # a gateway's page is no answer of HubSpot's
            self._unsubscribes_all = False
        for one in await self._types(internal=True):
            said: Json = {"emailAddress": address, "subscriptionId": one, **_BASIS}
            reply = await self._api.call("POST", f"{_V3}/unsubscribe", again=True, json=said)
            if not reply.is_success:
                return problem(reply)
            as_object(reply)
        return None

    async def _subscribe(self, address: str) -> Problem | None:
        path, types = f"{_V4}/statuses/{quote(address, safe='')}", await self._types(internal=False)
        for one in types:
            said: Json = {"subscriptionId": int(one), "statusState": "SUBSCRIBED", **_CHANNEL, **_BASIS}
            reply = await self._api.call("POST", path, again=True, json=said)
            if (fault := _heard(reply)) is not None:
                return fault
        return None if types else _NOTHING_TO_SUBSCRIBE

    async def _types(self, *, internal: bool) -> list[str]:
        """The ids of active types of subscription; those for mail of one person to another only if `internal`."""
        said = (await self._api.json("GET", f"{_V3}/definitions")).get("subscriptionDefinitions")
        if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
            raise Unreachable("the list of subscription types was none")
        return [
            str(one["id"])
            for one in said
            if str(one.get("id")).isdigit() and one.get("isActive") is not False
            if internal or one.get("isInternal") is not True
        ]


def _heard(reply: Reply) -> Problem | None:
    """What the fourth version says is wrong. Raises Unreachable for an answer that says nothing."""
    if not reply.is_success:
        return problem(reply)
    if as_object(reply).get("status") != "COMPLETE":
        raise Unreachable("what an address says of mail was answered by something else")
    return None


def refused(id_: str | None, why: Problem) -> Outcome:
    return Outcome(End.REFUSED, id_, code=why.code, reason=why.reason, fields=(OPT_OUT,))
