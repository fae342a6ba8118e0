"""How Salesforce knows us: three OAuth flows, what their token endpoint refuses, and when a token has ended.

No reply says how long a token lives: two hours without use by default, as the org's settings say. So it is used until
a call is answered 401.

Source: Salesforce's pages on the client credentials, the JWT bearer, the web server and the refresh token flow.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import orjson

from app import clock
from app.connectors.faults import Busy, SignInRefused, Unreachable
from app.connectors.http import Http, Reply, asked_to_wait
from app.connectors.provider import Flow, Grant, Setup

CLIENT_CREDENTIALS = Flow("client_credentials", ("client_id", "client_secret"))
JWT_BEARER = Flow("jwt_bearer", ("client_id", "username", "private_key"), may=("audience",))
WEB_SERVER = Flow("web_server", ("client_id",), may=("client_secret",), is_interactive=True)
FLOWS = (CLIENT_CREDENTIALS, JWT_BEARER, WEB_SERVER)

PRODUCTION, SANDBOX = "https://login.salesforce.com", "https://test.salesforce.com"
_ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# Salesforce takes up to three minutes; the third is for clocks that differ.
_ASSERTION_LIVES = timedelta(minutes=2)
_NO_REST = "This session is not valid for use with the REST API"
_DAY_SPENT, _TOO_MANY_AT_ONCE = timedelta(minutes=15), timedelta(seconds=5)
_UNAVAILABLE_FOR = timedelta(minutes=1)
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_IDENTITY = re.compile(r"/id/(00D\w{12,15})/(005\w{12,15})$")

_RUN_AS = "in the External Client App's policies, enable the client credentials flow and choose a Run-As user"
_MY_DOMAIN = "give the address of My Domain, as https://acme.my.salesforce.com (Setup > My Domain)"
_APPROVE = "in the app's policies, pre-authorise the user: choose admin-approved users, and give them a permission set"
_KEYS = "copy the consumer key and the secret of the External Client App anew; a new app takes ten minutes to be known"
_RECONNECT = "connect again; the refresh token was revoked, rotated elsewhere, or not used for too long"
_REFUSALS: Mapping[str, tuple[str, str]] = {
    "no client credentials user enabled": ("the app has no user to act as", _RUN_AS),
    "request not supported on this domain": ("this flow does not work at the general login address", _MY_DOMAIN),
    "user hasn't approved this consumer": ("the user has not approved the app", _APPROVE),
    "expired access/refresh token": ("Salesforce has ended what somebody granted by signing in", _RECONNECT),
    "expired authorization code": ("the code that the browser brought has expired", "connect again, without a pause"),
    "invalid_client_id": ("Salesforce does not know the client_id", _KEYS),
    "invalid_client": ("the client_secret is wrong", _KEYS),
    "invalid_app_access": ("the user is not allowed to use the app", _APPROVE),
    "unsupported_grant_type": (
        "this way to sign in is not enabled, or the address is not Salesforce's",
        f"enable the flow in the app's OAuth settings, and {_MY_DOMAIN}",
    ),
    "redirect_uri_mismatch": ("the app does not know the callback address", "add it to the app's callback URLs"),
    "inactive_user": ("the user is not active", "activate the user, or choose another"),
    "inactive_org": ("the org is locked, closed or suspended", "ask Salesforce"),
}
"""By `error_description`, or else by `error`: what is wrong, and what to do about it."""
_PASSING = {"rate_limit_exceeded", "server_error", "temporarily_unavailable", "unknown_error"}
_ELSE = "see Setup > Login History for the reason, and compare the app's OAuth settings with the documentation"


class Access:
    """The authority of one connection; see `connectors/http.py`."""

    def __init__(self, http: Http, setup: Setup) -> None:
        self._http = http
        self._setup = setup

    async def sign_in(self, present: Grant | None) -> Grant:
        match self._setup.flow:
            case CLIENT_CREDENTIALS.name:
                if self._setup.base_url is None:
                    raise SignInRefused("domain_missing", "this flow works at the org's own address alone", _MY_DOMAIN)
                return await self._token(grant_type="client_credentials", **self._said("client_id", "client_secret"))
            case JWT_BEARER.name:
                return await self._token(grant_type=_ASSERTION, assertion=self._assertion())
        if present is None or present.refresh_token is None:
            raise SignInRefused("not_connected", "nobody has signed in yet", "connect with a browser")
        return await self._token(
            present.refresh_token,
            grant_type="refresh_token",
            refresh_token=present.refresh_token,
            **self._said("client_id", "client_secret"),
        )

    async def exchange(self, code: str, redirect_uri: str, verifier: str) -> Grant:
        return await self._token(
            grant_type="authorization_code",
            code=code,
            redirect_uri=redirect_uri,
            code_verifier=verifier,
            **self._said("client_id", "client_secret"),
        )

    def headers(self, grant: Grant) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {grant.access_token}"}

    def is_stale(self, reply: Reply) -> bool:
        # A session that may not use REST is refused anew however often it is renewed.
        return reply.status == _UNAUTHORIZED and any(
            code == "INVALID_SESSION_ID" and message != _NO_REST for code, message in errors(reply)
        )

    def silence(self, reply: Reply) -> Busy | None:
        for code, message in errors(reply) if reply.status == _FORBIDDEN else ():
            if code == "REQUEST_LIMIT_EXCEEDED":
                # The day's requests come back bit by bit, hour by hour: it is worth to ask again.
                is_passing = "ConcurrentPerOrgLongTxn" in message
                wait = _TOO_MANY_AT_ONCE if is_passing else _DAY_SPENT
                why = "too many long calls at once" if is_passing else "the org's requests of 24 hours are spent"
                return Busy(clock.now() + wait, why)
        return asked_to_wait(reply, _UNAVAILABLE_FOR)

    def _said(self, *names: str) -> dict[str, str]:
        return {name: self._setup.credentials[name] for name in names if self._setup.credentials.get(name)}

    def _assertion(self) -> str:
        """Raises SignInRefused where the private key is none."""
        claims = {
            "iss": self._setup.credentials.get("client_id", ""),
            "sub": self._setup.credentials.get("username", ""),
            "aud": self._setup.credentials.get("audience") or _audience(host(self._setup)),
            "exp": int((clock.now() + _ASSERTION_LIVES).timestamp()),
        }
        # A key that came through an environment variable often has its line breaks written out.
        key = self._setup.credentials.get("private_key", "").replace("\\n", "\n")
        try:
            return jwt.encode(claims, key, algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError):
            mend = "paste the whole key in PEM, from BEGIN to END, without a passphrase; its certificate is at the app"
            raise SignInRefused("bad_key", "the private key cannot be read", mend) from None

    async def _token(self, known_refresh: str | None = None, **form: str) -> Grant:
        """What the token endpoint gives. Raises SignInRefused, Busy and Unreachable."""
        reply = await self._http.send("POST", f"{host(self._setup)}/services/oauth2/token", form=form)
        if (silence := asked_to_wait(reply, _UNAVAILABLE_FOR)) is not None:
            raise silence
        said = reply.json()
        if not isinstance(said, dict) or (reply.is_success and not _is_whole(said)):
            raise Unreachable(f"the token endpoint's answer with status {reply.status} makes no sense")
        if not reply.is_success:
            raise _refusal(reply, said)
        whose = _IDENTITY.search(str(said.get("id", "")))
        return Grant(
            said["access_token"],
            # It is told only if it is another: with Refresh Token Rotation the old one is dead from now on.
            said.get("refresh_token") or known_refresh,
            said["instance_url"].rstrip("/"),
            whose[2] if whose else None,
            {"organization": whose[1]} if whose else {},
        )


def host(setup: Setup) -> str:
    """Where signing in happens; where the API is, each grant says."""
    return (setup.base_url or PRODUCTION).rstrip("/")


def authorize_url(setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:
    query = {
        "response_type": "code",
        "client_id": setup.credentials.get("client_id", ""),
        "redirect_uri": redirect_uri,
        "scope": "api refresh_token",
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{host(setup)}/services/oauth2/authorize?{urlencode(query)}"


def errors(reply: Reply) -> list[tuple[str, str]]:
    """The codes and messages of a refused call; none where the body is not as the REST API's are."""
    if reply.is_success:
        return []
    try:
        said: Any = orjson.loads(reply.body)  # Any: JSON
    except orjson.JSONDecodeError:
        return []
    return [
        (str(one["errorCode"]), str(one.get("message", "")))
        for one in (said if isinstance(said, list) else ())
        if isinstance(one, dict) and "errorCode" in one
    ]


def _audience(address: str) -> str:
    """Whom an assertion is for: sandboxes have a login host of their own."""
    name = urlsplit(address).hostname or ""
    return SANDBOX if name == "test.salesforce.com" or ".sandbox." in name else PRODUCTION


def _is_whole(said: Mapping[str, Any]) -> bool:  # Any: JSON
    return all(isinstance(said.get(name), str) and said[name] for name in ("access_token", "instance_url"))


def _refusal(reply: Reply, said: Mapping[str, Any]) -> SignInRefused | Unreachable:  # Any: JSON
    code, described = str(said.get("error", "")), str(said.get("error_description", ""))
    if not code or reply.status not in (400, _UNAUTHORIZED, _FORBIDDEN) or code in _PASSING:
        return Unreachable(f"the token endpoint answered {reply.status}")
    what, mend = _REFUSALS.get(described) or _REFUSALS.get(code) or (f"Salesforce says: {described[:200]}", _ELSE)
    return SignInRefused(code, what, mend)
