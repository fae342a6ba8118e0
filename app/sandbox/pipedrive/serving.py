"""The web app: signing in, limits and faults around each call, and the envelopes of what is refused."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.sandbox import controls, web
from app.sandbox.pipedrive import fields
from app.sandbox.pipedrive.access import Access, out_of_scope, unauthorized
from app.sandbox.pipedrive.calls import ENDPOINTS, Endpoint
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.delivery import Delivery
from app.sandbox.pipedrive.edits import Edits
from app.sandbox.pipedrive.faults import Faults
from app.sandbox.pipedrive.limits import Blocked, Limits, Spent
from app.sandbox.pipedrive.wire import Call, Caller, Json, Query, Refused, Reply
from app.sandbox.shapes import Clock, Person

_MOST_BYTES = 1_000_000


class Pipedrive:
    """A stand-in Pipedrive: one company, two users, one app that is installed. See docs/sandbox-pipedrive.md."""

    name = "pipedrive"

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = Clock() if clock is None else clock
        self.company = Company(self.clock)
        fields.built_in(self.company)
        self.access = Access(self.company)
        self._limits = Limits(self.company)
        self._delivery = Delivery(self.company)
        self.company.listener = self._delivery.offer
        self.app = Starlette(routes=self._routes(), exception_handlers={HTTPException: _no_such_call})

    @property
    def faults(self) -> Faults:
        return self.company.faults

    def fill(self, people: Iterable[Person]) -> None:
        self.company.fill(people)

    def credentials(self, base_url: str) -> Json:
        return {
            "base_url": base_url,
            "api_token": self.access.api_token(9),
            "api_token_of_another_user": self.access.api_token(7),
            "client_id": self.access.client_id,
            "client_secret": self.access.client_secret,
            "refresh_token": self.access.refresh_token,
            "authorize_url": f"{base_url}/oauth/authorize",
            "token_url": f"{base_url}/oauth/token",
            "revoke_url": f"{base_url}/oauth/revoke",
            "user_id": 9,
        }

    def state(self) -> Json:
        company = self.company
        # Any: three kinds of records, by their own kinds of ids.
        written: dict[str, Mapping[Any, Any]] = {
            "person": company.persons,
            "activity": company.activities,
            "lead": company.leads,
        }
        return {
            "records": {
                "persons": sum(not one.is_deleted for one in company.persons.values()),
                "organizations": len(company.orgs),
                "activities": sum(not one.is_deleted for one in company.activities.values()),
                "leads": len(company.leads),
                "custom_fields": sum(one.is_custom for known in company.fields.values() for one in known.values()),
                "webhooks": len(company.hooks),
            },
            "calls": dict(company.calls),
            "rows": dict(company.rows),
            "writes": {
                table: {str(number): one.writes for number, one in records.items() if one.writes}
                for table, records in written.items()
            },
            "tokens": self._limits.spent,
            "webhooks": {
                "waiting": self._delivery.waiting,
                "delivered": self._delivery.delivered,
                "failed": self._delivery.failed,
            },
        }

    def _routes(self) -> list[Route]:
        edits = Edits(self.company)
        return [
            *web.routes(
                (one.method, prefix + one.path, self._handled(one)) for one in ENDPOINTS for prefix in one.prefixes
            ),
            Route("/oauth/authorize", self._authorize, methods=["GET"]),
            Route("/oauth/token", self._token, methods=["POST"]),
            Route("/oauth/revoke", self._revoke, methods=["POST"]),
            *controls.routes(self.faults, self.clock, self.state, edits.carry_out),
        ]

    # --- The API ------------------------------------------------------------------------------------------------------

    def _handled(self, endpoint: Endpoint) -> web.Handler:
        async def handle(request: Request) -> Response:
            self.company.calls[f"{endpoint.method} {endpoint.prefixes[-1]}{endpoint.path}"] += 1
            if self.faults.delay_s > 0:
                await asyncio.sleep(self.faults.delay_s)
            headers: dict[str, str] = {}
            try:
                caller = self._caller(request)
                headers = self._limits.charge(caller, endpoint.cost, endpoint.method)
                if caller.client_id is not None and caller.scopes.isdisjoint(endpoint.scopes):
                    raise out_of_scope()
                reply = endpoint.handler(self.company, await _call(request, caller))
                self._count(endpoint, reply)
            except Blocked as fault:
                return HTMLResponse(fault.page, 403, {"server": "cloudflare"})
            except Spent as fault:
                return _json(fault.body, fault.status, fault.headers)
            except Refused as fault:
                if fault.status == 401:
                    headers = {"x-401-by-gw": "true", "x-correlation-id": self._correlation()}
                return _json(fault.body, fault.status, headers)
            return _json(reply.body, reply.status, headers)

        return handle

    def _caller(self, request: Request) -> Caller:
        """Who calls, unless a fault is in the way. Raises Refused and Blocked."""
        faults = self.faults
        if faults.blocked:
            raise Blocked
        if faults.unavailable_next > 0:
            faults.unavailable_next -= 1
            raise Refused(503, "Service unavailable", "Scheduled maintenance")
        if faults.closed:
            raise Refused(402, "Company account is not open")
        if faults.unauthorized_next > 0:
            faults.unauthorized_next -= 1
            raise unauthorized()
        return self.access.caller(request.headers, request.query_params)

    def _correlation(self) -> str:
        return self.company.uuid(f"call {self.company.next_id('correlation')}")

    def _count(self, endpoint: Endpoint, reply: Reply) -> None:
        data = reply.body.get("data")
        rows = data.get("items", [data]) if isinstance(data, dict) else data
        self.company.rows[f"{endpoint.method} {endpoint.prefixes[-1]}{endpoint.path}"] += len(rows or ())

    # --- OAuth 2 ------------------------------------------------------------------------------------------------------

    async def _authorize(self, request: Request) -> Response:
        try:
            return RedirectResponse(self.access.authorize(request.query_params), 302)
        except Refused as fault:
            return _json(fault.body, fault.status)

    async def _token(self, request: Request) -> Response:
        self.company.calls["POST /oauth/token"] += 1
        try:
            form = await _form(request)
            return _json(self.access.token(request.headers, form, web.base_url(request)), 200)
        except Refused as fault:
            return _json(fault.body, fault.status)

    async def _revoke(self, request: Request) -> Response:
        try:
            self.access.revoke(request.headers, await _form(request))
        except Refused as fault:
            return _json(fault.body, fault.status)
        return Response(status_code=200)


async def _call(request: Request, caller: Caller) -> Call:
    raw = await _body(request)
    try:
        body = orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        raise Refused(400, "Invalid JSON", "The body is not JSON.") from None
    agent = request.headers.get("user-agent")
    return Call(caller, Query(request.query_params), request.path_params, body, agent, web.base_url(request))


async def _body(request: Request) -> bytes:
    raw = await web.read(request, _MOST_BYTES)
    if raw is None:
        raise Refused(413, "The body is over 1 MB")
    return raw


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await _body(request)).decode(errors="replace"), max_num_fields=None))


def _json(body: Json, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


async def _no_such_call(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    if fault.status_code == 405:
        return _json(Refused(405, "Method not allowed").body, 405, dict(fault.headers or {}))
    return _json(Refused(fault.status_code, "Unknown method.").body, fault.status_code)
