"""Every error as RFC 9457 problem+json: a title, a sentence, and for each fault of the input a JSON pointer to it."""

import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app import clock, errors
from app.api.json import JsonResponse
from app.connectors import faults as crm
from app.errors import AppError, Fault

_STATUS: dict[type[AppError], int] = {
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.NotAuthenticated: 401,
    errors.NotAllowed: 403,
    errors.TooLarge: 413,
    errors.TooBusy: 429,
    errors.Unavailable: 503,
}
_SECRET_PATH = re.compile(r"(?<=^/v1/crm/)([^/]*/).*", re.DOTALL)
_log = structlog.get_logger()


class ProblemFault(BaseModel):
    pointer: str = Field(description="JSON pointer (RFC 6901) into the request", examples=["/bands/1/color"])
    detail: str = Field(description="What is wrong there", examples=["expected #rrggbb"])


class Problem(BaseModel):
    """RFC 9457."""

    type: str = Field(default="about:blank")
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    code: str = Field(description="Stable, for programs", examples=["invalid_input"])
    detail: str = Field(description="What happened, and what to do next", examples=["/bands/1/color: expected #rrggbb"])
    pointer: str | None = Field(default=None, description="Of the first fault")
    errors: list[ProblemFault] | None = Field(default=None, description="Every fault of the request")


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if faults:
        body["pointer"] = faults[0].pointer
        body["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    return JsonResponse(body, status_code=status, headers=headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Answer every exception of `app` with a problem."""
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(crm.Fault, _crm_fault)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _app_error(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, AppError)
    return answer_to(fault)


def answer_to(fault: AppError) -> Response:
    """The problem that an error of ours is answered with."""
    status = _STATUS.get(type(fault), 500)
    headers = {}
    if isinstance(fault, errors.NotAuthenticated):
        headers["WWW-Authenticate"] = 'Bearer, Basic realm="leadtally"'
    if isinstance(fault, errors.Unavailable | errors.TooBusy):
        headers["Retry-After"] = "1"
    faults: Sequence[Fault] = ()
    if isinstance(fault, errors.InvalidInput):
        faults = fault.faults
    elif isinstance(fault, errors.Conflict) and fault.pointer:
        faults = [Fault(fault.pointer, str(fault))]
    return problem(status, fault.code, str(fault), faults=faults, headers=headers)


async def _crm_fault(_: Request, fault: Exception) -> Response:
    """What came between us and a CRM while somebody waited."""
    match fault:
        case crm.SignInRefused():
            return problem(409, "sign_in_refused", str(fault))
        case crm.Busy() | crm.BudgetSpent():
            wait = max(math.ceil((fault.until - clock.now()).total_seconds()), 1)
            return problem(503, "crm_busy", str(fault), headers={"Retry-After": str(wait)})
        case crm.Later():
            return problem(503, "crm_unreachable", str(fault), headers={"Retry-After": "10"})
    return problem(502, "crm_refused", f"the CRM refuses: {fault}")


async def _validation(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    found = fault.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem(400, "malformed_json", f"the body is not JSON: {found[0].get('ctx', {}).get('error', '')}")
    faults = faults_of(found, skip=1, document=fault.body)
    return problem(422, errors.InvalidInput.code, "the request is not as documented", faults=faults)


async def _http(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    code = HTTPStatus(fault.status_code).name.lower()
    return problem(fault.status_code, code, str(fault.detail), headers=fault.headers)


async def _unexpected(request: Request, fault: Exception) -> Response:
    _log.error("unexpected error", path=told(request.url.path), exc_info=fault)
    # Starlette answers this one outside of our middleware, which else names the request.
    named = {"X-Request-Id": str(structlog.contextvars.get_contextvars().get("request_id", ""))}
    detail = "something went wrong here; the log says what, under this request's id"
    return problem(500, "internal_error", detail, headers=named)


def told(path: str) -> str:
    """A path as the log may hold it: without the secret that a CRM's calls carry in theirs."""
    return _SECRET_PATH.sub(r"\1…", path)


def faults_of(found: Sequence[Any], skip: int = 0, document: Any = None) -> list[Fault]:  # Any: Pydantic's; JSON
    """Pydantic's errors as faults. `skip` leading parts of each location are not of the document.

    Where something may be of several shapes, Pydantic names the shape in the location, and has an error for each: with
    the document at hand such names are left out, and what is wrong at one place is one fault.
    """
    details: dict[str, list[str]] = {}
    for one in jsonable_encoder(found):
        place = one["loc"][skip:]
        if document is not None and one["loc"][:1] in (["body"], ("body",)):
            place = _in(document, place, is_there=one["type"] != "missing")
        details.setdefault(pointer(place), []).append(_sentence(one))
    return [Fault(place, "; or ".join(dict.fromkeys(said))) for place, said in details.items()]


def _in(document: Any, location: Sequence[str | int], *, is_there: bool) -> list[str | int]:  # Any: JSON
    """The parts of a location that are places in the document; the last one may be missing there."""
    parts: list[str | int] = []
    for at, part in enumerate(location):
        if _has(document, part):
            document = document[part]
        elif is_there or at < len(location) - 1:
            continue
        parts.append(part)
    return parts


def _has(document: Any, part: str | int) -> bool:  # Any: JSON
    if isinstance(document, dict):
        return part in document
    return isinstance(document, list) and isinstance(part, int) and part < len(document)


def pointer(location: Sequence[str | int]) -> str:
    """A JSON pointer from the parts of a location."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _sentence(error: dict[str, Any]) -> str:
    message: str = error["msg"]
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
