"""Webhooks: whatever an e-mail provider posts is verified and kept as it came. It is read afterwards, by a worker."""

import base64
import binascii
import contextlib
import hmac
from collections.abc import Sequence
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from app import clock
from app.api.json import JsonResponse
from app.api.problems import problem
from app.api.raw import raw
from app.api.services import Kit, Services
from app.errors import NotFound, TooBusy, Unavailable
from app.esp.shapes import Forged, Provider
from app.esp.shapes import Request as Call
from app.outbound import Outbound, cached
from app.sources import keeping, registry
from app.sources.kinds import Kind, kinds
from app.sources.registry import Source
from app.store.vault import Sealed

router = APIRouter(prefix="/v1/webhooks", tags=["Sources"])

_fetch = cached(Outbound().fetch)
_log = structlog.get_logger()
_SWITCHED_OFF = problem(404, "source_disabled", "this source is switched off")


@router.post(
    "/{source_id}",
    summary="Take in what an e-mail provider posts",
    description="The address of a source of `/v1/sources`: paste it into the provider's settings. Answers 200 once "
    "the raw body is stored; it is read within a second or so. 401: the signature does not fit. 429 (503 for Amazon "
    "SNS): too much waits to be read, come again.",
    openapi_extra={"security": []},
)
async def post_webhook(source_id: str, request: Request, kit: Kit) -> Response:
    source, kind, provider = await _called(source_id, kit)
    if not source.enabled:
        await registry.note_refusal(kit.database, source.id, "it is switched off", clock.now())
        return _SWITCHED_OFF
    call = await raw(request, kit)
    try:
        if source.verify:
            await _verify(provider, source, call, kit)
        await keeping.keep(kit.database, source, call, limit=kit.settings.inbox_limit)
    except Forged as forged:
        await registry.note_refusal(kit.database, source.id, str(forged), clock.now())
        return problem(401, "forged", str(forged))
    except (TooBusy, Unavailable, Sealed, OSError) as fault:
        _log.warning("a webhook is told to come again", source=source.name, fault=type(fault).__name__, why=str(fault))
        wait = {"Retry-After": str(keeping.RETRY_AFTER_S)}
        return problem(kind.busy_status, "busy", "this cannot be taken just now; send it again later", headers=wait)
    return JsonResponse({"status": "ok"})


@router.get("/{source_id}", summary="Say that this address is there", openapi_extra={"security": []})
@router.head("/{source_id}", include_in_schema=False)
async def probe_webhook(source_id: str, kit: Kit) -> Response:
    """Providers ask so before they take an address."""
    await _called(source_id, kit)
    return JsonResponse({"status": "ok"})


async def _called(source_id: str, kit: Services) -> tuple[Source, Kind, Provider]:
    """Raises NotFound."""
    with contextlib.suppress(ValueError):
        source = await registry.find(kit.database, UUID(source_id))
        kind = None if source is None else kinds().get(source.kind)
        if source is not None and kind is not None and kind.provider is not None:
            return source, kind, kind.provider
    raise NotFound("there is no source at this address")


async def _verify(provider: Provider, source: Source, call: Call, kit: Services) -> None:
    """Raises Forged; Sealed if a secret cannot be opened, OSError if a certificate cannot be had: our faults both."""
    secrets = [kit.vault.open(secret).decode() for secret in source.secrets]
    if provider.secret is None and secrets:
        _check_password(call, secrets)
    await provider.verify(call, secrets, _fetch)


def _check_password(call: Call, secrets: Sequence[str]) -> None:
    """Where a provider signs nothing, the operator may put a password into the address that it calls."""
    scheme, _, rest = call.headers.get("authorization", "").partition(" ")
    given = b""
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error):
            given = base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
    if not any(hmac.compare_digest(given, secret.encode()) for secret in secrets):
        raise Forged("the password of HTTP Basic is missing, or none of the source's secrets")
