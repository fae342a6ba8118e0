"""CloudEvents 1.0 over HTTP in its three modes, from a request to events in our vocabulary.

Pure, and nothing in a request makes `read` raise. An event's identity is its `source` and `id`; whom it is about is
said by its `data.contact` or its `subject`; the rest of `data` are its properties. More is in docs/tracking.md.

Source: the CloudEvents specification (core, JSON format, HTTP binding), read 2026-11-22.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

from app.engine.identity import normal_email
from app.esp import wire
from app.sources.names import event_type
from app.sources.shapes import Item, Reading, Request, Unread
from app.sources.tracking import parse

BATCH, STRUCTURED = "application/cloudevents-batch", "application/cloudevents"

_TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_JSON = re.compile(r"(application|text)/([a-z0-9.-]+\+)?json")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PLACED = {"specversion", "id", "time", "datacontenttype", "data", "data_base64"}
"""What an event of ours has a place for, or no use; other attributes are kept beside its properties."""
_SUBJECTS = {"mailto": "email", "user": "user_id", "anonymous": "anonymous_id"}


class UnknownMode(Exception):
    """The request is of none of the three modes, or in a format other than JSON."""


class Sent(NamedTuple):
    """The events of a request in the JSON format, whatever its mode."""

    events: list[Any]  # Any: JSON
    is_batch: bool


class _Wrong(Exception):
    """What is wrong with one event, and where in it."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer, self.detail = pointer, detail


def read(request: Request) -> list[Reading]:
    """The events of a request. In binary mode a fault points at the attribute as if the event were structured."""
    try:
        sent = unpacked(request)
    except (UnknownMode, ValueError) as fault:
        return [Unread("", str(fault))]
    readings: list[Reading] = []
    for index, event in enumerate(sent.events):
        pointer = f"/{index}" if sent.is_batch else ""
        try:
            readings.append(_item(event, pointer))
        except _Wrong as wrong:
            readings.append(Unread(pointer + wrong.pointer, wrong.detail))
    return readings


def unpacked(request: Request) -> Sent:
    """Raises UnknownMode, and ValueError if the body is not JSON, or a batch no list."""
    type_ = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if type_.startswith(STRUCTURED):
        is_batch = type_.startswith(BATCH)
        if type_ != (f"{BATCH}+json" if is_batch else f"{STRUCTURED}+json"):
            raise UnknownMode(f"of the formats of CloudEvents, JSON alone is known here, not {type_[:100]!r}")
        said = parse(request.body)
        if is_batch and not isinstance(said, list):
            raise ValueError("a batch is a list of events")
        return Sent(said if is_batch else [said], is_batch)
    if not any(name.startswith("ce-") for name in request.headers):
        raise UnknownMode(f"expected {STRUCTURED}+json, {BATCH}+json, or attributes in headers: ce-id, ce-source, …")
    return Sent([_binary(request, type_)], is_batch=False)


def _binary(request: Request, type_: str) -> dict[str, Any]:  # Any: JSON
    """An event in binary mode, as it would be in structured mode."""
    event: dict[str, Any] = {
        name[3:]: _header(value) for name, value in request.headers.items() if name.startswith("ce-")
    }
    if not request.body:
        return event
    if not type_ or _JSON.fullmatch(type_):
        return event | {"data": parse(request.body)}
    if type_.startswith("text/"):
        return event | {"data": request.body.decode("utf-8", "replace")}
    return event | {"datacontenttype": type_, "data_base64": base64.b64encode(request.body).decode()}


def _header(value: str) -> str:
    """A header's value, freed of quotes, and of the percent signs that stand for all but printable ASCII."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return unquote(value, errors="replace")


def _item(event: Any, pointer: str) -> Item:  # Any: JSON
    if not isinstance(event, dict):
        raise _Wrong("", "expected an object")
    if event.get("specversion") != "1.0":
        raise _Wrong("/specversion", "expected 1.0")
    id_, source, type_ = (_required(event, name) for name in ("id", "source", "type"))
    if " " in source:
        raise _Wrong("/source", "expected a URI reference, which has no spaces")
    data = _data(event)
    who = _who(event, wire.part(wire.part(data).get("contact")))
    properties = {key: value for key, value in data.items() if key != "contact"} if isinstance(data, dict) else {}
    if not isinstance(data, dict) and data is not None:
        properties["data"] = data
    properties["cloudevent"] = {name: value for name, value in event.items() if name not in _PLACED}
    return Item(
        type_ if _TYPE.fullmatch(type_) else event_type(type_),
        f"{source} {id_}",
        _time(event),
        properties,
        who.get("email"),
        who.get("user_id"),
        who.get("anonymous_id"),
        pointer,
    )


def _required(event: Mapping[str, Any], name: str) -> str:  # Any: JSON
    value = event.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"/{name}", "expected text that is not empty")
    return value


def _time(event: Mapping[str, Any]) -> datetime | None:  # Any: JSON
    value = event.get("time")
    if value is None:
        return None
    at = wire.instant(value) if isinstance(value, str) and _TIME.fullmatch(value) else None
    if at is None:
        raise _Wrong("/time", "expected an instant of RFC 3339 with a zone, of the years 1990 to 2200")
    return at


def _data(event: Mapping[str, Any]) -> Any:  # Any: JSON
    """The data as values; binary data that is no JSON as it is, under the name that it has."""
    packed = event.get("data_base64")
    if packed is None:
        return event.get("data")
    try:
        body = base64.b64decode(packed, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise _Wrong("/data_base64", "expected base64") from None
    type_ = wire.text(event.get("datacontenttype"))
    if type_ is None or _JSON.fullmatch(type_.partition(";")[0].strip().lower()):
        try:
            return parse(body)
        except ValueError as fault:
            raise _Wrong("/data_base64", str(fault)) from None
    return {"data_base64": packed}


def _who(event: Mapping[str, Any], contact: Mapping[str, Any]) -> dict[str, str]:  # Any: JSON
    """By `data.contact`, whose members are those of `POST /v1/events`; what it leaves open, by the subject."""
    subject = wire.text(event.get("subject")) or ""
    scheme, _, rest = subject.partition(":")
    who: dict[str, str] = {}
    if scheme.lower() in _SUBJECTS and rest.strip():
        who[_SUBJECTS[scheme.lower()]] = rest.strip()
    elif _is_address(subject):
        who["email"] = subject
    who |= {
        name: said
        for name in ("email", "user_id", "anonymous_id")
        if (said := wire.text(contact.get(name))) is not None
    }
    if not who:
        detail = "nobody is named: expected an address, user:<id> or anonymous:<id>, or a data.contact"
        raise _Wrong("/subject", detail)
    return who


def _is_address(subject: str) -> bool:
    try:
        normal_email(subject)
    except ValueError:
        return False
    return True
