"""Signing in: by a private app's token, or by OAuth 2 as an app that somebody installed.

A private app's token has no end. OAuth has codes and refresh tokens, without PKCE; an access token lives as long as
`expires_in` says, and a refresh token until the app is uninstalled, so it is said; an answer may carry a new one, so
that what it carries is always kept. Which account a token is of, and of which app, HubSpot tells beside it.
Source: the OAuth models of HubSpot's clients, and its documentation of OAuth, October 2026.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from app.connectors.faults import Busy, Fault, SignInRefused, Unreachable
from app.connectors.http import Http, Reply
from app.connectors.hubspot import limits
from app.connectors.hubspot.limits import Limits
from app.connectors.provider import Flow, Grant, Setup

PRIVATE_APP = Flow("private_app", needs=("access_token",), may=("client_secret", "base_url"))
OAUTH = Flow("oauth", needs=("client_id", "client_secret"), may=("refresh_token", "base_url"), is_interactive=True)
FLOWS = (PRIVATE_APP, OAUTH)

READ, WRITE = "crm.objects.contacts.read", "crm.objects.contacts.write"
SCHEMA_READ, SCHEMA_WRITE = "crm.schemas.contacts.read", "crm.schemas.contacts.write"
PREFERENCES = "communication_preferences.read_write"
_SCOPES = ("oauth", READ, WRITE, SCHEMA_READ, SCHEMA_WRITE, PREFERENCES)

_API, _BROWSER = "https://api.hubapi.com", "https://app.hubspot.com"
_PORTAL, _APP, _DOMAIN, _GRANTED = "portal", "app", "domain", "scopes"


class Who(NamedTuple):
    """Whose account it is, and which app we are in it; None where HubSpot did not tell."""

    portal: str | None
    app: str | None
    domain: str | None
    scopes: frozenset[str]


def who(grant: Grant) -> Who:
    more = grant.more
    return Who(more.get(_PORTAL), more.get(_APP), more.get(_DOMAIN), frozenset(more.get(_GRANTED, "").split()))


def origin(setup: Setup) -> str:
    """Where the API is."""
    return (setup.base_url or setup.credentials.get("base_url") or _API).rstrip("/")


class _Listening:
    """Hears every answer: `silence` is asked of each, and so learns what it says of the limits."""

    def __init__(self, setup: Setup, http: Http, *, is_private: bool) -> None:
        self.limits = Limits(is_private=is_private, choices=setup.choices)
        self._setup = setup
        self._http = http

    def silence(self, reply: Reply) -> Busy | None:
        daily = self.limits.hear(reply)
        if daily is not None:
            self._setup.meter.report(daily.limit, daily.remaining)
        return limits.silence(reply)


class ByToken(_Listening):
    """A private app's token. The one that is kept is never sent, for there may be a new one."""

    def __init__(self, setup: Setup, http: Http) -> None:
        super().__init__(setup, http, is_private=True)

    async def sign_in(self, present: Grant | None) -> Grant:  # noqa: ARG002 - it is the same for ever
        token = self._token()
        reply = await self._http.send(
            "POST", f"{origin(self._setup)}/oauth/v2/private-apps/get/access-token-info", json={"tokenKey": token}
        )
        if (busy := limits.silence(reply)) is not None:
            raise busy
        said = _object(reply)
        if reply.status in (401, 404) and said:
            raise unauthorized()
        return Grant(token, base_url=origin(self._setup), more=_told(said) if reply.is_success else {})

    def headers(self, grant: Grant) -> Mapping[str, str]:  # noqa: ARG002
        return {"Authorization": f"Bearer {self._token()}"}

    def is_stale(self, reply: Reply) -> bool:  # noqa: ARG002 - no other is to be had
        return False

    def _token(self) -> str:
        return self._setup.credentials["access_token"].strip()


class ByApp(_Listening):
    """An app's access token, renewed by its refresh token."""

    def __init__(self, setup: Setup, http: Http) -> None:
        super().__init__(setup, http, is_private=False)

    async def sign_in(self, present: Grant | None) -> Grant:
        refresh = (present.refresh_token if present is not None else None) or self._setup.credentials.get(
            "refresh_token"
        )
        if refresh is None:
            raise SignInRefused("not_signed_in", "nobody has signed in yet", "sign in with a browser")
        known = {} if present is None else present.more
        return await granted(self._http, self._setup, known, grant_type="refresh_token", refresh_token=refresh)

    def headers(self, grant: Grant) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {grant.access_token}"}

    def is_stale(self, reply: Reply) -> bool:
        return reply.status == 401


def authority(setup: Setup, http: Http) -> ByToken | ByApp:
    return ByToken(setup, http) if setup.flow == PRIVATE_APP.name else ByApp(setup, http)


def authorize_url(setup: Setup, redirect_uri: str, state: str) -> str:
    """Where somebody signs in. The scopes are also to be chosen where the app is registered."""
    said = setup.base_url or setup.credentials.get("base_url")
    host = _BROWSER if said is None or said.rstrip("/") == _API else said.rstrip("/")
    asked = {"client_id": setup.credentials["client_id"], "redirect_uri": redirect_uri, "scope": " ".join(_SCOPES)}
    return f"{host}/oauth/authorize?{urlencode({**asked, 'state': state}, quote_via=quote)}"


async def granted(http: Http, setup: Setup, known: Mapping[str, str], **form: str) -> Grant:
    """What OAuth grants for a code or a refresh token. Never repeated: a refresh token may be good for one time.

    `known`: what an earlier grant of the same account told. Raises SignInRefused, Busy, Unreachable.
    """
    keys = {name: setup.credentials[name] for name in ("client_id", "client_secret")}
    reply = await http.send("POST", f"{origin(setup)}/oauth/v1/token", form={**keys, **form})
    if (busy := limits.silence(reply)) is not None:
        raise busy
    said = _object(reply)
    if 400 <= reply.status < 500 and said:
        raise _refused(said, form["grant_type"])
    token, refresh = said.get("access_token"), said.get("refresh_token")
    if not reply.is_success or not isinstance(token, str):
        raise Unreachable(f"OAuth answered {reply.status}, and no token")
    return Grant(
        token,
        refresh if isinstance(refresh, str) else form.get("refresh_token"),
        origin(setup),
        more=dict(known) if _APP in known else await _about(http, setup, token),
    )


async def _about(http: Http, setup: Setup, token: str) -> dict[str, str]:
    """What HubSpot tells of a token. Nothing where it does not answer: else a refresh token that was just given in the
    place of another would be lost."""
    try:
        reply = await http.send("GET", f"{origin(setup)}/oauth/v1/access-tokens/{quote(token, safe='')}")
    except Fault:
        return {}
    return _told(_object(reply)) if reply.is_success else {}


def _told(said: Mapping[str, Any]) -> dict[str, str]:  # Any: JSON
    """OAuth has snake_case, and what tells of private apps has not."""
    scopes = said.get("scopes")
    told = {
        _PORTAL: said.get("hub_id", said.get("hubId")),
        _APP: said.get("app_id", said.get("appId")),
        _DOMAIN: said.get("hub_domain"),
        _GRANTED: " ".join(map(str, scopes)) if isinstance(scopes, list) else None,
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def unauthorized() -> SignInRefused:
    return SignInRefused(
        "unauthorized",
        "HubSpot refuses the private app's token",
        "copy it anew from HubSpot: Settings, Integrations, Private Apps, the app, Auth; a rotated token ends the old",
    )


def _object(reply: Reply) -> Mapping[str, Any]:  # Any: JSON
    """Empty if it is none: a gateway's page is no word of HubSpot's."""
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _refused(said: Mapping[str, Any], grant_type: str) -> SignInRefused:  # Any: JSON
    status = said.get("status")
    code = status if isinstance(status, str) and status.isascii() and len(status) < 50 else "invalid_grant"
    if code in ("BAD_CLIENT_ID", "BAD_CLIENT_SECRET"):
        return SignInRefused(code, "HubSpot does not know the app", "see its client id and client secret")
    if code == "BAD_REDIRECT_URI":
        mend = "enter the address of this server's sign-in at the app in HubSpot, as one of its redirect URLs"
        return SignInRefused(code, "HubSpot does not know where to send the browser back to", mend)
    what = "the refresh token" if grant_type == "refresh_token" else "the code that the browser brought"
    mend = "sign in with a browser again; a sign-in ends where the app is uninstalled from the account"
    return SignInRefused(code, f"HubSpot refuses {what}", mend)
