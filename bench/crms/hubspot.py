"""HubSpot, as the bench speaks to it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import httpx

from app.connectors.shapes import Key, Kind
from app.sync.given import New
from app.sync.mapping import Pair
from app.sync.options import Options
from bench.crms.crm import EVERY_TENTH, Crm, Reached, as_json, words_of
from bench.crms.wire import Call, Sent

_CONTACTS = "crm/v3/objects/contacts"
_NO_PACE = {"calls_in_10_s": 1_000_000, "searches_in_1_s": 1_000_000}
"""HubSpot's own limits let 17 calls pass in a second, and five searches."""
_UPDATE = "/contacts/batch/update"
_MANY = 100


class Hubspot(Crm):
    kind = "hubspot"
    object = "contact"

    def __init__(self, http: httpx.AsyncClient, reached: Reached) -> None:
        super().__init__(http, reached, reached["base_url"])
        self._headers = {"Authorization": f"Bearer {reached['access_token']}"}

    async def prepare(self) -> None:
        """Everybody has a title there."""

    def connection(self, options: Options) -> New:
        credentials = {"access_token": self.reached["access_token"]}
        return New(self.kind, self.kind, "private_app", credentials, self.base, replace(options, choices=_NO_PACE))

    def words(self) -> list[Pair]:
        return [words_of("contact", "jobtitle")]

    def least_reads(self, records: Mapping[str, int]) -> int:
        return sum(-(-count // _MANY) for count in records.values())

    def least_writes(self, records: Mapping[str, int]) -> int:
        return sum(-(-count // _MANY) for count in records.values())

    def is_page(self, call: Call) -> bool:
        return call.url.endswith(("/contacts", "/contacts/search", "/contacts/batch/read"))

    async def rewrite(self, sent: Sent, told: Sequence[Pair]) -> float:
        for pair in told:
            type_ = ("number", "number") if pair.kind is Kind.NUMBER else ("string", "text")
            named = dict(zip(("type", "fieldType"), type_, strict=True))
            floor = {"name": f"floor_{pair.there}", "label": f"Floor {pair.there}", **named}
            await self.edit(do="create", object="property", values=floor)
        headers = as_json(self._headers)
        began = time.perf_counter()
        for call in sent.calls():
            if call.url.endswith(_UPDATE):
                content = call.content or ""
                for pair in told:
                    content = content.replace(f'"{pair.there}"', f'"floor_{pair.there}"')
                done = await self.json("POST", f"{_CONTACTS}/batch/update", content=content, headers=headers)
                assert "numErrors" not in done, "a write of the floor was refused"
        return time.perf_counter() - began

    async def change(self, number: int, key: Key) -> None:
        await self.edit(do="change", object="contact", id=key.id, values={"jobtitle": f"Title {number % 50}"})
        if number % EVERY_TENTH == 0:
            await self.edit(do="opt_out", object="contact", id=key.id)

    async def bounced(self, ids: Sequence[str], field: str) -> set[str]:
        found: set[str] = set()
        for at in range(0, len(ids), _MANY):
            asked = {"inputs": [{"id": one} for one in ids[at : at + _MANY]], "properties": [field]}
            said = await self.json("POST", f"{_CONTACTS}/batch/read", json=asked, headers=self._headers)
            found |= {row["id"] for row in said["results"] if row["properties"].get(field) == "true"}
        return found
