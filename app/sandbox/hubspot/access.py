"""Who may call: the private app's token, and OAuth 2 with codes, access tokens and refresh tokens.

Source: the documentation of OAuth and of private apps, and the official clients' models. The words of what the token
endpoint refuses are those that people met. Refresh tokens are taken to live until the app is uninstalled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from app.sandbox import oauth
from app.sandbox.hubspot.portal import ADMIN, PORTAL_ID, PRIVATE_APP, PUBLIC_APP, Portal
from app.sandbox.hubspot.wire import Caller, Json, Refused, iso

SCOPES = (
    "oauth", "crm.objects.contacts.read", "crm.objects.contacts.write", "crm.schemas.contacts.read",
    "crm.schemas.contacts.write", "crm.objects.owners.read", "sales-email-read", "communication_preferences.read",
    "communication_preferences.write", "communication_preferences.read_write",
)  # fmt: skip
ACCESS_LIFETIME_S = 1_800
_CODE_LIFETIME_MS = 300_000
_MOST_TOKENS = 10_000


@dataclass
class Grant:
    """An app that somebody installed."""

    refresh_token: str
    scopes: frozenset[str]


class Code(NamedTuple):
    redirect_uri: str
    scopes: frozenset[str]
    ends_at: int


@dataclass
class Token:
    grant: Grant
    ends_at: int
    calls: int = 0


class Access:
    """Tokens of one account. Each is the same in every run, so that a configuration can be kept."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self.private_token = f"pat-na1-{portal.uuid('private app')}"
        self._grants = [Grant(portal.uuid("refresh"), frozenset(SCOPES))]
        self._codes: dict[str, Code] = {}
        self._tokens: dict[str, Token] = {}

    @property
    def refresh_token(self) -> str:
        """Of the app that is installed from the beginning."""
        return self._grants[0].refresh_token if self._grants else ""

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who calls. Raises Refused (401)."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        token = given.strip()
        if kind.lower() != "bearer" or not token:
            raise unauthorized()
        if token == self.private_token:
            return Caller(PRIVATE_APP, token, self._granted(SCOPES), True)
        held = self._tokens.get(token)
        if held is None or held.grant not in self._grants:
            raise unauthorized()
        most = self._portal.faults.token_calls
        late = self._portal.millis() - held.ends_at
        if late >= 0 or (most and held.calls >= most):
            raise _expired(max(late, 0) // 1_000, held.ends_at)
        held.calls += 1
        return Caller(PUBLIC_APP, token, self._granted(held.grant.scopes), False)

    def expire(self) -> None:
        """All access tokens of OAuth end now."""
        for token in self._tokens.values():
            token.ends_at = min(token.ends_at, self._portal.millis())

    def _granted(self, scopes: tuple[str, ...] | frozenset[str]) -> frozenset[str]:
        return frozenset(scopes) - set(self._portal.faults.withheld_scopes)

    # --- OAuth 2 ------------------------------------------------------------------------------------------------------

    def authorize(self, query: Mapping[str, str]) -> str:
        """Where the browser is sent on, with a code: nobody is asked. Raises Refused (400)."""
        redirect_uri = query.get("redirect_uri", "")
        if query.get("client_id") != self._portal.apps[PUBLIC_APP].client_id:
            raise Refused(400, "Missing or invalid client id", None)
        if not redirect_uri.startswith(("http://", "https://")):
            raise Refused(400, "Missing or invalid redirect url", None)
        scopes = set(query.get("scope", "").split())
        optional = set(query.get("optional_scope", "").split())
        if not scopes or not scopes <= set(SCOPES):
            raise Refused(400, "Authorization failed because the provided scopes are missing or unknown", None)
        code = self._portal.uuid(f"code {self._portal.next_id('code')}")
        granted = frozenset(scopes | optional & set(SCOPES))
        self._codes[code] = Code(redirect_uri, granted, self._portal.millis() + _CODE_LIFETIME_MS)
        return oauth.sent_back(redirect_uri, code, query)

    def token(self, form: Mapping[str, str]) -> Json:
        """Exchange a code or a refresh token. Raises Refused (400)."""
        app = self._portal.apps[PUBLIC_APP]
        if form.get("client_id") != app.client_id:
            raise _bad("CLIENT_ID", "missing or unknown client id")
        if not oauth.is_same_secret(form.get("client_secret", ""), app.client_secret):
            raise _bad("CLIENT_SECRET", "missing or invalid client secret")
        match form.get("grant_type"):
            case "authorization_code":
                grant = self._exchange(form)
            case "refresh_token":
                grant = self._refresh(form.get("refresh_token", ""))
            case _:
                raise _bad("GRANT_TYPE", "missing or unknown grant type")
        now = self._portal.millis()
        if len(self._tokens) > _MOST_TOKENS:
            self._tokens = {token: held for token, held in self._tokens.items() if held.ends_at > now}
        number = self._portal.next_id("access token")
        access = f"C{self._portal.secret(f'access token {number}')}"
        self._tokens[access] = Token(grant, now + ACCESS_LIFETIME_S * 1_000)
        return {
            "access_token": access,
            "refresh_token": grant.refresh_token,
            "id_token": None,
            "token_type": "bearer",
            "expires_in": ACCESS_LIFETIME_S,
        }

    def _exchange(self, form: Mapping[str, str]) -> Grant:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or self._portal.millis() >= code.ends_at:
            raise _bad("AUTH_CODE", "missing or unknown auth code")
        if form.get("redirect_uri") != code.redirect_uri:
            raise _bad("REDIRECT_URI", "missing or unknown redirect uri")
        grant = Grant(self._portal.uuid(f"refresh {self._portal.next_id('refresh token')}"), code.scopes)
        self._grants.append(grant)
        return grant

    def _refresh(self, token: str) -> Grant:
        grant = next((one for one in self._grants if one.refresh_token == token), None)
        if grant is None:
            raise _bad("REFRESH_TOKEN", "missing or unknown refresh token")
        if self._portal.faults.rotate_refresh_tokens:
            grant.refresh_token = self._portal.uuid(f"refresh {self._portal.next_id('refresh token')}")
        return grant

    # --- What a token is ----------------------------------------------------------------------------------------------

    def access_info(self, token: str) -> Json:
        """Of an OAuth app. Raises Refused (404)."""
        held = self._tokens.get(token)
        if held is None or held.grant not in self._grants or self._portal.millis() >= held.ends_at:
            raise Refused(404, "missing or unknown access token", None)
        left_s = (held.ends_at - self._portal.millis()) // 1_000
        return {**self._info(held.grant, token, "access"), "app_id": PUBLIC_APP, "expires_in": left_s}

    def refresh_info(self, token: str) -> Json:
        """Raises Refused (404)."""
        grant = next((one for one in self._grants if one.refresh_token == token), None)
        if grant is None:
            raise Refused(404, "missing or unknown refresh token", None)
        return {**self._info(grant, token, "refresh"), "client_id": self._portal.apps[PUBLIC_APP].client_id}

    def private_info(self, token: str) -> Json:
        """Of the private app. Raises Refused (404)."""
        if token != self.private_token:
            raise Refused(404, "missing or unknown access token", None)
        scopes = [scope for scope in SCOPES if scope in self._granted(SCOPES)]
        return {"userId": ADMIN, "hubId": PORTAL_ID, "appId": PRIVATE_APP, "scopes": scopes}

    def uninstall(self, refresh_token: str) -> None:
        self._grants = [grant for grant in self._grants if grant.refresh_token != refresh_token]

    def _info(self, grant: Grant, token: str, kind: str) -> Json:
        granted = self._granted(grant.scopes)
        return {
            "token": token,
            "user": self._portal.users[ADMIN].email,
            "hub_domain": "acme.example.com",
            "scopes": [scope for scope in SCOPES if scope in granted],
            "hub_id": PORTAL_ID,
            "user_id": ADMIN,
            "token_type": kind,
        }


def unauthorized() -> Refused:
    what = (
        "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details"
        " at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
    )
    return Refused(401, what, "INVALID_AUTHENTICATION")


def out_of_scope(scopes: tuple[str, ...]) -> Refused:
    """403. Source: answers that people met; the newest name the scopes under `requiredGranularScopes`."""
    what = (
        "This app hasn't been granted all required scopes to make this call. Read more about required scopes here: "
        "https://developers.hubspot.com/scopes."
    )
    detail = {
        "message": "One or more of the following scopes are required.",
        "context": {"requiredGranularScopes": list(scopes)},
    }
    links = {"scopes": "https://developers.hubspot.com/scopes"}
    return Refused(403, what, "MISSING_SCOPES", errors=[detail], links=links)


def _expired(seconds: int, at: int) -> Refused:
    what = f"The OAuth token used to make this call expired {seconds} second(s) ago."
    return Refused(401, what, "EXPIRED_AUTHENTICATION", context={"expire time": [iso(at)]})


def _bad(what: str, message: str) -> Refused:
    fault = Refused(400, message, None)
    fault.more["status"] = f"BAD_{what}"
    return fault
