"""Signing in: by a user's API token, or by OAuth 2 as an app that somebody installed.

OAuth has codes and refresh tokens alone, without PKCE. Access tokens live an hour; a refresh token dies after 60 days
without use, and an answer may carry a new one in its place, so that what it carries is always kept.
Source: Pipedrive's documentation of authentication as of August 2026.
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from app.connectors.faults import Busy, SignInRefused, Unreachable
from app.connectors.http import Http, Reply
from app.connectors.pipedrive import limits
from app.connectors.pipedrive.limits import Limits
from app.connectors.provider import Flow, Grant, Setup

API_TOKEN = Flow("api_token", needs=("api_token",), may=("base_url",))
OAUTH = Flow("oauth", needs=("client_id", "client_secret"), may=("refresh_token", "base_url"), is_interactive=True)
FLOWS = (API_TOKEN, OAUTH)

_ANY_COMPANY = "https://api.pipedrive.com"
_OAUTH_HOST = "https://oauth.pipedrive.com"
_BURSTS = {API_TOKEN.name: 20, OAUTH.name: 80}
"""Calls in two seconds on the smallest plan."""


def origin(setup: Setup) -> str | None:
    """Where the API is, if somebody said so; a company's own is `https://{company}.pipedrive.com`."""
    said = setup.base_url or setup.credentials.get("base_url")
    return said.rstrip("/") if said else None


def _oauth_host(setup: Setup) -> str:
    said = origin(setup)
    if said is None or (urlsplit(said).hostname or "").endswith(".pipedrive.com"):
        return _OAUTH_HOST
    return said


class _Listening:
    """Hears every answer: `silence` is asked of each, and so learns what it says of the budget."""

    def __init__(self, setup: Setup) -> None:
        self.limits = Limits(_BURSTS[setup.flow])
        self._setup = setup

    def silence(self, reply: Reply) -> Busy | None:
        daily = self.limits.hear(reply)
        if daily is not None:
            self._setup.meter.report(daily.limit, daily.remaining)
        return limits.silence(reply)


class ByToken(_Listening):
    """A user's API token: no end, no scopes. What is kept of it is never used, for the user may have a new one."""

    async def sign_in(self, present: Grant | None) -> Grant:  # noqa: ARG002 - it is the same for ever
        return Grant(self._token(), base_url=origin(self._setup) or _ANY_COMPANY)

    def headers(self, grant: Grant) -> Mapping[str, str]:  # noqa: ARG002
        return {"x-api-token": self._token()}

    def is_stale(self, reply: Reply) -> bool:  # noqa: ARG002 - no other is to be had
        return False

    def _token(self) -> str:
        return self._setup.credentials["api_token"].strip()


class ByApp(_Listening):
    """An app's access token, renewed by its refresh token."""

    def __init__(self, setup: Setup, http: Http) -> None:
        super().__init__(setup)
        self._http = http

    async def sign_in(self, present: Grant | None) -> Grant:
        refresh = (present.refresh_token if present is not None else None) or self._setup.credentials.get(
            "refresh_token"
        )
        if refresh is None:
            raise SignInRefused("not_signed_in", "nobody has signed in yet", "sign in with a browser")
        return await granted(self._http, self._setup, grant_type="refresh_token", refresh_token=refresh)

    def headers(self, grant: Grant) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {grant.access_token}"}

    def is_stale(self, reply: Reply) -> bool:
        return reply.status == 401


def authority(setup: Setup, http: Http) -> ByToken | ByApp:
    return ByToken(setup) if setup.flow == API_TOKEN.name else ByApp(setup, http)


def authorize_url(setup: Setup, redirect_uri: str, state: str) -> str:
    """Where somebody signs in. What the app may do is chosen where the app is registered."""
    asked = {"client_id": setup.credentials["client_id"], "redirect_uri": redirect_uri, "state": state}
    return f"{_oauth_host(setup)}/oauth/authorize?{urlencode(asked)}"


async def granted(http: Http, setup: Setup, **form: str) -> Grant:
    """What OAuth grants for a code or a refresh token. Never repeated: a refresh token may be good for one time.

    Raises SignInRefused, Busy, Unreachable.
    """
    client = f"{setup.credentials['client_id']}:{setup.credentials['client_secret']}"
    headers = {"Authorization": f"Basic {b64encode(client.encode()).decode()}"}
    reply = await http.send("POST", f"{_oauth_host(setup)}/oauth/token", headers=headers, form=form)
    if (busy := limits.silence(reply)) is not None:
        raise busy
    if limits.is_page(reply):
        raise Unreachable(f"a gateway answered {reply.status} in place of OAuth")
    said = _object(reply)
    if 400 <= reply.status < 500:
        raise _refused(said, form["grant_type"])
    token, refresh = said.get("access_token"), said.get("refresh_token")
    if not reply.is_success or not isinstance(token, str):
        raise Unreachable(f"OAuth answered {reply.status}, and no token")
    base_url, scope = said.get("api_domain"), said.get("scope")
    return Grant(
        token,
        refresh if isinstance(refresh, str) else form.get("refresh_token"),
        base_url if isinstance(base_url, str) else _ANY_COMPANY,
        more={"scope": scope} if isinstance(scope, str) else {},
    )


def _object(reply: Reply) -> Mapping[str, Any]:  # Any: JSON
    """Empty if it is none: how OAuth refuses is documented by its status alone."""
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _refused(said: Mapping[str, Any], grant_type: str) -> SignInRefused:  # Any: JSON
    code = said.get("error")
    if code == "invalid_client":
        return SignInRefused(code, "Pipedrive does not know the app", "see its client id and client secret")
    what = "the refresh token" if grant_type == "refresh_token" else "the code that the browser brought"
    return SignInRefused(
        code if isinstance(code, str) and code.isascii() and len(code) < 50 else "invalid_grant",
        f"Pipedrive refuses {what}",
        "sign in with a browser again; a sign-in ends where the app is uninstalled, or not used for 60 days",
    )
