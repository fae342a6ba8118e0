"""People in Copper."""

import random

from app.connectors.shapes import Key
from app.sandbox.copper import Copper
from app.sandbox.shapes import Clock
from tests.sync.humans.shapes import Humans, Json, Seen

_OUT, _BOUNCED = "Email opt-out", "Email bounced"


class InCopper(Humans):
    kind = "copper"
    objects = ("person", "lead")
    converts = "lead"
    flow = "api_key"
    signs_in_with = ("api_key", "user_email")
    choices = {"requests_per_minute": 600_000}
    calm = {"busy_next": 0, "failing_next": 0, "search_lag_s": 0.0}

    def __init__(self, clock: Clock) -> None:
        self.crm = Copper(clock)
        self._made: set[Key] = set()

    def mishap(self, dice: random.Random) -> dict[str, Json]:
        return dice.choice(
            [
                {"busy_next": 1},
                {"failing_next": 2},
                {"search_lag_s": dice.choice((0.0, 20.0))},
                {"idle_writes_move_date": dice.random() < 0.5},
                {"vague_bulk_errors": dice.random() < 0.5},
                {"converted_leads_gone": dice.random() < 0.5},
            ]
        )

    async def create(self, object_: str, address: str, *, is_out: bool) -> None:
        point = {"email": address, "category": "work"}
        if object_ == "person" and self._holds(address):
            return  # Copper lets no two people have one address
        values: Json = {"name": "Ann Doe", **({"email": point} if object_ == "lead" else {"emails": [point]})}
        values["custom_fields"] = self._boxes(_OUT, is_on=is_out)
        made = await self.edit(do="create", object=object_, values=values)
        self._made.add(Key(object_, str(made["id"])))

    async def opt(self, key: Key, *, out: bool) -> None:
        await self._change(key, custom_fields=self._boxes(_OUT, is_on=out))

    async def forgive(self, key: Key) -> None:
        await self._change(key, custom_fields=self._boxes(_BOUNCED, is_on=False))

    async def readdress(self, key: Key, address: str) -> None:
        point = {"email": address, "category": "work"}
        await self._change(key, **({"email": point} if key.object == "lead" else {"emails": [point]}))

    async def delete(self, key: Key) -> None:
        await self.edit(do="delete", object=key.object, id=int(key.id))

    async def merge(self, winner: Key, loser: Key) -> None:
        if winner.object == "person":  # leads cannot be merged
            await self.edit(do="merge", object="person", id=int(loser.id), values={"into": int(winner.id)})

    async def convert(self, key: Key) -> None:
        made = await self.edit(do="convert", object="lead", id=int(key.id), values={})
        self._made.add(Key("person", str(made["person"]["id"])))

    async def log(self, key: Key) -> None:
        parent = {"type": key.object, "id": int(key.id)}
        call = {"category": "user", "id": 190_711}
        await self.edit(do="create", object="activity", values={"parent": parent, "type": call, "details": "Call"})

    def live(self) -> dict[Key, Seen]:
        account = self.crm.account
        out, bounced = self._field(_OUT), self._field(_BOUNCED)
        everybody = [("person", one) for one in list(account.people.rows.values())]
        everybody += [("lead", one) for one in list(account.leads.rows.values()) if one.converted_at is None]
        return {
            Key(kind, str(one.id)): Seen(
                tuple(point.value for point in one.emails),
                one.custom.get(out) is True,
                one.custom.get(bounced) is True,
                Key(kind, str(one.id)) not in self._made,
            )
            for kind, one in everybody
        }

    def writes(self) -> int:
        return int(self.crm.account.writes.total())

    def _holds(self, address: str) -> bool:
        return bool(self.crm.account.people.holders(address))

    async def _change(self, key: Key, **values: Json) -> None:
        await self.edit(do="change", object=key.object, id=int(key.id), values=values)

    def _boxes(self, label: str, *, is_on: bool) -> list[Json]:
        field = self._field(label)
        return [] if field is None else [{"custom_field_definition_id": field, "value": is_on}]

    def _field(self, label: str) -> int | None:
        return next((one.id for one in self.crm.account.definitions.values() if one.name == label), None)
