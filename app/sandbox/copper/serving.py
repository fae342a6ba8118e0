"""The web app: signing in, limits and faults around each call, and the errors of what is refused."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.sandbox import controls, web
from app.sandbox.copper.access import SCOPE, Access, unauthorized
from app.sandbox.copper.account import INTEGRATION, RESTRICTED, Account
from app.sandbox.copper.calls import ENDPOINTS, PREFIX, Endpoint
from app.sandbox.copper.delivery import Delivery
from app.sandbox.copper.edits import Edits
from app.sandbox.copper.faults import Faults
from app.sandbox.copper.limits import Busy, Limits
from app.sandbox.copper.wire import Call, Caller, Json, Refused, forbidden
from app.sandbox.shapes import Clock, Person

_MOST_BYTES = 1_000_000


class Copper:
    """A stand-in Copper: one account, three users, their API keys and one app. See docs/sandbox-copper.md."""

    name = "copper"

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = Clock() if clock is None else clock
        self.account = Account(self.clock)
        self.access = Access(self.account)
        self._limits = Limits(self.account)
        self._delivery = Delivery(self.account)
        self.account.listener = self._delivery.offer
        self.app = Starlette(routes=self._routes(), exception_handlers={HTTPException: _no_such_call})

    @property
    def faults(self) -> Faults:
        return self.account.faults

    def fill(self, people: Iterable[Person]) -> None:
        self.account.fill(people)

    def credentials(self, base_url: str) -> Json:
        """`base_url` is in place of `https://api.copper.com`, and of `https://app.copper.com` for OAuth."""
        users = self.account.users
        return {
            "base_url": base_url,
            "api_url": f"{base_url}{PREFIX}",
            "api_key": self.access.key(INTEGRATION),
            "user_email": users[INTEGRATION].email,
            "user_id": INTEGRATION,
            "api_key_of_a_restricted_user": self.access.key(RESTRICTED),
            "user_email_of_a_restricted_user": users[RESTRICTED].email,
            "client_id": self.access.client_id,
            "client_secret": self.access.client_secret,
            "scope": SCOPE,
            "authorize_url": f"{base_url}/oauth/authorize",
            "token_url": f"{base_url}/oauth/token",
        }

    def state(self) -> Json:
        account = self.account
        writes: dict[str, dict[str, int]] = {"person": {}, "lead": {}, "activity": {}}
        for (kind, number), count in account.writes.items():
            writes[kind][str(number)] = count
        return {
            "records": {
                "people": len(account.people.rows),
                "leads": sum(one.converted_at is None for one in account.leads.rows.values()),
                "activities": sum(not one.is_deleted for one in account.activities.rows.values()),
                "companies": len(account.companies),
                "opportunities": len(account.opportunities),
                "custom_fields": len(account.definitions),
                "webhooks": len(account.hooks),
            },
            "requests": account.requests,
            "calls": dict(account.calls),
            "rows": dict(account.rows),
            "writes": writes,
            "webhooks": {
                "waiting": self._delivery.waiting,
                "delivered": self._delivery.delivered,
                "failed": self._delivery.failed,
                "lost": self._delivery.lost,
            },
        }

    def _routes(self) -> list[Route]:
        edits = Edits(self.account, self.access)
        return [
            *web.routes((one.method, PREFIX + one.path, self._handled(one)) for one in ENDPOINTS),
            Route("/oauth/authorize", self._authorize, methods=["GET"]),
            Route("/oauth/token", self._token, methods=["POST"]),
            *controls.routes(self.faults, self.clock, self.state, edits.carry_out),
        ]

    # --- The API ------------------------------------------------------------------------------------------------------

    def _handled(self, endpoint: Endpoint) -> web.Handler:
        name = f"{endpoint.method} {endpoint.path}"

        async def handle(request: Request) -> Response:
            account = self.account
            account.requests += 1
            account.calls[name] += 1
            if self.faults.delay_s > 0:
                await asyncio.sleep(self.faults.delay_s)
            try:
                caller = self._caller(request, endpoint)
                reply = endpoint.handler(account, await _call(request, caller))
            except Busy as fault:
                return _json(fault.body, fault.status, fault.headers)
            except Refused as fault:
                return _json(fault.body, fault.status)
            account.rows[name] += len(reply.body) if isinstance(reply.body, list) else 1
            return _json(reply.body, 200, reply.headers)

        return handle

    def _caller(self, request: Request, endpoint: Endpoint) -> Caller:
        """Who calls, unless a fault or a limit is in the way. Raises Refused."""
        faults = self.faults
        if faults.failing_next > 0:
            faults.failing_next -= 1
            raise Refused(500, "Internal server error")
        if faults.unauthorized_next > 0:
            faults.unauthorized_next -= 1
            raise unauthorized()
        caller = self.access.caller(request.headers)
        self._limits.charge(is_bulk=endpoint.is_bulk)
        if faults.forbidden_next > 0:
            faults.forbidden_next -= 1
            raise forbidden()
        return caller

    # --- OAuth 2 ------------------------------------------------------------------------------------------------------

    async def _authorize(self, request: Request) -> Response:
        try:
            return RedirectResponse(self.access.authorize(request.query_params), 302)
        except Refused as fault:
            return _json(fault.body, fault.status)

    async def _token(self, request: Request) -> Response:
        self.account.calls["POST /oauth/token"] += 1
        try:
            form = dict(parse_qsl((await _body(request)).decode(errors="replace")))
            return _json(self.access.token(form), 200)
        except Refused as fault:
            return _json(fault.body, fault.status)


async def _call(request: Request, caller: Caller) -> Call:
    raw = await _body(request)
    try:
        body = orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        raise Refused(400, "Bad request: the body is not JSON") from None
    return Call(caller, request.query_params, request.path_params, body)


async def _body(request: Request) -> bytes:
    raw = await web.read(request, _MOST_BYTES)
    if raw is None:
        raise Refused(413, "The body is over 1 MB")
    return raw


def _json(body: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:  # Any: JSON
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


async def _no_such_call(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return _json({"error": "not_found"}, 404)
