"""Telling webhooks what was written. Source: "Use WebHooks to create external handlers for server events".

A step of the asynchronous kind tells once. 502, 503 and 504 get one more try; whatever else is no success ends as a
failed system job, and is not told again.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx
import orjson

from app.sandbox import delivery
from app.sandbox.delivery import Attempt
from app.sandbox.dynamics.columns import CHOICES, Table
from app.sandbox.dynamics.org import ORGANIZATION, Event, Org
from app.sandbox.dynamics.wire import Json, Ref, Row
from app.sandbox.oauth import with_query

_PATIENCE_S = 60.0
_AGAIN = (502, 503, 504)
_WAITS = (timedelta(seconds=30),)
_LARGEST = 256 * 1_024
_WEBHOOK, _ASYNCHRONOUS = 8, 1
_KEY, _HEADER, _QUERY = 4, 5, 6
_CONTRACTS = "http://schemas.microsoft.com/xrm/2011/Contracts"


class _Step(NamedTuple):
    id: str
    """Of its endpoint."""
    name: str
    endpoint: Row


class _Message(NamedTuple):
    headers: dict[str, str]
    body: bytes


class Delivery(delivery.Delivery[_Step]):
    def __init__(self, org: Org) -> None:
        super().__init__(org.clock, org.faults, _PATIENCE_S)
        self._org = org

    def wake(self) -> None:
        """Tell what was written since, while other calls are answered."""
        events, self._org.events = self._org.events, []
        if not events or not self._org.rows("sdkmessageprocessingstep").by_id:
            return
        for event in events:
            for step in self._listening(event):
                self.add(step, self._message(event))
        self.start()

    async def deliver(self, http: httpx.AsyncClient, chosen: list[Attempt[_Step]]) -> None:
        for attempt in chosen:
            step, message = attempt.receiver, attempt.message
            url, headers = _addressed(step.endpoint)
            status = await self.post(http, url, message.body, message.headers | headers)
            if delivery.is_success(status):
                self.delivered += 1
            elif status not in _AGAIN or not self.try_again(attempt, _WAITS):
                self.failed += 1
                said = f"The webhook was answered {status}." if status is not None else "The webhook was not answered."
                job: Row = {"name": step.name, "message": said, "statecode": 3, "statuscode": 31}
                self._org.put("asyncoperation", job)

    # --- who is told what ---------------------------------------------------------------------------------------------

    def _listening(self, event: Event) -> Iterator[_Step]:
        for row in self._org.rows("sdkmessageprocessingstep").by_id.values():
            message = self._org.row(row["sdkmessageid"]) if "sdkmessageid" in row else None
            filter_ = self._org.row(row["sdkmessagefilterid"]) if "sdkmessagefilterid" in row else None
            endpoint = self._org.row(row["eventhandler"]) if "eventhandler" in row else None
            if endpoint is None or endpoint.get("contract") != _WEBHOOK or row.get("mode") != _ASYNCHRONOUS:
                continue
            is_meant = message is not None and message["name"] == event.message and row.get("statecode", 0) == 0
            if not is_meant or (filter_ is not None and filter_["primaryobjecttypecode"] != event.table):
                continue
            wanted = {name.strip() for name in row.get("filteringattributes", "").split(",")} - {""}
            if event.message != "Update" or not wanted or wanted & event.changed.keys():
                yield _Step(row["eventhandler"].id, row.get("name", ""), endpoint)

    def _message(self, event: Event) -> _Message:
        of = self._org.tables[event.table]
        correlation = str(uuid4())
        body = _context(of, event, correlation)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "x-ms-dynamics-organization": "acme.crm4.dynamics.com",
            "x-ms-dynamics-entity-name": event.table,
            "x-ms-dynamics-request-name": event.message,
            "x-ms-correlation-request-id": correlation,
        }
        raw = _escaped(body)
        if len(raw) > _LARGEST or self._org.faults.oversized_webhooks:
            headers["x-ms-dynamics-msg-size-exceeded"] = "true"
            left_out = ("InputParameters", "PreEntityImages", "PostEntityImages", "ParentContext")
            raw = _escaped({name: value for name, value in body.items() if name not in left_out})
        return _Message(headers, raw)


def _context(of: Table, event: Event, correlation: str) -> Json:
    """A RemoteExecutionContext."""
    millis = int(event.at.timestamp()) * 1_000
    if event.message == "Delete":
        target = _reference(Ref(of.name, event.id))
    else:
        changed = {**event.changed, "modifiedon": event.at, "modifiedby": Ref("systemuser", event.user)}
        target = {
            "__type": f"Entity:{_CONTRACTS}",
            "LogicalName": of.name,
            "Id": event.id,
            "Attributes": [{"key": name, "value": _attribute(of, name, value)} for name, value in changed.items()],
        }
    return {
        "MessageName": event.message,
        "PrimaryEntityName": of.name,
        "PrimaryEntityId": event.id,
        "Stage": 40,
        "Mode": 1,
        "Depth": event.depth,
        "UserId": event.user,
        "InitiatingUserId": event.user,
        "OrganizationId": ORGANIZATION,
        "OrganizationName": "acme",
        "CorrelationId": correlation,
        "OperationCreatedOn": f"/Date({millis}+0000)/",
        "InputParameters": [{"key": "Target", "value": target}],
        "OutputParameters": [],
        "PreEntityImages": [],
        "PostEntityImages": [],
        "SharedVariables": [{"key": "tag", "value": event.tag}] if event.tag is not None else [],
        "ParentContext": None,
    }


def _attribute(of: Table, name: str, value: Any) -> Any:  # Any: JSON
    if isinstance(value, Ref):
        return _reference(value)
    column = of.columns.get(name)
    if value is None or column is None:
        return value
    if column.type in CHOICES:
        return {"__type": f"OptionSetValue:{_CONTRACTS}", "Value": value}
    if column.type == "DateTime":
        at = (
            value
            if isinstance(value, datetime)
            else datetime.fromisoformat(f"{value[:10]}T{value[11:19] or '00:00:00'}+00:00")
        )
        return f"/Date({int(at.timestamp()) * 1_000})/"
    return value


def _reference(ref: Ref) -> Json:
    return {"__type": f"EntityReference:{_CONTRACTS}", "LogicalName": ref.table, "Id": ref.id, "Name": None}


def _escaped(body: Json) -> bytes:
    return orjson.dumps(body).replace(b"/", rb"\/")


def _addressed(endpoint: Row) -> tuple[str, dict[str, str]]:
    """Where it is, and the headers by which it knows us."""
    url, auth, kind = str(endpoint.get("url", "")), str(endpoint.get("authvalue", "")), endpoint.get("authtype")
    if kind == _KEY:
        url = with_query(url, {"code": auth})
    elif kind == _QUERY:
        url = with_query(url, _settings(auth))
    return url, _settings(auth) if kind == _HEADER else {}


def _settings(text: str) -> dict[str, str]:
    """Names and values of `<settings><setting name="X-Key" value="…" /></settings>`."""
    try:
        # What is read here somebody set up for a test; there is nobody to be attacked by it.
        found = ET.fromstring(text)  # noqa: S314
    except ET.ParseError:
        return {}
    return {one.get("name", ""): one.get("value", "") for one in found.iter("setting")}
