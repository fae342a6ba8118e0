"""OAuth: how a client gets its token, and how long that holds. Source: Salesforce's pages on its OAuth flows."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from app.sandbox import oauth
from app.sandbox.salesforce.org import INTEGRATION, ORG_ID, USERNAME, Org
from app.sandbox.salesforce.wire import Json

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_IDLE = timedelta(hours=2)
_CODE_LIVES = timedelta(minutes=15)
# The documentation says three minutes; clients that ask for five work all the same.
_JWT_AHEAD = timedelta(minutes=5, seconds=30)
_AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")
_MOST_GRANTS, _MOST_TOKENS, _MOST_CODES = 5, 1_000, 100


@dataclass
class _Token:
    used_at: datetime
    grant: int | None
    calls: int = 0


@dataclass
class _Grant:
    """What a user allowed the app, for as long as its refresh tokens live."""

    alive: str
    dead: set[str] = field(default_factory=set)
    """Refresh tokens that were rotated away."""


@dataclass(frozen=True)
class _Code:
    redirect_uri: str
    challenge: str
    made_at: datetime


class NotGiven(Exception):
    """No token: the `error` and the `error_description` of the reply."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


class Login:
    """One app, allowed to act as the integration user."""

    def __init__(self, org: Org, client_id: str, client_secret: str) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self._org = org
        self._tokens: dict[str, _Token] = {}
        self._grants: dict[int, _Grant] = {}
        self._codes: dict[str, _Code] = {}
        self._granted = 0

    @cached_property
    def private_key(self) -> rsa.RSAPrivateKey:
        """Signs the assertions of the JWT bearer flow; the app knows its public half."""
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    @property
    def private_pem(self) -> str:
        kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.private_key.private_bytes(serialization.Encoding.PEM, kind, plain).decode()

    def check(self, token: str) -> bool:
        """Whether a call with this token is let in; counts it."""
        known = self._tokens.get(token)
        now = self._org.now()
        most = self._org.faults.token_calls
        if known is None or now - known.used_at > _IDLE or 0 < most <= known.calls:
            self._tokens.pop(token, None)
            return False
        known.used_at = now
        known.calls += 1
        return True

    def token(self, form: Mapping[str, str], authorization: str, base_url: str) -> Json:
        """The reply of the token endpoint. Raises NotGiven. `base_url` is where this org is served."""
        if self._org.faults.login:
            raise NotGiven(_ERRORS.get(self._org.faults.login, "invalid_grant"), self._org.faults.login)
        match form.get("grant_type"):
            case "client_credentials":
                self._check_client(form, authorization, needs_secret=True)
                return self._reply(base_url, None)
            case "authorization_code":
                self._check_client(form, authorization, needs_secret="code_verifier" not in form)
                grant = self._redeem_code(form)
                return self._reply(base_url, grant, refresh=self._grants[grant].alive)
            case "refresh_token":
                self._check_client(form, authorization, needs_secret=False)
                return self._refresh(form.get("refresh_token", ""), base_url)
            case grant_type if grant_type == JWT_BEARER:
                self._check_assertion(form.get("assertion", ""), base_url)
                return self._reply(base_url, None)
        raise NotGiven("unsupported_grant_type", "grant type not supported")

    def authorize(self, query: Mapping[str, str]) -> str:
        """Where the browser goes from here: back with a code, as the user says yes at once. Raises NotGiven."""
        uri = query.get("redirect_uri", "")
        if query.get("client_id") != self.client_id:
            raise NotGiven("invalid_client_id", "client identifier invalid")
        if not uri.startswith(("http://", "https://")):
            raise NotGiven("redirect_uri_mismatch", "redirect_uri must match configuration")
        if query.get("response_type") != "code" or query.get("code_challenge_method", "S256") != "S256":
            raise NotGiven("unsupported_response_type", "response type must be code, with a challenge by S256")
        code = f"aPrx{secrets.token_urlsafe(40)}"
        while len(self._codes) >= _MOST_CODES:
            del self._codes[next(iter(self._codes))]
        self._codes[code] = _Code(uri, query.get("code_challenge", ""), self._org.now())
        return oauth.sent_back(uri, code, query)

    def revoke(self, token: str) -> bool:
        """End an access token, or a refresh token with all that it gave."""
        if self._tokens.pop(token, None) is not None:
            return True
        for number, grant in self._grants.items():
            if token == grant.alive:
                self._end(number)
                return True
        return False

    def expire(self) -> None:
        """End all access tokens."""
        self._tokens.clear()

    def introspect(self, token: str) -> Json:
        if token not in self._tokens:
            return {"active": False}
        about = {"client_id": self.client_id, "username": USERNAME, "sub": identity("", INTEGRATION)}
        return {"active": True, "scope": "api refresh_token", "token_type": "access_token", **about}

    # --- parts --------------------------------------------------------------------------------------------------------

    def _check_client(self, form: Mapping[str, str], authorization: str, *, needs_secret: bool) -> None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret")
        kind, _, encoded = authorization.partition(" ")
        if kind.lower() == "basic":
            try:
                client_id, _, said = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise NotGiven("invalid_client", "invalid client credentials") from None
            client_id, secret = unquote(client_id), unquote(said)
        if client_id != self.client_id:
            raise NotGiven("invalid_client_id", "client identifier invalid")
        if secret is None and not needs_secret:
            return
        if not oauth.is_same_secret(secret or "", self.client_secret):
            raise NotGiven("invalid_client", "invalid client credentials")

    def _redeem_code(self, form: Mapping[str, str]) -> int:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or self._org.now() - code.made_at > _CODE_LIVES:
            raise NotGiven("invalid_grant", "expired authorization code")
        if code.redirect_uri != form.get("redirect_uri"):
            raise NotGiven("redirect_uri_mismatch", "redirect_uri must match configuration")
        if not oauth.is_proof(form.get("code_verifier", ""), code.challenge):
            raise NotGiven("invalid_grant", "invalid code verifier")
        # A user's sixth authorization of an app ends the first, without a word.
        while len(self._grants) >= _MOST_GRANTS:
            self._end(min(self._grants))
        self._granted += 1
        self._grants[self._granted] = _Grant(_refresh_token())
        return self._granted

    def _refresh(self, said: str, base_url: str) -> Json:
        for number, grant in list(self._grants.items()):
            if said in grant.dead:
                # A stolen one, perhaps: nobody may go on.
                self._end(number)
            elif said == grant.alive:
                if not self._org.faults.rotate_refresh_tokens:
                    return self._reply(base_url, number)
                grant.dead.add(grant.alive)
                grant.alive = _refresh_token()
                return self._reply(base_url, number, refresh=grant.alive)
        raise NotGiven("invalid_grant", "expired access/refresh token")

    def _end(self, number: int) -> None:
        del self._grants[number]
        self._tokens = {text: token for text, token in self._tokens.items() if token.grant != number}

    def _check_assertion(self, assertion: str, base_url: str) -> None:
        signed, _, signature = assertion.rpartition(".")
        heading, _, claims = signed.partition(".")
        said, about = oauth.parsed(claims), oauth.parsed(heading)
        if said.get("iss") != self.client_id:
            raise NotGiven("invalid_client_id", "client identifier invalid")
        try:
            public = self.private_key.public_key()
            public.verify(oauth.decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise NotGiven("invalid_grant", "invalid assertion") from None
        if about.get("alg") != "RS256":
            raise NotGiven("invalid_grant", "invalid assertion")
        if said.get("aud") not in (*_AUDIENCES, base_url):
            raise NotGiven("invalid_grant", "audience is invalid")
        if said.get("sub") != USERNAME:
            raise NotGiven("invalid_grant", "user hasn't approved this consumer")
        expires = str(said.get("exp"))
        left = int(expires) - self._org.now().timestamp() if expires.isdecimal() and len(expires) < 12 else -1
        if not 0 < left <= _JWT_AHEAD.total_seconds():
            raise NotGiven("invalid_grant", "assertion is expired, or expires too late")

    def _reply(self, base_url: str, grant: int | None, *, refresh: str | None = None) -> Json:
        token = f"{ORG_ID[:15]}!AR8AQ{secrets.token_urlsafe(60)}"
        while len(self._tokens) >= _MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        now = self._org.now()
        self._tokens[token] = _Token(now, grant)
        issued_at = str(int(now.timestamp() * 1_000))
        id_ = identity(base_url, INTEGRATION)
        digest = hmac.digest(self.client_secret.encode(), f"{id_}{issued_at}".encode(), "sha256")
        reply = {
            "access_token": token,
            "signature": base64.b64encode(digest).decode(),
            "scope": "api" if grant is None else "api refresh_token",
            "token_format": "opaque",
            "instance_url": self._org.faults.instance_url or base_url,
            "id": id_,
            "token_type": "Bearer",
            "issued_at": issued_at,
        }
        return reply | ({"refresh_token": refresh} if refresh is not None else {})


def identity(base_url: str, user_id: str) -> str:
    return f"{base_url}/id/{ORG_ID}/{user_id}"


def userinfo(org: Org, base_url: str) -> Json:
    user = org.table("User").rows[INTEGRATION]
    name = f"{user['FirstName']} {user['LastName']}"
    return {
        "sub": identity(base_url, INTEGRATION),
        "user_id": INTEGRATION,
        "organization_id": ORG_ID,
        "preferred_username": user["Username"],
        "name": name,
        "email": user["Email"],
        "email_verified": True,
        "given_name": user["FirstName"],
        "family_name": user["LastName"],
        "zoneinfo": "Europe/London",
        "locale": "en_US",
        "active": True,
        "urls": {
            "rest": f"{base_url}/services/data/v{{version}}/",
            "sobjects": f"{base_url}/services/data/v{{version}}/sobjects/",
            "query": f"{base_url}/services/data/v{{version}}/query/",
        },
    }


def _refresh_token() -> str:
    return f"5Aep861{quote(secrets.token_urlsafe(50))}"


_ERRORS = {
    "client identifier invalid": "invalid_client_id",
    "invalid client credentials": "invalid_client",
    "user is not admin approved to access this app": "invalid_app_access",
    "grant type not supported": "unsupported_grant_type",
}
"""By description; all others are `invalid_grant`."""
