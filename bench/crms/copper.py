"""Copper, as the bench speaks to it."""

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

_API = "developer_api/v1"
_NO_PACE = {"requests_per_minute": 600_000}
"""Copper's own limit would make this take hours: ten people a call, and 180 calls a minute."""
_BULK = "/bulk_update"


class Copper(Crm):
    kind = "copper"
    object = "person"
    _PAGE, _MANY = 200, 10

    def __init__(self, http: httpx.AsyncClient, reached: Reached) -> None:
        super().__init__(http, reached, reached["base_url"])
        self._headers = {
            "X-PW-AccessToken": reached["api_key"],
            "X-PW-Application": "developer_api",
            "X-PW-UserEmail": reached["user_email"],
        }
        self._industry = self._out = 0

    async def prepare(self) -> None:
        self._industry = await self._made("Industry", "String")

    def connection(self, options: Options) -> New:
        credentials = {name: self.reached[name] for name in ("api_key", "user_email")}
        return New(self.kind, self.kind, "api_key", credentials, self.base, replace(options, choices=_NO_PACE))

    def words(self) -> list[Pair]:
        return [words_of(object_, f"cf_{self._industry}") for object_ in ("person", "lead")]

    def least_reads(self, records: Mapping[str, int]) -> int:
        return sum(-(-count // self._PAGE) for count in records.values())

    def least_writes(self, records: Mapping[str, int]) -> int:
        return sum(-(-count // self._MANY) for count in records.values())

    def is_page(self, call: Call) -> bool:
        return call.url.endswith(("/people/search", "/leads/search"))

    async def rewrite(self, sent: Sent, told: Sequence[Pair]) -> float:
        kinds = {pair.there: "Float" if pair.kind is Kind.NUMBER else "String" for pair in told}
        made = {there: await self._made(f"Field {there}", kind) for there, kind in kinds.items()}
        named = {f'"custom_field_definition_id":{there.removeprefix("cf_")},': here for there, here in made.items()}
        headers = as_json(self._headers)
        began = time.perf_counter()
        for call in sent.calls():
            if call.url.endswith(_BULK):
                content = call.content or ""
                for there, here in named.items():
                    content = content.replace(there, f'"custom_field_definition_id":{here},')
                path = f"{_API}/{call.url.split('/')[-2]}{_BULK}"
                done = await self.json(call.method, path, content=content, headers=headers)
                assert all("id" in one for one in done), "a write of the floor was refused"
        return time.perf_counter() - began

    async def change(self, number: int, key: Key) -> None:
        values: dict[str, object] = {"title": f"Title {number % 50}"}
        fields: list[dict[str, object]] = [
            {"custom_field_definition_id": self._industry, "value": f"Industry {number % 50}"}
        ]
        if number % EVERY_TENTH == 0:
            fields.append({"custom_field_definition_id": await self._opt_out(), "value": True})
        values["custom_fields"] = fields
        await self.edit(do="change", object=key.object, id=int(key.id), values=values)

    async def bounced(self, ids: Sequence[str], field: str) -> set[str]:
        asked = {"ids": [int(one) for one in ids], "page_size": len(ids)}
        found = await self.json("POST", f"{_API}/people/search", json=asked, headers=self._headers)
        wanted = int(field.removeprefix("cf_"))
        return {
            str(row["id"])
            for row in found
            for one in row["custom_fields"]
            if one["custom_field_definition_id"] == wanted and one["value"]
        }

    async def _made(self, name: str, kind: str) -> int:
        values = {"name": name, "data_type": kind, "available_on": ["person", "lead"]}
        return int((await self.edit(do="create", object="field", values=values))["id"])

    async def _opt_out(self) -> int:
        """The field that the connection has made."""
        if not self._out:
            known = await self.json("GET", f"{_API}/custom_field_definitions", headers=self._headers)
            self._out = next(int(one["id"]) for one in known if one["name"] == "Email opt-out")
        return self._out
