"""What people do in the stand-in CRMs, and what they see there, in one vocabulary for both."""

from typing import Any, NamedTuple, Protocol

import httpx

from app.connectors.shapes import Key
from app.sandbox.pipedrive import Pipedrive
from app.sandbox.salesforce import Salesforce
from app.sandbox.salesforce.org import INTEGRATION

Json = Any  # Any: JSON


class Seen(NamedTuple):
    """A person's record as somebody in the CRM sees it."""

    addresses: tuple[str, ...]
    is_out: bool
    is_bounced: bool
    by_us: bool
    """Whether our user made it."""
    writes: int = 0


class Humans(Protocol):
    """They name fields as the pairs do: `out` and `bounced` are the CRM's fields for these."""

    @property
    def objects(self) -> tuple[str, ...]: ...

    async def create(self, object_: str, *addresses: str, is_out: bool = False) -> Key: ...
    async def change(self, key: Key, values: dict[str, Json]) -> None: ...
    async def opt(self, key: Key, *, out: bool) -> None: ...
    async def forgive(self, key: Key) -> None: ...
    async def readdress(self, key: Key, address: str) -> None: ...
    async def delete(self, key: Key) -> None: ...
    async def merge(self, winner: Key, loser: Key) -> None: ...
    async def convert(self, key: Key) -> Key | None: ...
    async def log(self, key: Key) -> None: ...
    async def fault(self, **switches: Json) -> None: ...
    async def aclose(self) -> None: ...
    def live(self) -> dict[Key, Seen]: ...
    def writes(self) -> int: ...


class _Edits:
    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=30)

    async def __call__(self, **body: Json) -> Json:
        while True:
            reply = await self._http.post("/_sandbox/edit", json=body)
            if "UNABLE_TO_LOCK_ROW" not in reply.text:
                assert 200 == reply.status_code, reply.text
                return reply.json()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def fault(self, switches: dict[str, Json]) -> None:
        reply = await self._http.put("/_sandbox/faults", json=switches)
        assert 200 == reply.status_code, reply.text


class InSalesforce:
    objects = ("Contact", "Lead")

    def __init__(self, crm: Salesforce, url: str) -> None:
        self._crm = crm
        self._edit = _Edits(url)

    async def create(self, object_: str, *addresses: str, is_out: bool = False) -> Key:
        fields = {"LastName": "Doe", "Email": addresses[0], "HasOptedOutOfEmail": is_out}
        if object_ == "Lead":
            fields |= {"Company": "Acme"}
        return Key(object_, (await self._edit(do="create", object=object_, fields=fields))["id"])

    async def change(self, key: Key, values: dict[str, Json]) -> None:
        await self._edit(do="change", id=key.id, fields=values)

    async def opt(self, key: Key, *, out: bool) -> None:
        await self.change(key, {"HasOptedOutOfEmail": out})

    async def forgive(self, key: Key) -> None:
        await self.change(key, {"EmailBouncedDate": None, "EmailBouncedReason": None})

    async def readdress(self, key: Key, address: str) -> None:
        await self.change(key, {"Email": address})

    async def delete(self, key: Key) -> None:
        await self._edit(do="delete", id=key.id)

    async def merge(self, winner: Key, loser: Key) -> None:
        await self._edit(do="merge", id=winner.id, losers=[loser.id])

    async def convert(self, key: Key) -> Key | None:
        return Key("Contact", (await self._edit(do="convert", id=key.id))["id"])

    async def log(self, key: Key) -> None:
        await self._edit(do="log", id=key.id, object="Task", fields={"Subject": "Call", "Status": "Completed"})

    async def fault(self, **switches: Json) -> None:
        await self._edit.fault(switches)

    async def aclose(self) -> None:
        await self._edit.aclose()

    def live(self) -> dict[Key, Seen]:
        return {
            Key(name, id_): Seen(
                tuple(filter(None, [row.get("Email")])),
                bool(row.get("HasOptedOutOfEmail")),
                bool(row.get("EmailBouncedDate")),
                row["CreatedById"] == INTEGRATION,
            )
            for name in self.objects
            for id_, row in self._crm.org.table(name).rows.items()
            if not row.get("IsDeleted") and not row.get("IsConverted")
        }

    def writes(self) -> int:
        return self._crm.org.writes.total()


class InPipedrive:
    objects = ("person",)

    def __init__(self, crm: Pipedrive, url: str) -> None:
        self._crm = crm
        self._edit = _Edits(url)
        self._made: set[int] = set()

    async def create(self, object_: str, *addresses: str, is_out: bool = False) -> Key:  # noqa: ARG002
        emails = [{"value": one, "primary": at == 0} for at, one in enumerate(addresses)]
        values: Json = {"name": "Ann Doe", "emails": emails}
        if is_out and (code := self._code("Email opt-out")) is not None:
            values["custom_fields"] = {code: self._option(code, "Yes")}
        made = await self._edit(do="create", object="person", values=values)
        self._made.add(made["id"])
        return Key("person", str(made["id"]))

    async def change(self, key: Key, values: dict[str, Json]) -> None:
        await self._edit(do="change", object="person", id=int(key.id), values=values)

    async def opt(self, key: Key, *, out: bool) -> None:
        await self._choose(key, "Email opt-out", is_yes=out)

    async def forgive(self, key: Key) -> None:
        await self._choose(key, "Email bounced", is_yes=False)

    async def readdress(self, key: Key, address: str) -> None:
        await self.change(key, {"emails": [{"value": address, "primary": True}]})

    async def delete(self, key: Key) -> None:
        await self._edit(do="delete", object="person", id=int(key.id))

    async def merge(self, winner: Key, loser: Key) -> None:
        await self._edit(do="merge", object="person", id=int(loser.id), values={"merge_with_id": int(winner.id)})

    async def convert(self, key: Key) -> Key | None:  # noqa: ARG002
        return None

    async def log(self, key: Key) -> None:
        values = {"subject": "Call", "type": "call", "done": True, "participants": [{"person_id": int(key.id)}]}
        await self._edit(do="create", object="activity", values=values)

    async def fault(self, **switches: Json) -> None:
        await self._edit.fault(switches)

    async def aclose(self) -> None:
        await self._edit.aclose()

    def live(self) -> dict[Key, Seen]:
        out, bounced = self._code("Email opt-out"), self._code("Email bounced")
        return {
            Key("person", str(one.id)): Seen(
                tuple(point.value for point in one.emails),
                self._is_yes(one.custom, out),
                self._is_yes(one.custom, bounced),
                one.id not in self._made,
                one.writes,
            )
            for one in list(self._crm.company.persons.values())
            if not one.is_deleted
        }

    def writes(self) -> int:
        return sum(one.writes for one in self._crm.company.persons.values())

    async def _choose(self, key: Key, label: str, *, is_yes: bool) -> None:
        if (code := self._code(label)) is not None:
            await self.change(key, {"custom_fields": {code: self._option(code, "Yes" if is_yes else "No")}})

    def _code(self, label: str) -> str | None:
        known = self._crm.company.fields["person"].values()
        return next((one.code for one in known if one.is_custom and one.name == label), None)

    def _option(self, code: str, label: str) -> int:
        options = self._crm.company.fields["person"][code].options or {}
        return next(int(number) for number, one in options.items() if one == label)

    def _is_yes(self, custom: dict[str, Json], code: str | None) -> bool:
        return code is not None and custom.get(code) == self._option(code, "Yes")
