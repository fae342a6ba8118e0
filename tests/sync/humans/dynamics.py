"""People in Dynamics 365."""

import random

from app.connectors.shapes import Key
from app.sandbox.dynamics import Dynamics
from app.sandbox.dynamics.org import INTEGRATION
from app.sandbox.dynamics.wire import Row
from app.sandbox.shapes import Clock
from tests.sync.humans.shapes import Humans, Json, Seen

_OUT, _BOUNCED = "donotbulkemail", "new_leadtally_email_bounced"
_OPEN = 0


class InDynamics(Humans):
    kind = "dynamics"
    objects = ("contact", "lead")
    converts = "lead"
    flow = "client_credentials"
    signs_in_with = ("tenant_id", "client_id", "client_secret", "authority")
    calm = {
        "fail_next": [], "fail_parts": [], "lock_every": 0, "token_calls": 0, "page_rows": 0, "lose_deltas": False,
        "lose_cookies": False,
    }  # fmt: skip

    def __init__(self, clock: Clock) -> None:
        self.crm = Dynamics(clock)

    def mishap(self, dice: random.Random) -> dict[str, Json]:
        return dice.choice(
            [
                {"fail_next": ["html_502", "lost_reply", "unavailable"]},
                {"fail_next": ["fine", "throttled"]},
                {"fail_parts": ["deadlock", "fine", "throttled"]},
                {"lock_every": dice.choice((0, 2, 3))},
                {"token_calls": dice.choice((0, 12))},
                {"page_rows": dice.choice((0, 2))},
                {"lose_deltas": dice.random() < 0.5},
                {"untracked": dice.choice(([], ["contact"]))},
                {"no_multiple": dice.choice(([], ["contact"]))},
            ]
        )

    async def create(self, object_: str, address: str, *, is_out: bool) -> None:
        fields = {"lastname": "Doe", "emailaddress1": address, _OUT: is_out}
        await self.edit(do="create", object=object_, fields=fields)

    async def opt(self, key: Key, *, out: bool) -> None:
        await self._change(key, {_OUT: out})

    async def forgive(self, key: Key) -> None:
        if self._knows(key.object, _BOUNCED):
            await self._change(key, {_BOUNCED: False})

    async def readdress(self, key: Key, address: str) -> None:
        await self._change(key, {"emailaddress1": address})

    async def delete(self, key: Key) -> None:
        await self.edit(do="delete", id=key.id)

    async def merge(self, winner: Key, loser: Key) -> None:
        await self.edit(do="merge", id=winner.id, loser=loser.id)

    async def convert(self, key: Key) -> None:
        await self.edit(do="qualify", id=key.id)

    async def log(self, key: Key) -> None:
        await self.edit(do="log", ids=[key.id], fields={"subject": "Call"})

    def live(self) -> dict[Key, Seen]:
        return {
            Key(name, id_): Seen(
                tuple(filter(None, [row.get("emailaddress1")])),
                row.get(_OUT) is True,
                row.get(_BOUNCED) is True,
                _is_ours(row),
            )
            for name in self.objects
            for id_, row in list(self.crm.org.rows(name).by_id.items())
            if row.get("statecode", _OPEN) == _OPEN
        }

    def writes(self) -> int:
        return int(self.crm.org.writes.total())

    async def _change(self, key: Key, fields: dict[str, Json]) -> None:
        await self.edit(do="change", id=key.id, fields=fields)

    def _knows(self, object_: str, column: str) -> bool:
        return column in self.crm.org.tables[object_].columns


def _is_ours(row: Row) -> bool:
    by = row.get("createdby")
    return by is not None and by.id == INTEGRATION
