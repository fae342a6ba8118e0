"""People in Pipedrive."""

import random

from app.connectors.shapes import Key
from app.sandbox.pipedrive import Pipedrive
from app.sandbox.shapes import Clock
from tests.sync.humans.shapes import Humans, Json, Seen

_OUT, _BOUNCED = "Email opt-out", "Email bounced"


class InPipedrive(Humans):
    kind = "pipedrive"
    objects = ("person",)
    flow = "oauth"
    signs_in_with = ("client_id", "client_secret")
    refresh_token = "refresh_token"
    creates = True
    calm = {"unauthorized_next": 0, "busy_next": 0, "unavailable_next": 0, "search_lag_s": 0.0}

    def __init__(self, clock: Clock) -> None:
        self.crm = Pipedrive(clock)
        self.crm.faults.without_campaigns = True
        self._made: set[int] = set()

    def mishap(self, dice: random.Random) -> dict[str, Json]:
        return dice.choice(
            [
                {"unauthorized_next": 1},
                {"busy_next": 2},
                {"unavailable_next": 2},
                {"omit_unset_fields": dice.random() < 0.5},
                {"search_lag_s": dice.choice((0.0, 5.0))},
            ]
        )

    async def create(self, object_: str, address: str, *, is_out: bool) -> None:  # noqa: ARG002 - there is one
        values: Json = {"name": "Ann Doe", "emails": [{"value": address, "primary": True}]}
        if is_out and (code := self._code(_OUT)) is not None:
            values["custom_fields"] = {code: self._option(code, "Yes")}
        made = await self.edit(do="create", object="person", values=values)
        self._made.add(made["id"])

    async def opt(self, key: Key, *, out: bool) -> None:
        await self._choose(key, _OUT, is_yes=out)

    async def forgive(self, key: Key) -> None:
        await self._choose(key, _BOUNCED, is_yes=False)

    async def readdress(self, key: Key, address: str) -> None:
        await self._change(key, {"emails": [{"value": address, "primary": True}]})

    async def delete(self, key: Key) -> None:
        await self.edit(do="delete", object="person", id=int(key.id))

    async def merge(self, winner: Key, loser: Key) -> None:
        await self.edit(do="merge", object="person", id=int(loser.id), values={"merge_with_id": int(winner.id)})

    async def log(self, key: Key) -> None:
        values = {"subject": "Call", "type": "call", "done": True, "participants": [{"person_id": int(key.id)}]}
        await self.edit(do="create", object="activity", values=values)

    def live(self) -> dict[Key, Seen]:
        out, bounced = self._code(_OUT), self._code(_BOUNCED)
        return {
            Key("person", str(one.id)): Seen(
                tuple(point.value for point in one.emails),
                self._is_yes(one.custom, out),
                self._is_yes(one.custom, bounced),
                one.id not in self._made,
            )
            for one in list(self.crm.company.persons.values())
            if not one.is_deleted
        }

    def writes(self) -> int:
        return sum(one.writes for one in self.crm.company.persons.values())

    async def _change(self, key: Key, values: dict[str, Json]) -> None:
        await self.edit(do="change", object="person", id=int(key.id), values=values)

    async def _choose(self, key: Key, label: str, *, is_yes: bool) -> None:
        if (code := self._code(label)) is not None:
            await self._change(key, {"custom_fields": {code: self._option(code, "Yes" if is_yes else "No")}})

    def _code(self, label: str) -> str | None:
        known = self.crm.company.fields["person"].values()
        return next((one.code for one in known if one.is_custom and one.name == label), None)

    def _option(self, code: str, label: str) -> int:
        options = self.crm.company.fields["person"][code].options or {}
        return next(int(number) for number, one in options.items() if one == label)

    def _is_yes(self, custom: dict[str, Json], code: str | None) -> bool:
        return code is not None and custom.get(code) == self._option(code, "Yes")
