"""Dynamics 365, as the bench speaks to it."""

import time
from collections.abc import Mapping, Sequence

import httpx
import orjson

from app.connectors.shapes import Key, Kind
from app.sync.given import New
from app.sync.mapping import Pair
from app.sync.options import Options
from bench.crms.crm import EVERY_TENTH, Crm, Reached, as_json, words_of
from bench.crms.wire import Call, Sent

_API = "/api/data/v9.2/"


class Dynamics(Crm):
    kind = "dynamics"
    object = "contact"
    _PAGE, _MANY = 5_000, 500

    def __init__(self, http: httpx.AsyncClient, reached: Reached) -> None:
        super().__init__(http, reached, reached["base_url"])
        self._headers: dict[str, str] = {}

    async def prepare(self) -> None:
        """Everybody has a title there."""

    def connection(self, options: Options) -> New:
        names = ("tenant_id", "client_id", "client_secret", "authority")
        credentials = {name: self.reached[name] for name in names}
        return New(self.kind, self.kind, "client_credentials", credentials, self.base, options)

    def words(self) -> list[Pair]:
        return [words_of(object_, "jobtitle") for object_ in ("contact", "lead")]

    def least_reads(self, records: Mapping[str, int]) -> int:
        return sum(-(-count // self._PAGE) for count in records.values())

    def least_writes(self, records: Mapping[str, int]) -> int:
        return sum(-(-count // self._MANY) for count in records.values())

    def is_page(self, call: Call) -> bool:
        return call.method == "GET" and call.url.partition("?")[0].endswith(("/contacts", "/leads"))

    async def rewrite(self, sent: Sent, told: Sequence[Pair]) -> float:
        for pair in told:
            type_ = "Integer" if pair.kind is Kind.NUMBER else "String"
            await self.edit(do="column", object=pair.object, name=pair.there, type=type_)
        headers = as_json(await self._signed())
        began = time.perf_counter()
        for call in sent.calls():
            if "UpdateMultiple" in call.url:
                path = f"{_API.strip('/')}/{call.url.partition(_API)[2]}"
                await self.json("POST", path, content=call.content, headers=headers)
        return time.perf_counter() - began

    async def change(self, number: int, key: Key) -> None:
        fields: dict[str, str | bool] = {"jobtitle": f"Title {number % 50}"}
        if number % EVERY_TENTH == 0:
            fields["donotbulkemail"] = True
        await self.edit(do="change", id=key.id, fields=fields)

    async def bounced(self, ids: Sequence[str], field: str) -> set[str]:
        headers = self._headers = self._headers or await self._signed()
        among = ",".join(f"'{one}'" for one in ids)
        chosen = f"Microsoft.Dynamics.CRM.In(PropertyName='contactid',PropertyValues=[{among}]) and {field} eq true"
        asked = {"$select": "contactid", "$filter": chosen}
        found = await self.json("GET", f"{_API.strip('/')}/contacts", params=asked, headers=headers)
        return {row["contactid"] for row in found["value"]}

    async def _signed(self) -> dict[str, str]:
        form = {"grant_type": "client_credentials", "scope": f"{self.base}/.default"}
        form |= {name: self.reached[name] for name in ("client_id", "client_secret")}
        reply = await self.http.post(self.reached["token_url"], data=form)
        return {"Authorization": f"Bearer {orjson.loads(reply.raise_for_status().content)['access_token']}"}
