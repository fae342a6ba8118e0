"""CloudEvents in, in binary, structured and batched mode, with the handshake of their web hook profile."""

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.api.guard import needs
from app.api.json import JsonResponse
from app.api.problems import ProblemFault
from app.api.raw import raw
from app.api.services import Kit
from app.api.write_keys import in_header, keep, source_of
from app.engine.batching import MAX_BATCH
from app.errors import Fault, InvalidInput, TooLarge
from app.esp.shapes import Request as Call
from app.sources import cloudevents, reading
from app.sources.kinds import CLOUDEVENTS
from app.sources.reading import Found
from app.sources.registry import KEY_PREFIX
from app.store.keys import Scope

router = APIRouter(prefix="/v1/cloudevents", tags=["CloudEvents"])

_SOURCE = "cloudevents"
"""The source of what comes with an API key: one, so that an event that is sent again is known."""
_ingester = needs(Scope.INGEST)


class CloudEventsReceipt(BaseModel):
    accepted: int = Field(description="Events taken")
    duplicates: int | None = Field(
        default=None, description="Events whose `source` and `id` were known; counted at the source if it has one"
    )
    rejected: list[ProblemFault] = Field(description="What was not taken, and why")


@router.post(
    "",
    response_model=CloudEventsReceipt,
    responses={202: {"model": CloudEventsReceipt, "description": "Stored raw, for the worker to read"}},
    summary="Take in CloudEvents",
    description="CloudEvents 1.0 in JSON: structured, batched (`application/cloudevents-batch+json`) or binary, by the "
    "content type; up to 5,000 and 5 MB. `subject` is an address, `user:<id>` or `anonymous:<id>`, or else "
    "`data.contact` is as in `POST /v1/events`. `source` and `id` together are an event's identity: sent again it "
    "counts once.\n\nWith an API key it answers 200 once all is stored and scored; with the write key of a source of "
    "the kind `cloudevents`, also as `?key=`, 202 once all is stored raw. An event that is wrong is 422; in a batch it "
    "is rejected alone.",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/cloudevents+json": {
                    "schema": {"type": "object"},
                    "example": {
                        "specversion": "1.0",
                        "id": "e-1",
                        "source": "/forms/demo",
                        "type": "form.submitted",
                        "subject": "ada@example.com",
                        "time": "2026-11-20T09:30:00Z",
                        "data": {"form": "demo"},
                    },
                }
            },
        }
    },
)
async def post_cloudevents(request: Request, kit: Kit) -> Response:
    key = request.query_params.get("key") or in_header(request)
    if key is None or not key.startswith(KEY_PREFIX):
        await _ingester(request)
        found = _found(await raw(request, kit), _SOURCE)
        outcome = await kit.batcher.submit(list(found.events.values()))
        refused = [Fault(found.pointers[id_], why) for id_, why in outcome.refused.items()]
        repeated = found.named - len(found.events)  # in the request itself
        return _receipt(200, outcome.accepted, outcome.duplicates + repeated, [*found.faults, *refused])
    source = await source_of(key, kit, [CLOUDEVENTS])
    call = await raw(request, kit)
    found = _found(call, source.name)
    if found.named or found.faults:
        await keep(kit, source, replace(call, url=request.url.path))
    return _receipt(202, found.named, None, found.faults)


def _found(call: Call, source: str) -> Found:
    """What a request says. Raises HTTPException, TooLarge, and InvalidInput for an event that comes alone."""
    try:
        sent = cloudevents.unpacked(call)
    except cloudevents.UnknownMode as fault:
        raise HTTPException(415, str(fault)) from None
    except ValueError as fault:
        raise HTTPException(400, str(fault)) from None
    if len(sent.events) > MAX_BATCH:
        raise TooLarge(f"{len(sent.events)} events in one request; {MAX_BATCH} are the most")
    found = reading.found(cloudevents.read, source, call)
    if found.faults and not sent.is_batch:
        raise InvalidInput(*found.faults)
    return found


def _receipt(status: int, accepted: int, duplicates: int | None, faults: list[Fault]) -> JsonResponse:
    said: dict[str, Any] = {"accepted": accepted, "duplicates": duplicates}
    said["rejected"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    return JsonResponse(said, status)


@router.options("", include_in_schema=False)
async def allow_origin(request: Request) -> Response:
    """The handshake by which a sender asks whether it may deliver here. It may: each delivery still needs its key."""
    headers = {"Allow": "OPTIONS, POST"}
    origin = request.headers.get("webhook-request-origin")
    if origin is not None:
        headers["WebHook-Allowed-Origin"] = origin
        headers["WebHook-Allowed-Rate"] = request.headers.get("webhook-request-rate", "*")
    return Response(headers=headers)
