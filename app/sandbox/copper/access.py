"""Who may call: API keys with their three headers, and OAuth 2, whose tokens never end.

Source: "Authentication" and "Copper OAuth2.0 Flow". The body of a 401 is not documented.
"""

from collections.abc import Mapping
from typing import NamedTuple

from app.sandbox import oauth
from app.sandbox.copper.account import HUMAN, INTEGRATION, RESTRICTED, Account
from app.sandbox.copper.wire import Caller, Json, Refused

SCOPE = "developer/v1/all"
_APPLICATION = "developer_api"
_CODE_LIFETIME_S = 300


class Code(NamedTuple):
    redirect_uri: str
    expires_at: int


class Access:
    """Keys and tokens of one account: user by key."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.keys = {account.secret(f"key {user}"): user for user in (INTEGRATION, HUMAN, RESTRICTED)}
        self.tokens: dict[str, int] = {}
        self.client_id = account.secret("client")
        self.client_secret = account.secret("client secret")
        self._codes: dict[str, Code] = {}

    def key(self, user_id: int) -> str:
        return self._account.secret(f"key {user_id}")

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who calls. Raises Refused (401)."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            if token in self.tokens:
                return self._user(self.tokens[token], token)
        else:
            key = headers.get("x-pw-accesstoken", "")
            user_id = self.keys.get(key)
            email = headers.get("x-pw-useremail", "").lower()
            is_ours = headers.get("x-pw-application") == _APPLICATION
            if is_ours and user_id is not None and email == self._account.users[user_id].email:
                return self._user(user_id, key)
        raise unauthorized()

    def _user(self, user_id: int, key: str) -> Caller:
        return Caller(user_id, key, self._account.users[user_id].is_admin)

    def revoke(self, key: str) -> None:
        """Somebody removes a key or a token, and with it the webhooks that it made."""
        self.keys.pop(key, None)
        self.tokens.pop(key, None)
        hooks = self._account.hooks
        for number in [hook.id for hook in hooks.values() if hook.key == key]:
            del hooks[number]

    # --- OAuth 2 ------------------------------------------------------------------------------------------------------

    def authorize(self, query: Mapping[str, str]) -> str:
        """Where the browser is sent on, with a code: nobody is asked. Raises Refused (400)."""
        redirect_uri = query.get("redirect_uri", "")
        if query.get("client_id") != self.client_id or not redirect_uri.startswith(("http://", "https://")):
            raise _refused("invalid_client", "client_id or redirect_uri is not known")
        if query.get("response_type") != "code" or query.get("scope") != SCOPE:
            raise _refused("invalid_scope", f"response_type is code and scope is {SCOPE}")
        code = self._account.secret(f"code {self._account.next_id('code')}")
        self._codes[code] = Code(redirect_uri, self._account.now() + _CODE_LIFETIME_S)
        return oauth.sent_back(redirect_uri, code, query)

    def token(self, form: Mapping[str, str]) -> Json:
        """Exchange a code; the secret is in the form. Raises Refused (400, 401)."""
        given = form.get("client_secret", "")
        if form.get("client_id") != self.client_id or not oauth.is_same_secret(given, self.client_secret):
            raise _refused("invalid_client", "the client is not known", 401)
        if form.get("grant_type") != "authorization_code":
            raise _refused("unsupported_grant_type", "grant_type is authorization_code")
        code = self._codes.pop(form.get("code", ""), None)
        is_late = code is not None and self._account.now() >= code.expires_at
        if code is None or is_late or form.get("redirect_uri") != code.redirect_uri:
            raise _refused("invalid_grant", "the code is not known, or ended, or redirect_uri is another")
        return {"access_token": self.grant(), "token_type": "Bearer", "scope": SCOPE}

    def grant(self, user_id: int = INTEGRATION) -> str:
        """A new token, which lasts until somebody revokes it."""
        token = self._account.secret(f"token {self._account.next_id('token')}")
        self.tokens[token] = user_id
        return token


def unauthorized() -> Refused:
    return Refused(401, "Invalid credentials")


def _refused(error: str, description: str, status: int = 400) -> Refused:
    return Refused(status, description, {"error": error, "error_description": description})
