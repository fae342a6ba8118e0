"""Signing in: by the API key of a user, or by OAuth 2 as an app that somebody let in.

A key goes with its user's address, in headers of Copper's own. OAuth has codes alone: no PKCE, no refresh tokens, and
access tokens that never end. So nothing can be renewed: whoever is refused has to be let in again by somebody.
Source: "Authentication" and "OAuth 2.0 Flow" of Copper's developer documentation, August 2026.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from app.connectors.copper import limits
from app.connectors.faults import Busy, SignInRefused, Unreachable
from app.connectors.http import Http, Reply
from app.connectors.provider import Flow, Grant, Setup

API_KEY = Flow("api_key", needs=("api_key", "user_email"), may=("base_url",))
OAUTH = Flow("oauth", needs=("client_id", "client_secret"), may=("base_url",), is_interactive=True)
FLOWS = (API_KEY, OAUTH)

_API_HOST, _OAUTH_HOST = "https://api.copper.com", "https://app.copper.com"
_PATH = "/developer_api/v1"
_SCOPE = "developer/v1/all"
_LONGEST_CODE = 50


def api(setup: Setup) -> str:
    """The address below which all calls of the API are."""
    return f"{_origin(setup) or _API_HOST}{_PATH}"


def _origin(setup: Setup) -> str | None:
    """Where somebody said that Copper is: a stand-in, or Copper itself, with the path of its API or without."""
    said = (setup.base_url or setup.credentials.get("base_url") or "").rstrip("/").removesuffix(_PATH)
    return said or None


def _oauth(setup: Setup) -> str:
    said = _origin(setup)
    if said is None or (urlsplit(said).hostname or "").endswith(".copper.com"):
        return f"{_OAUTH_HOST}/oauth"
    return f"{said}/oauth"


class ByKey:
    """A user's API key, which has no end. What is kept of it is never used, for the user may have a new one."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    async def sign_in(self, present: Grant | None) -> Grant:  # noqa: ARG002 - there is nothing to renew
        return Grant("")

    def headers(self, grant: Grant) -> Mapping[str, str]:  # noqa: ARG002
        return {
            "X-PW-AccessToken": self._setup.credentials["api_key"].strip(),
            "X-PW-Application": "developer_api",
            "X-PW-UserEmail": self._setup.credentials["user_email"].strip(),
        }

    def is_stale(self, reply: Reply) -> bool:  # noqa: ARG002 - no other is to be had
        return False

    def silence(self, reply: Reply) -> Busy | None:
        return limits.silence(reply)


class ByApp:
    """An app's access token."""

    async def sign_in(self, present: Grant | None) -> Grant:
        if present is None:
            raise SignInRefused("not_signed_in", "nobody has signed in yet", "sign in with a browser")
        raise SignInRefused(
            "token_revoked", "Copper refuses the access token", "sign in with a browser again, as an administrator"
        )

    def headers(self, grant: Grant) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {grant.access_token}"}

    def is_stale(self, reply: Reply) -> bool:
        """Somebody may have signed in again meanwhile."""
        return reply.status == 401

    def silence(self, reply: Reply) -> Busy | None:
        return limits.silence(reply)


def authority(setup: Setup) -> ByKey | ByApp:
    return ByKey(setup) if setup.flow == API_KEY.name else ByApp()


def authorize_url(setup: Setup, redirect_uri: str, state: str) -> str:
    """Where somebody signs in. There is one scope."""
    asked = {
        "response_type": "code",
        "client_id": setup.credentials["client_id"],
        "redirect_uri": redirect_uri,
        "scope": _SCOPE,
        "state": state,
    }
    return f"{_oauth(setup)}/authorize?{urlencode(asked)}"


async def granted(http: Http, setup: Setup, code: str, redirect_uri: str) -> Grant:
    """The token for a code, which is good for one time: never repeated. Raises SignInRefused, Busy, Unreachable."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "client_id": setup.credentials["client_id"],
        "client_secret": setup.credentials["client_secret"],
    }
    reply = await http.send("POST", f"{_oauth(setup)}/token", form=form)
    if (busy := limits.silence(reply)) is not None:
        raise busy
    if limits.is_page(reply):
        raise Unreachable(f"a gateway answered {reply.status} in place of OAuth")
    said = _object(reply)
    if 400 <= reply.status < 500:
        raise _refused(said)
    token = said.get("access_token")
    if not reply.is_success or not isinstance(token, str) or not token:
        raise Unreachable(f"OAuth answered {reply.status}, and no token")
    return Grant(token)


def _object(reply: Reply) -> Mapping[str, Any]:  # Any: JSON
    """Empty if it is none: how OAuth refuses is not documented."""
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _refused(said: Mapping[str, Any]) -> SignInRefused:  # Any: JSON
    code = said.get("error")
    if code == "invalid_client":
        return SignInRefused(code, "Copper does not know the app", "see its client id and client secret")
    known = isinstance(code, str) and code.isascii() and code.isprintable() and len(code) < _LONGEST_CODE
    return SignInRefused(
        str(code) if known else "invalid_grant",
        "Copper refuses the code that the browser brought",
        "sign in with a browser again; the callback address must be the one that Copper registered",
    )
