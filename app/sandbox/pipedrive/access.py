"""Who may call: API tokens, and OAuth 2 with codes, access tokens and refresh tokens."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from app.sandbox import oauth
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.wire import Caller, Json, Refused

SCOPES = ("base", "contacts:full", "contact-fields:full", "activities:full", "leads:full", "deals:full", "users:read",
          "recents:read", "search:read", "admin")  # fmt: skip
ACCESS_LIFETIME_S = 3_599
_CODE_LIFETIME_S = 300
_REFRESH_LIFETIME_S = 60 * 86_400
_MOST_TOKENS = 10_000


@dataclass
class Grant:
    """An app that a user installed."""

    client_id: str
    user_id: int
    refresh_token: str
    used_at: int


class Code(NamedTuple):
    client_id: str
    redirect_uri: str
    expires_at: int


class Access:
    """Tokens of one company. Each is the same in every run, so that a configuration can be kept."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self.api_tokens = {company.secret(f"api token {user}"): user for user in company.users}
        self.client_id = company.secret("client")[:16]
        self.client_secret = company.secret("client secret")
        self._grants = [Grant(self.client_id, 9, self._token("refresh"), company.now())]
        self._codes: dict[str, Code] = {}
        self._spent: set[str] = set()
        self._access: dict[str, tuple[Grant, int]] = {}

    @property
    def refresh_token(self) -> str:
        """Of the app that is installed from the beginning."""
        return self._grants[0].refresh_token if self._grants else ""

    def api_token(self, user_id: int) -> str:
        return next(token for token, user in self.api_tokens.items() if user == user_id)

    def caller(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Caller:
        """Who calls. Raises Refused (401)."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            grant, expires_at = self._access.get(token.strip(), (None, 0))
            if grant is not None and grant in self._grants and self._company.now() < expires_at:
                scopes = frozenset(SCOPES) - set(self._company.faults.withheld_scopes)
                return Caller(grant.user_id, token.strip(), grant.client_id, scopes)
        else:
            # The parameter of the query is no longer documented, and clients that many use still send it.
            given = headers.get("x-api-token") or query.get("api_token") or ""
            user = self.api_tokens.get(given)
            if user is not None:
                return Caller(user, given)
        raise unauthorized()

    # --- OAuth 2 ------------------------------------------------------------------------------------------------------

    def authorize(self, query: Mapping[str, str]) -> str:
        """Where the browser is sent on, with a code: nobody is asked. Raises Refused (400)."""
        redirect_uri = query.get("redirect_uri", "")
        if query.get("client_id") != self.client_id or not redirect_uri.startswith(("http://", "https://")):
            raise Refused(400, "Invalid client_id or redirect_uri")
        code = self._token(f"code {self._company.next_id('code of oauth')}")
        self._codes[code] = Code(self.client_id, redirect_uri, self._company.now() + _CODE_LIFETIME_S)
        return oauth.sent_back(redirect_uri, code, query)

    def token(self, headers: Mapping[str, str], form: Mapping[str, str], api_domain: str) -> Json:
        """Exchange a code or a refresh token. Raises Refused (400)."""
        client_id = self._client(headers, form)
        match form.get("grant_type"):
            case "authorization_code":
                grant = self._exchange(client_id, form)
            case "refresh_token":
                grant = self._refresh(client_id, form.get("refresh_token", ""))
            case _:
                raise _refused("unsupported_grant_type", "grant_type is missing or not supported")
        grant.used_at = self._company.now()
        if len(self._access) > _MOST_TOKENS:
            self._access = {token: one for token, one in self._access.items() if one[1] > self._company.now()}
        number = self._company.next_id("access token")
        access = f"v1u:{self._token(f'access {number}')}"
        self._access[access] = (grant, self._company.now() + ACCESS_LIFETIME_S)
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": ACCESS_LIFETIME_S,
            "refresh_token": grant.refresh_token,
            "scope": ",".join(SCOPES),
            "api_domain": api_domain,
        }

    def revoke(self, headers: Mapping[str, str], form: Mapping[str, str]) -> None:
        """Revoking a refresh token uninstalls the app. A token that is not known is none. Raises Refused (400)."""
        self._client(headers, form)
        token = form.get("token", "")
        self._access.pop(token, None)
        self._grants = [grant for grant in self._grants if grant.refresh_token != token]

    def _exchange(self, client_id: str, form: Mapping[str, str]) -> Grant:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.client_id != client_id or self._company.now() >= code.expires_at:
            raise _refused("invalid_grant", "authorization_code is invalid or has expired")
        if form.get("redirect_uri") != code.redirect_uri:
            raise _refused("invalid_grant", "redirect_uri does not match")
        number = self._company.next_id("refresh token")
        grant = Grant(client_id, 9, self._token(f"refresh {number}"), self._company.now())
        self._grants.append(grant)
        return grant

    def _refresh(self, client_id: str, token: str) -> Grant:
        if token in self._spent:
            raise _refused("invalid_grant", "refresh_token is already exchanged")
        known = [grant for grant in self._grants if grant.refresh_token == token and grant.client_id == client_id]
        if not known or self._company.now() - known[0].used_at > _REFRESH_LIFETIME_S:
            raise _refused("invalid_grant", "refresh_token is invalid")
        grant = known[0]
        if self._company.faults.rotate_refresh_tokens:
            self._spent.add(token)
            grant.refresh_token = self._token(f"refresh {self._company.next_id('refresh token')}")
        return grant

    def _client(self, headers: Mapping[str, str], form: Mapping[str, str]) -> str:
        """The app that calls: by HTTP Basic, or in the form."""
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                client_id = ""
        if client_id != self.client_id or not oauth.is_same_secret(secret, self.client_secret):
            raise _refused("invalid_client", "client is invalid")
        return client_id

    def _token(self, what: str) -> str:
        token = self._company.secret(what)
        return f"1:1:{token}" if what.startswith("refresh") else token


def unauthorized() -> Refused:
    fault = Refused(401, "unauthorized access")
    fault.body = {"success": False, "error": "unauthorized access", "errorCode": 401, "error_info": _info(fault)}
    return fault


def out_of_scope() -> Refused:
    fault = Refused(403, "Scope and URL mismatch")
    fault.body = {"success": False, "error": "Scope and URL mismatch", "errorCode": 403, "error_info": _info(fault)}
    return fault


def _info(fault: Refused) -> object:
    return fault.body["error_info"]


def _refused(error: str, message: str) -> Refused:
    fault = Refused(400, message)
    fault.body = {"success": False, "message": f"{error.replace('_', ' ').capitalize()}: {message}", "error": error}
    return fault
