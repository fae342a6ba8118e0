"""Several calls in one: composite, batch and graph. Source: Salesforce's REST pages on Composite Resources."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.wire import Call, Json, Refusal, Reply

_MOST_CALLS, _MOST_NODES, _MOST_GRAPHS = 25, 500, 75
_DEEPEST = 50
_REFERENCE = re.compile(r"@\{([A-Za-z0-9_]+)((?:\.[A-Za-z0-9_]+|\[\d{1,4}\])*)\}")
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+)\]")
_METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
_HALTED = [
    {
        "errorCode": "PROCESSING_HALTED",
        "message": "The transaction was rolled back since another operation in the same transaction failed.",
    }
]

Handle = Callable[[Call], Reply]
"""Carries out a call, refusals included."""


def batch(call: Call, handle: Handle) -> Reply:
    """Independent calls."""
    body = call.object()
    calls = _calls(body.get("batchRequests"), _MOST_CALLS)
    outcomes: list[Json] = []
    is_halted = False
    for one in calls:
        if is_halted:
            result = [{"errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per request"}]
            outcomes.append({"statusCode": 412, "result": result})
            continue
        reply = handle(_call(call, one, one.get("richInput")))
        outcomes.append({"statusCode": reply.status, "result": reply.body})
        is_halted = reply.status >= 400 and body.get("haltOnError") is True
    return Reply(body={"hasErrors": any(one["statusCode"] >= 400 for one in outcomes), "results": outcomes})


def composite(org: Org, call: Call, handle: Handle) -> Reply:
    """Calls that may use what earlier ones gave: `@{reference.field}`."""
    body = call.object()
    calls = _calls(body.get("compositeRequest"), _MOST_CALLS)
    replies = _chain(org, call, calls, handle) if body.get("allOrNone") is True else _sequence(call, calls, handle)
    return Reply(body={"compositeResponse": replies})


def graph(org: Org, call: Call, handle: Handle) -> Reply:
    """Several chains of calls, each of which is done wholly or not at all."""
    graphs = call.object().get("graphs")
    if not isinstance(graphs, list) or not graphs or len(graphs) > _MOST_GRAPHS:
        raise Refusal("JSON_PARSER_ERROR", f"graphs is a list of 1 to {_MOST_GRAPHS} graphs")
    answers = []
    chains = [_calls(one.get("compositeRequest") if isinstance(one, dict) else None, _MOST_NODES) for one in graphs]
    if sum(map(len, chains)) > _MOST_NODES:
        raise Refusal("EXCEEDED_MAX_NODES", f"there are more than {_MOST_NODES} nodes in this call")
    for one, calls in zip(graphs, chains, strict=True):
        replies = _chain(org, call, calls, handle)
        is_good = all(reply["httpStatusCode"] < 400 for reply in replies)
        answers.append(
            {"graphId": one.get("graphId"), "graphResponse": {"compositeResponse": replies}, "isSuccessful": is_good}
        )
    return Reply(body={"graphs": answers})


def _calls(said: object, most: int) -> list[Json]:
    if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
        raise Refusal("JSON_PARSER_ERROR", "the calls are a list of objects")
    if not 1 <= len(said) <= most:
        raise Refusal("LIMIT_EXCEEDED", f"there are from 1 to {most} calls in this one")
    for one in said:
        url, method = one.get("url"), one.get("method")
        if not isinstance(url, str) or not isinstance(method, str) or method.upper() not in _METHODS:
            raise Refusal("JSON_PARSER_ERROR", "each call has a method and a url")
        if not isinstance(one.get("httpHeaders") or {}, dict):
            raise Refusal("JSON_PARSER_ERROR", "httpHeaders is an object")
    return said


def _chain(org: Org, outer: Call, calls: list[Json], handle: Handle) -> list[Json]:
    """All of the calls, or none: what was done is taken back when one fails."""
    with org.revocable() as take_back:
        replies = _sequence(outer, calls, handle, is_chain=True)
        if any(reply["httpStatusCode"] >= 400 for reply in replies):
            take_back()
            for reply in replies:
                if reply["httpStatusCode"] < 400:
                    reply.update(body=_HALTED, httpHeaders={}, httpStatusCode=400)
    return replies


def _sequence(outer: Call, calls: list[Json], handle: Handle, *, is_chain: bool = False) -> list[Json]:
    """One call after another. One that uses a failed one is halted; in a chain all after a failed one are."""
    given: dict[str, Any] = {}  # Any: JSON
    failed: set[str] = set()
    replies = []
    for one in calls:
        name = str(one.get("referenceId"))
        if failed and (is_chain or failed & set(_names(one))):
            reply = Reply(400, _HALTED)
        else:
            try:
                reply = handle(_call(outer, _filled(one, given), _filled(one.get("body"), given)))
            except Refusal as fault:
                reply = fault.as_call()
        if reply.status >= 400:
            failed.add(name)
        given[name] = reply.body
        headers = dict(reply.headers)
        replies.append(
            {"body": reply.body, "httpHeaders": headers, "httpStatusCode": reply.status, "referenceId": name}
        )
    return replies


def _call(outer: Call, one: Json, body: Any) -> Call:  # Any: JSON
    path, _, query = one["url"].partition("?")
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[:2] == ["services", "data"]:
        parts = parts[2:]
    if not parts or not re.fullmatch(r"v\d{2,3}\.0", parts[0]):
        raise Refusal("INVALID_INPUT", f"not an address of this API: {one['url']}")
    own = {str(name).lower(): str(value) for name, value in (one.get("httpHeaders") or {}).items()}
    return Call(
        one["method"].upper(),
        tuple(parts[1:]),
        parts[0][1:],
        dict(parse_qsl(query, keep_blank_values=True)),
        {**outer.headers, **own},
        b"" if body is None else orjson.dumps(body),
        outer.user_id,
    )


def _names(one: Any) -> list[str]:  # Any: JSON
    """The references that a call uses."""
    return [match[1] for match in _REFERENCE.finditer(orjson.dumps(one).decode())]


def _filled(value: Any, given: dict[str, Any], depth: int = 0) -> Any:  # Any: JSON
    """The value with its references resolved. Raises Refusal for one that leads nowhere."""
    if depth > _DEEPEST:
        raise Refusal("JSON_PARSER_ERROR", f"the JSON is nested more than {_DEEPEST} levels deep")
    if isinstance(value, dict):
        return {name: _filled(one, given, depth + 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, given, depth + 1) for one in value]
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: str(_resolved(match, given)), value)
    return value


def _resolved(match: re.Match[str], given: dict[str, Any]) -> Any:  # Any: JSON
    found = given.get(match[1])
    for name, index in _STEP.findall(match[2]):
        if name and isinstance(found, dict):
            found = found.get(name)
        elif index and isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
        else:
            found = None
    if found is None:
        raise Refusal("PROCESSING_HALTED", f"Invalid reference specified. No value for {match[0]} found")
    return found
