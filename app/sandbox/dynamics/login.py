"""Signing in to the tenant: how a client gets its token, and how long that holds.

Source: "Use OAuth authentication with Microsoft Dataverse", and the error codes of Microsoft Entra.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from app.sandbox import oauth
from app.sandbox.dynamics.certificate import Certificate
from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.wire import Json

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIVES_S = 3_599
_CODE_LIVES = timedelta(minutes=10)
_REFRESH_LIVES = timedelta(days=90)
_MOST_TOKENS, _MOST_CODES = 1_000, 100


@dataclass
class _Token:
    made_at: datetime
    audience: str
    calls: int = 0


@dataclass(frozen=True)
class _Code:
    redirect_uri: str
    challenge: str
    made_at: datetime
    gives_refresh: bool


class NotGiven(Exception):
    """No token: the body of the reply, and its status."""

    def __init__(self, status: int, error: str, number: int, description: str, now: datetime) -> None:
        super().__init__(description)
        self.status = status
        trace, correlation = str(uuid4()), str(uuid4())
        at = f"{now:%Y-%m-%d %H:%M:%S}Z"
        self.body: Json = {
            "error": error,
            "error_description": (
                f"AADSTS{number}: {description} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}"
            ),
            "error_codes": [number],
            "timestamp": at,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={number}",
        }


class Login:
    """One tenant with one app, which has a secret and a certificate."""

    def __init__(self, org: Org, tenant_id: str, client_id: str, client_secret: str) -> None:
        self.tenant_id = tenant_id
        self.client_id = client_id
        self.client_secret = client_secret
        self.certificate = Certificate()
        self._org = org
        self._tokens: dict[str, _Token] = {}
        self._codes: dict[str, _Code] = {}
        self._refresh: dict[str, datetime] = {}

    def check(self, token: str, base_url: str) -> bool:
        """Whether a call with this token is let in to the environment at `base_url`; counts it."""
        known = self._tokens.get(token)
        most = self._org.faults.token_calls
        if known is None or known.audience != base_url:
            return False
        if self._org.now() - known.made_at > timedelta(seconds=_LIVES_S) or 0 < most <= known.calls:
            del self._tokens[token]
            return False
        known.calls += 1
        return True

    def expire(self) -> None:
        """End all access tokens."""
        self._tokens.clear()

    def configuration(self, tenant: str, base_url: str) -> Json:
        """Raises NotGiven."""
        self._check_tenant(tenant)
        place = f"{base_url}/{tenant}"
        return {
            "token_endpoint": f"{place}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{place}/discovery/v2.0/keys",
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": f"{base_url}/{self.tenant_id}/v2.0",
            "authorization_endpoint": f"{place}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{place}/oauth2/v2.0/devicecode",
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
        }

    def token(self, tenant: str, form: Mapping[str, str], base_url: str, *, is_v1: bool = False) -> Json:
        """The reply of the token endpoint. Raises NotGiven."""
        self._check_tenant(tenant)
        self._check_client(form, f"{base_url}/{tenant}", is_v1=is_v1)
        match form.get("grant_type"):
            case "client_credentials":
                self._check_audience(form, base_url, ".default", is_v1=is_v1)
                return self._reply(base_url)
            case "authorization_code":
                return self._reply(base_url, refresh=self._redeem(form))
            case "refresh_token":
                self._check_audience(form, base_url, "", is_v1=is_v1)
                return self._reply(base_url, refresh=self._renew(form.get("refresh_token", "")))
        raise self._refused(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")

    def authorize(self, tenant: str, query: Mapping[str, str], base_url: str) -> str:
        """Where the browser goes from here: back with a code, as the user says yes at once. Raises NotGiven."""
        self._check_tenant(tenant)
        uri = query.get("redirect_uri", "")
        if query.get("client_id") != self.client_id:
            raise self._unknown_app(query.get("client_id", ""))
        if query.get("response_type") != "code" or not uri.startswith(("http://", "https://")):
            raise self._refused(400, "invalid_request", 50011, "The redirect URI does not match the app's.")
        self._check_audience(query, base_url, "", is_v1=False)
        while len(self._codes) >= _MOST_CODES:
            del self._codes[next(iter(self._codes))]
        code = f"0.A{secrets.token_urlsafe(40)}"
        gives_refresh = "offline_access" in query.get("scope", "").split()
        self._codes[code] = _Code(uri, query.get("code_challenge", ""), self._org.now(), gives_refresh)
        return oauth.sent_back(uri, code, query)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _refused(self, status: int, error: str, number: int, description: str) -> NotGiven:
        return NotGiven(status, error, number, description, self._org.now())

    def _unknown_app(self, client_id: str) -> NotGiven:
        description = f"Application with identifier '{client_id}' was not found in the directory 'acme'."
        return self._refused(400, "unauthorized_client", 700016, description)

    def _check_tenant(self, tenant: str) -> None:
        if tenant.lower() != self.tenant_id:
            description = f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
            raise self._refused(400, "invalid_request", 90002, description)

    def _check_client(self, form: Mapping[str, str], place: str, *, is_v1: bool) -> None:
        client_id = form.get("client_id", "")
        if client_id.lower() != self.client_id:
            raise self._unknown_app(client_id)
        if form.get("client_assertion_type") == ASSERTION:
            self._check_assertion(form.get("client_assertion", ""), place, is_v1=is_v1)
            return
        if self._org.faults.secret_expired:
            description = f"The provided client secret keys for app '{client_id}' are expired."
            raise self._refused(401, "invalid_client", 7000222, description)
        if not oauth.is_same_secret(form.get("client_secret", ""), self.client_secret):
            description = (
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{client_id}'."
            )
            raise self._refused(401, "invalid_client", 7000215, description)

    def _check_audience(self, form: Mapping[str, str], base_url: str, wanted: str, *, is_v1: bool) -> None:
        """The environment that the token is for; `wanted` is the scope's last part, `""` for any."""
        if is_v1:
            said = [form.get("resource", "").rstrip("/")]
        else:
            scopes = [one for one in form.get("scope", "").split() if "://" in one]
            said = [one.rpartition("/")[0] for one in scopes if one.rpartition("/")[2] == wanted or not wanted]
        if said != [base_url]:
            description = f"The resource principal named {said[0] if said else ''} was not found in the tenant."
            raise self._refused(400, "invalid_resource", 500011, description)

    def _check_assertion(self, assertion: str, place: str, *, is_v1: bool) -> None:
        signed, _, signature = assertion.rpartition(".")
        heading, _, claims = signed.partition(".")
        said, about = oauth.parsed(claims), oauth.parsed(heading)
        # Some clients fill the digest up with `=`.
        named = {str(about[name]).rstrip("=") for name in ("x5t", "x5t#S256") if name in about}
        is_named = bool(named & {self.certificate.thumbprint, self.certificate.sha256})
        try:
            self.certificate.public_key.verify(
                oauth.decoded(signature), signed.encode(), _padding(about), hashes.SHA256()
            )
        except InvalidSignature:
            is_named = False
        if not is_named:
            description = "The certificate with identifier used to sign the client assertion is not registered."
            raise self._refused(401, "invalid_client", 700027, description)
        own = f"{place}/oauth2/token" if is_v1 else f"{place}/oauth2/v2.0/token"
        expires, now = said.get("exp"), self._org.now().timestamp()
        if said.get("aud") not in (own, f"{place}/v2.0") or not {said.get("iss"), said.get("sub")} == {self.client_id}:
            raise self._refused(401, "invalid_client", 700023, "Client assertion audience claim does not match.")
        if isinstance(expires, bool) or not isinstance(expires, int | float) or expires < now - 300:
            raise self._refused(401, "invalid_client", 700024, "Client assertion is not within its valid time range.")

    def _redeem(self, form: Mapping[str, str]) -> str | None:
        """A refresh token, if the code gives one."""
        code = self._codes.pop(form.get("code", ""), None)
        if (
            code is None
            or self._org.now() - code.made_at > _CODE_LIVES
            or code.redirect_uri != form.get("redirect_uri")
        ):
            raise self._refused(400, "invalid_grant", 70008, "The provided authorization code has expired.")
        if not oauth.is_proof(form.get("code_verifier", ""), code.challenge):
            raise self._refused(400, "invalid_grant", 501481, "The Code_Verifier does not match the code_challenge.")
        return self._new_refresh() if code.gives_refresh else None

    def _renew(self, said: str) -> str:
        used_at = self._refresh.get(said)
        if used_at is None or self._org.now() - used_at > _REFRESH_LIVES:
            raise self._refused(400, "invalid_grant", 700082, "The refresh token has expired due to inactivity.")
        if self._org.faults.rotate_refresh_tokens:
            del self._refresh[said]
        else:
            self._refresh[said] = self._org.now()
        return self._new_refresh()

    def _new_refresh(self) -> str:
        while len(self._refresh) >= _MOST_TOKENS:
            del self._refresh[next(iter(self._refresh))]
        made = f"1.A{secrets.token_urlsafe(60)}"
        self._refresh[made] = self._org.now()
        return made

    def _reply(self, base_url: str, refresh: str | None = None) -> Json:
        while len(self._tokens) >= _MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        token = f"eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.{secrets.token_urlsafe(90)}.{secrets.token_urlsafe(60)}"
        self._tokens[token] = _Token(self._org.now(), base_url)
        reply = {"token_type": "Bearer", "expires_in": _LIVES_S, "ext_expires_in": _LIVES_S, "access_token": token}
        if refresh is None:
            return reply
        return {**reply, "scope": f"{base_url}/user_impersonation", "refresh_token": refresh}


def _padding(heading: Mapping[str, Any]) -> padding.AsymmetricPadding:  # Any: JSON
    """RS256; clients of today sign with PS256 where they name the certificate by its SHA-256."""
    if heading.get("alg") == "PS256":
        return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return padding.PKCS1v15()
