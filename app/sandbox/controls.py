"""What every stand-in offers beside the CRM's own API, below `_sandbox`: faults, state, edits and the clock.

- `GET /_sandbox/faults`, `PUT /_sandbox/faults`: the switches; a PUT changes those that it names.
- `GET /_sandbox/state`: what there is and what was asked.
- `POST /_sandbox/edit`: what a human in the CRM does.
- `POST /_sandbox/clock`: `{"move_s": 60}`, `{"hold": true}`, `{"hold": false}`, or several of these at once.
"""

from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.sandbox.shapes import Clock

Json = dict[str, Any]  # Any: JSON

_LAST_DAY = datetime(3000, 1, 1, tzinfo=UTC)


class Refused(Exception):
    """A call to the controls that cannot be carried out. The message says why."""


def routes(faults: Any, clock: Clock, state: Callable[[], Json], edit: Callable[[Json], Json]) -> list[Route]:
    """The four controls.

    `faults` is a dataclass instance, whose fields hold JSON. Any: each stand-in has a class of its own. `edit` gets the
    body of the call and gives the reply, or raises Refused.
    """

    def change_faults(patch: Json) -> Json:
        turn(faults, patch)
        return asdict(faults)

    def change_clock(body: Json) -> Json:
        move_clock(clock, body)
        return {"now": clock().isoformat()}

    return [
        Route("/_sandbox/faults", _handled(lambda _: asdict(faults)), methods=["GET"]),
        Route("/_sandbox/faults", _handled(change_faults), methods=["PUT"]),
        Route("/_sandbox/state", _handled(lambda _: state()), methods=["GET"]),
        Route("/_sandbox/edit", _handled(edit), methods=["POST"]),
        Route("/_sandbox/clock", _handled(change_clock), methods=["POST"]),
    ]


def turn(faults: Any, patch: Json) -> None:  # Any: a dataclass of the stand-in's own
    """Set the switches that `patch` names. Raises Refused if one is unknown or of another type; then none is set."""
    assert is_dataclass(faults)
    known = {field.name: getattr(faults, field.name) for field in fields(faults)}
    for name, value in patch.items():
        if name not in known:
            raise Refused(f"unknown switch {name!r}; there are: {', '.join(sorted(known))}")
        wanted = (int, float) if type(known[name]) is float else type(known[name])
        if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(known[name], bool):
            raise Refused(f"switch {name!r} is of type {type(known[name]).__name__}")
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise Refused(f"switch {name!r} is a list of texts")
    for name, value in patch.items():
        setattr(faults, name, value)


def move_clock(clock: Clock, body: Json) -> None:
    """Raises Refused if `body` is not as the module says, or time would come to its end."""
    unknown = body.keys() - {"move_s", "hold"}
    move_s, hold = body.get("move_s", 0), body.get("hold", False)
    if unknown or isinstance(move_s, bool) or not isinstance(move_s, int | float) or not isinstance(hold, bool):
        raise Refused('the clock takes {"move_s": a number, "hold": true or false}')
    if not 0 <= move_s <= timedelta(days=3_660).total_seconds():
        raise Refused("move_s is from 0 to ten years, in seconds")
    if clock() + timedelta(seconds=move_s) > _LAST_DAY:
        raise Refused(f"the time ends with the year {_LAST_DAY.year - 1}")
    if body.get("hold") is True:
        clock.hold()
    clock.move(timedelta(seconds=move_s))
    if body.get("hold") is False:
        clock.release()


def _handled(act: Callable[[Json], Json]) -> Callable[[Request], Any]:  # Any: a coroutine's types
    async def handle(request: Request) -> Response:
        try:
            return _json(act(_object(await request.body())), 200)
        except Refused as fault:
            return _json({"error": str(fault)}, 400)

    return handle


def _object(raw: bytes) -> Json:
    try:
        body = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as fault:
        raise Refused(f"the body is not JSON: {fault}") from None
    if not isinstance(body, dict):
        raise Refused("the body is not a JSON object")
    return body


def _json(body: Json, status: int) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
