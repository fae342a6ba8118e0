"""Pipedrive, as the bench speaks to it."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from app.connectors.shapes import Key, Kind
from app.sync.given import New
from app.sync.mapping import Pair
from app.sync.options import Options
from bench.crms.crm import EVERY_TENTH, Crm, Reached, as_json, words_of
from bench.crms.wire import Call, Sent


class Pipedrive(Crm):
    kind = "pipedrive"
    object = "person"
    calls_in_2_s = 480
    _PAGE = 500
    _WIDTH = 8
    """So many writes at once has the connector under way."""

    def __init__(self, http: httpx.AsyncClient, reached: Reached) -> None:
        super().__init__(http, reached, reached["base_url"])
        # Of another user: limits are counted by the token.
        self._headers = {"x-api-token": reached["api_token_of_another_user"]}
        self._industry = ""

    async def prepare(self) -> None:
        self._industry = await self._made("Industry", "varchar")

    def connection(self, options: Options) -> New:
        credentials = {name: self.reached[name] for name in ("client_id", "client_secret", "refresh_token")}
        return New(self.kind, self.kind, "oauth", credentials, self.base, options)

    def words(self) -> list[Pair]:
        return [words_of("person", self._industry)]

    def least_reads(self, records: Mapping[str, int]) -> int:
        return -(-sum(records.values()) // self._PAGE)

    def least_writes(self, records: Mapping[str, int]) -> int:
        return sum(records.values())

    def is_page(self, call: Call) -> bool:
        return call.method == "GET" and call.url.endswith("/persons")

    async def rewrite(self, sent: Sent, told: Sequence[Pair]) -> float:
        kinds = {pair.there: "double" if pair.kind is Kind.NUMBER else "varchar" for pair in told}
        codes = {there: await self._made(f"Field {there}", kind) for there, kind in kinds.items()}
        begun = iter(call for call in sent.calls() if call.method == "PATCH")

        async def lane() -> None:
            for call in begun:
                content = call.content or ""
                for there, here in codes.items():
                    content = content.replace(there, here)
                path = f"api/v2/persons/{call.url.rpartition('/')[2]}"
                await self.json("PATCH", path, content=content, headers=as_json(self._headers))

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(self._WIDTH)))
        return time.perf_counter() - began

    async def change(self, number: int, key: Key) -> None:
        values: dict[str, Any] = {"custom_fields": {self._industry: f"Industry {number % 50}"}}  # Any: JSON
        if number % EVERY_TENTH == 0:
            values["marketing_status"] = "unsubscribed"
        await self.edit(do="change", object="person", id=int(key.id), values=values)

    async def bounced(self, ids: Sequence[str], field: str) -> set[str]:
        asked: dict[str, str | int] = {"ids": ",".join(ids), "custom_fields": field, "limit": len(ids)}
        found = await self.json("GET", "api/v2/persons", params=asked, headers=self._headers)
        return {str(row["id"]) for row in found["data"] if row["custom_fields"].get(field) is not None}

    async def _made(self, name: str, kind: str) -> str:
        values = {"field_name": name, "field_type": kind}
        return str((await self.edit(do="create", object="field", values=values))["field_code"])
