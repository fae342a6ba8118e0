"""People in HubSpot."""

import random

from app.connectors.shapes import Key
from app.sandbox.hubspot import Hubspot
from app.sandbox.shapes import Clock
from tests.sync.humans.shapes import Humans, Json, Seen

_OUT, _BOUNCED = "hs_email_optout", "leadtally_email_bounced"


class InHubspot(Humans):
    kind = "hubspot"
    objects = ("contact",)
    flow = "oauth"
    signs_in_with = ("client_id", "client_secret")
    refresh_token = "refresh_token"
    choices = {"calls_in_10_s": 100_000, "searches_in_1_s": 100_000}
    creates = True
    calm = {
        "unauthorized_next": 0, "busy_next": 0, "token_calls": 0, "fail_next": [], "search_lag_s": 0.0, "page_rows": 0,
    }  # fmt: skip

    def __init__(self, clock: Clock) -> None:
        self.crm = Hubspot(clock)
        # Where HubSpot lets nobody but the person opt in again, that is held for ever: there is no quiet.
        self.crm.faults.resubscribe_allowed = True

    def mishap(self, dice: random.Random) -> dict[str, Json]:
        return dice.choice(
            [
                {"fail_next": ["html_502", "lost_reply", "unavailable"]},
                {"fail_next": ["fine", "lost_reply", "locked"]},
                {"unauthorized_next": 1},
                {"busy_next": 1},
                {"token_calls": dice.choice((0, 30))},
                {"page_rows": dice.choice((0, 2))},
                {"search_lag_s": dice.choice((0.0, 20.0))},
                {"shuffle_ties": dice.random() < 0.5},
                {"quiet_opt_out": dice.random() < 0.5},
                {"idle_writes_move_time": dice.random() < 0.5},
                {"id_property_primary_only": dice.random() < 0.5},
                {"forget_merged": dice.random() < 0.5, "refuse_merged_writes": dice.random() < 0.5},
                {"merge_makes_new_record": dice.random() < 0.5},
            ]
        )

    async def create(self, object_: str, address: str, *, is_out: bool) -> None:
        if address in self.crm.portal.tables["contacts"].holders:
            return  # HubSpot lets no two contacts have one address
        made = await self._do("create", object_, None, email=address, firstname="Ann", lastname="Doe")
        if is_out:
            await self._do("opt_out", object_, made["id"])

    async def opt(self, key: Key, *, out: bool) -> None:
        await self._do("opt_out" if out else "opt_in", "contact", key.id)

    async def forgive(self, key: Key) -> None:
        if _BOUNCED in self.crm.portal.properties["contacts"]:
            await self._do("change", "contact", key.id, **{_BOUNCED: "false"})

    async def readdress(self, key: Key, address: str) -> None:
        await self._do("change", "contact", key.id, email=address)

    async def delete(self, key: Key) -> None:
        await self._do("delete", "contact", key.id)

    async def merge(self, winner: Key, loser: Key) -> None:
        await self._do("merge", "contact", loser.id, into=winner.id)

    async def log(self, key: Key) -> None:
        await self._do("create", "call", None, hs_call_title="Call", hs_call_status="COMPLETED", contacts=[key.id])

    def live(self) -> dict[Key, Seen]:
        return {
            Key("contact", str(one.id)): Seen(
                tuple(
                    filter(
                        None,
                        (one.values.get("email"), *one.values.get("hs_additional_emails", "").split(";")),
                    )
                ),
                one.values.get(_OUT) == "true",
                one.values.get(_BOUNCED) == "true",
                one.creator.source == "INTEGRATION",
            )
            for one in list(self.crm.portal.tables["contacts"].live.values())
        }

    def writes(self) -> int:
        return sum(self.crm.portal.writes["contacts"].values())

    async def _do(self, do: str, object_: str, id_: str | None, **values: Json) -> Json:
        return await self.edit(do=do, object=object_, id=id_, values=values)
