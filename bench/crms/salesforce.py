"""Salesforce, as the bench speaks to it."""

import asyncio
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


class Salesforce(Crm):
    kind = "salesforce"
    object = "Contact"
    _PAGE, _COLLECTION, _JOB = 2_000, 200, 10_000
    _JOB_CALLS = 7
    """Made, filled, closed, polled, two results, deleted."""

    def __init__(self, http: httpx.AsyncClient, reached: Reached) -> None:
        super().__init__(http, reached, reached["instance_url"])
        self._data = f"services/data/v{reached['api_version']}"
        self._headers: dict[str, str] = {}

    async def prepare(self) -> None:
        """Everybody has a title there."""

    def connection(self, options: Options) -> New:
        credentials = {name: self.reached[name] for name in ("client_id", "client_secret")}
        return New(self.kind, self.kind, "client_credentials", credentials, self.base, options)

    def words(self) -> list[Pair]:
        return [words_of(object_, "Title") for object_ in ("Contact", "Lead")]

    def least_reads(self, records: Mapping[str, int]) -> int:
        return sum(-(-count // self._PAGE) for count in records.values())

    def least_writes(self, records: Mapping[str, int]) -> int:
        """By collections, whose calls hold several objects, or by jobs of one object each."""
        by_job = self._JOB_CALLS * sum(-(-count // self._JOB) for count in records.values())
        return min(-(-sum(records.values()) // self._COLLECTION), by_job)

    def is_page(self, call: Call) -> bool:
        soql = str((call.params or {}).get("q", ""))
        return any(f" FROM {object_} " in soql for object_ in ("Contact", "Lead"))

    async def rewrite(self, sent: Sent, told: Sequence[Pair]) -> float:
        for pair in told:
            kind = {"type": "Number", "precision": 18, "scale": 0}
            if pair.kind is not Kind.NUMBER:
                kind = {"type": "Text", "length": 255}
            await self.edit(do="field", object=pair.object, name=pair.there, fields=kind)
        headers = await self._signed()
        about = b""
        began = time.perf_counter()
        for call in sent.calls():
            content = (call.content or "").encode()
            match call.method, call.url.rpartition("/")[2]:
                case "POST", "ingest":
                    about = content
                case "PUT", "batches":
                    await self._job(about, content, headers)
                case "PATCH", "sobjects":
                    path = f"{self._data}/composite/sobjects"
                    done = await self.json("PATCH", path, content=content, headers=as_json(headers))
                    assert all(one["success"] for one in done), "a write of the floor was refused"
        return time.perf_counter() - began

    async def _job(self, about: bytes, csv: bytes, headers: dict[str, str]) -> None:
        made = await self.json("POST", f"{self._data}/jobs/ingest", content=about, headers=as_json(headers))
        path = f"{self._data}/jobs/ingest/{made['id']}"
        as_csv = {**headers, "Content-Type": "text/csv; charset=UTF-8"}
        await self.http.put(f"{self.base}/{path}/batches", content=csv, headers=as_csv)
        state = (await self.json("PATCH", path, json={"state": "UploadComplete"}, headers=headers))["state"]
        while state not in ("JobComplete", "Failed"):
            await asyncio.sleep(0.01)
            job = await self.json("GET", path, headers=headers)
            state = job["state"]
        assert not job["numberRecordsFailed"], "a write of the floor was refused"
        for file in ("successfulResults", "failedResults"):
            await self.http.get(f"{self.base}/{path}/{file}", headers=headers)
        await self.http.delete(f"{self.base}/{path}", headers=headers)

    async def change(self, number: int, key: Key) -> None:
        fields: dict[str, str | bool] = {"Title": f"Title {number % 50}"}
        if number % EVERY_TENTH == 0:
            fields["HasOptedOutOfEmail"] = True
        await self.edit(do="change", id=key.id, fields=fields)

    async def bounced(self, ids: Sequence[str], field: str) -> set[str]:
        headers = self._headers = self._headers or await self._signed()
        among = ",".join(f"'{one}'" for one in ids)
        soql = f"SELECT Id FROM Contact WHERE Id IN ({among}) AND {field} != null"
        found = await self.json("GET", f"{self._data}/query", params={"q": soql}, headers=headers)
        return {row["Id"] for row in found["records"]}

    async def _signed(self) -> dict[str, str]:
        names = ("client_id", "client_secret")
        form = {"grant_type": "client_credentials", **{name: self.reached[name] for name in names}}
        said = orjson.loads((await self.http.post(self.reached["token_url"], data=form)).raise_for_status().content)
        return {"Authorization": f"Bearer {said['access_token']}"}
