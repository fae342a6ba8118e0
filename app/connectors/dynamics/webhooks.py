"""Webhooks: what the environment tells us of changes, and having it tell us.

They are not signed; the key is in the address that they call. They may come twice, late, out of order, or not at all,
and what is over 256 kB lacks what was written: they are hints. Steps are asynchronous, so that nobody's work waits for
us, and those for updates name their columns, so that a score that we tell is not told back.

Source: Microsoft Learn, "Use WebHooks to create external handlers for server events", "Register a WebHook".
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from app.connectors.dynamics import values
from app.connectors.dynamics.api import TAG, Api, Row, address
from app.connectors.dynamics.columns import Described
from app.connectors.dynamics.making import OURS, Making
from app.connectors.faults import Refused, Unreachable
from app.connectors.shapes import Hint, Key, Kind, Notice

_NAME = "Leadtally"
_WEBHOOK, _KEY_IN_ADDRESS, _JSON = 8, 4, 2
_AFTER, _LATER = 40, 1
"""The stage and the mode of a step: once it is done, and not while somebody waits."""
_MESSAGES = ("Create", "Update", "Delete", "Merge")
_OF_STATE = ("statecode",)
_BOUNCED = "email_bounced"


def read(body: bytes, objects: Sequence[str]) -> Notice:
    """What a call says; of our own writes, and of what does not concern us, nothing. Raises ValueError."""
    said = orjson.loads(body)
    message, object_ = (
        (said.get("MessageName"), said.get("PrimaryEntityName")) if isinstance(said, dict) else (None, None)
    )
    if not isinstance(message, str) or not isinstance(object_, str):
        raise ValueError("the call is none of a webhook")  # noqa: TRY004 - what was sent is wrong
    id_ = values.guid(said.get("PrimaryEntityId"))
    if id_ is None:
        raise ValueError("the call names no record")
    if object_ not in objects or _is_ours(said):
        return Notice([])
    hints = [Hint(Key(object_, id_))]
    loser = values.guid(_parameter(said, "SubordinateId")) if message == "Merge" else None
    if loser is not None:
        hints.append(Hint(Key(object_, loser), Key(object_, id_)))
    return Notice(hints)


def _is_ours(said: dict[str, Any]) -> bool:  # Any: JSON
    """Whether it tells of a write of ours, and not of what some plug-in did after it."""
    return said.get("Depth") == 1 and _among(said.get("SharedVariables"), "tag") == TAG


def _parameter(said: dict[str, Any], name: str) -> object:  # Any: JSON
    return _among(said.get("InputParameters"), name)


def _among(pairs: object, name: str) -> object:
    listed = pairs if isinstance(pairs, list) else []
    return next((one.get("value") for one in listed if isinstance(one, dict) and one.get("key") == name), None)


# --- having it tell us ------------------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """What is to be told of one message of one table."""

    object: str
    message: str
    message_id: str
    filter_id: str


class Webhooks:
    def __init__(self, api: Api, described: Described, making: Making, objects: Sequence[str]) -> None:
        self._api = api
        self._described = described
        self._making = making
        self._objects = objects

    async def subscribe(self, url: str, password: str) -> str | None:
        """Register the address and its steps, unless they are there; how by hand, where our user may not."""
        try:
            endpoint = await self._endpoint(url) or await self._make_endpoint(url, password)
            there = await self._there(endpoint)
            for step in await self._steps():
                columns = await self._columns(step.object) if step.message == "Update" else []
                known = there.get(step.filter_id)
                if known is None:
                    await self._make_step(endpoint, step, columns)
                elif not {*columns} <= {*str(known.get("filteringattributes") or "").split(",")}:
                    path = address(f"sdkmessageprocessingsteps({known['sdkmessageprocessingstepid']})")
                    change = {"filteringattributes": ",".join(columns)}
                    await self._api.call("PATCH", path, headers={"If-Match": "*"}, json=change)
        except Refused as fault:
            return recipe(url, self._objects, fault)
        return None

    async def _endpoint(self, url: str) -> str | None:
        path = address("serviceendpoints", select="serviceendpointid,url", filter=f"contract eq {_WEBHOOK}")
        rows = await self._all(path)
        return next((str(row["serviceendpointid"]) for row in rows if row.get("url") == url), None)

    async def _make_endpoint(self, url: str, password: str) -> str:
        said = {
            "name": _NAME,
            "contract": _WEBHOOK,
            "url": url,
            "authtype": _KEY_IN_ADDRESS,
            "messageformat": _JSON,
            "authvalue": password,
        }
        reply = await self._api.call("POST", address("serviceendpoints"), json=said)
        made = values.guid(reply.headers.get("odata-entityid", "").rpartition("(")[2].rstrip(")"))
        if made is None:
            raise Unreachable("it is not said which endpoint was made")
        return made

    async def _there(self, endpoint: str) -> dict[str, Row]:
        """Steps by their filters."""
        select = "sdkmessageprocessingstepid,filteringattributes,_sdkmessagefilterid_value"
        where = f"_eventhandler_value eq {endpoint}"
        rows = await self._all(address("sdkmessageprocessingsteps", select=select, filter=where))
        return {str(row.get("_sdkmessagefilterid_value")): row for row in rows}

    async def _steps(self) -> list[_Step]:
        """Of those messages that there are; what there is not, nothing is told of."""
        there = [object_ for object_ in self._objects if await self._described.table(object_) is not None]
        tables = " or ".join(f"primaryobjecttypecode eq '{object_}'" for object_ in there)
        messages = " or ".join(f"sdkmessageid/name eq '{one}'" for one in _MESSAGES)
        path = address(
            "sdkmessagefilters",
            select="sdkmessagefilterid,primaryobjecttypecode,_sdkmessageid_value",
            filter=f"({tables}) and ({messages})",
            expand="sdkmessageid($select=name)",
        )
        found = []
        for row in await self._all(path):
            message = row.get("sdkmessageid")
            name = message.get("name") if isinstance(message, dict) else None
            ids = str(row.get("_sdkmessageid_value")), str(row.get("sdkmessagefilterid"))
            found.append(_Step(str(row.get("primaryobjecttypecode")), str(name), *ids))
        return found

    async def _columns(self, object_: str) -> list[str]:
        """Whatever can be mapped, but for the scores that we write ourselves."""
        table = await self._described.tables(object_)
        ours = f"{await self._making.prefix()}_{OURS}_"
        names = [
            one.name
            for one in table.columns.values()
            if table.mappable(one.name) is not None and one.shown.is_writable and not one.parts
        ]
        told = [one for one in names if not one.startswith(ours) or one == ours + _BOUNCED]
        kinds = [one for one in _OF_STATE if one in table.columns and table.columns[one].shown.kind is Kind.CHOICE]
        return sorted([*told, *kinds])

    async def _make_step(self, endpoint: str, step: _Step, columns: Sequence[str]) -> None:
        said: dict[str, Any] = {  # Any: JSON
            "name": f"{_NAME}: {step.message} of {step.object}",
            "stage": _AFTER,
            "mode": _LATER,
            "rank": 1,
            "supporteddeployment": 0,
            "asyncautodelete": True,
            "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({endpoint})",
            "sdkmessageid@odata.bind": f"/sdkmessages({step.message_id})",
            "sdkmessagefilterid@odata.bind": f"/sdkmessagefilters({step.filter_id})",
        }
        if columns:
            said["filteringattributes"] = ",".join(columns)
        await self._api.call("POST", address("sdkmessageprocessingsteps"), json=said)

    async def _all(self, path: str) -> list[Row]:
        return (await self._api.lists([path]))[0]


def recipe(url: str, objects: Sequence[str], fault: Refused) -> str:
    """For an administrator."""
    messages, tables = ", ".join(_MESSAGES), " and ".join(objects)
    why = f"Dynamics refused it ({fault.code}). Changes are looked for every few minutes all the same."
    key = "Authentication: WebhookKey, with the last part of that address as its value."
    how = "PostOperation, Asynchronous, and delete the job if it is successful."
    which = "the addresses, the flags, the names and the status, and not the scores."
    return "\n".join(
        (
            f"{why} To be told at once, as an administrator, by Microsoft's Plug-in Registration tool:",
            f"1. Register > Register New Web Hook. Name: {_NAME}. Endpoint URL: {url}. {key}",
            f"2. On it, Register New Step, once for each of the messages {messages} and the tables {tables}: {how}",
            f"3. For Update choose as filtering attributes {which}",
        )
    )
