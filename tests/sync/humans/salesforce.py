"""People in Salesforce."""

import random

from app.connectors.shapes import Key
from app.sandbox.salesforce import Salesforce
from app.sandbox.salesforce.org import INTEGRATION
from app.sandbox.shapes import Clock
from tests.sync.humans.shapes import Humans, Json, Seen


class InSalesforce(Humans):
    kind = "salesforce"
    objects = ("Contact", "Lead")
    converts = "Lead"
    flow = "client_credentials"
    signs_in_with = ("client_id", "client_secret")
    calm = {"fail_next": [], "lock_every": 0, "token_calls": 0, "page_rows": 0}

    def __init__(self, clock: Clock) -> None:
        self.crm = Salesforce(clock)

    def mishap(self, dice: random.Random) -> dict[str, Json]:
        return dice.choice(
            [
                {"fail_next": ["html_502", "lost_reply", "unavailable"]},
                {"fail_next": ["fine", "lost_reply"]},
                {"lock_every": dice.choice((0, 2, 3))},
                {"token_calls": dice.choice((0, 3))},
                {"page_rows": dice.choice((0, 2))},
            ]
        )

    async def create(self, object_: str, address: str, *, is_out: bool) -> None:
        fields = {"LastName": "Doe", "Email": address, "HasOptedOutOfEmail": is_out}
        if object_ == "Lead":
            fields |= {"Company": "Acme"}
        await self.edit(do="create", object=object_, fields=fields)

    async def opt(self, key: Key, *, out: bool) -> None:
        await self._change(key, HasOptedOutOfEmail=out)

    async def forgive(self, key: Key) -> None:
        await self._change(key, EmailBouncedDate=None, EmailBouncedReason=None)

    async def readdress(self, key: Key, address: str) -> None:
        await self._change(key, Email=address)

    async def delete(self, key: Key) -> None:
        await self.edit(do="delete", id=key.id)

    async def merge(self, winner: Key, loser: Key) -> None:
        await self.edit(do="merge", id=winner.id, losers=[loser.id])

    async def convert(self, key: Key) -> None:
        await self.edit(do="convert", id=key.id)

    async def log(self, key: Key) -> None:
        await self.edit(do="log", id=key.id, object="Task", fields={"Subject": "Call", "Status": "Completed"})

    def live(self) -> dict[Key, Seen]:
        return {
            Key(name, id_): Seen(
                tuple(filter(None, [row.get("Email")])),
                bool(row.get("HasOptedOutOfEmail")),
                bool(row.get("EmailBouncedDate")),
                row["CreatedById"] == INTEGRATION,
            )
            for name in self.objects
            for id_, row in self.crm.org.table(name).rows.items()
            if not row.get("IsDeleted") and not row.get("IsConverted")
        }

    def writes(self) -> int:
        return int(self.crm.org.writes.total())

    async def _change(self, key: Key, **fields: Json) -> None:
        await self.edit(do="change", id=key.id, fields=fields)
