"""How an environment knows us: Microsoft Entra's OAuth flows, what its token endpoint refuses, and when to be silent.

Of the two halves of a set-up the second is easily missed: beside the app registration in Entra there must be an
*application user* with a security role in the environment. Without it a token is granted, and every call is refused;
so a new grant is tried at once, by the call that says who we are.

Sources: Microsoft Learn, "Use OAuth authentication with Microsoft Dataverse", "Service protection API limits", and
"Microsoft identity platform application authentication certificate credentials".
"""

import base64
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import jwt
import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from app import clock
from app.connectors.dynamics import values
from app.connectors.faults import Busy, Refused, SignInRefused, Unreachable
from app.connectors.http import Http, Reply, asked_to_wait
from app.connectors.provider import Flow, Grant, Setup

_WHERE = ("authority",)
CLIENT_CREDENTIALS = Flow("client_credentials", ("tenant_id", "client_id", "client_secret"), may=_WHERE)
CERTIFICATE = Flow("certificate", ("tenant_id", "client_id", "certificate", "private_key"), may=_WHERE)
AUTHORIZATION_CODE = Flow(
    "authorization_code", ("tenant_id", "client_id"), may=("client_secret", *_WHERE), is_interactive=True
)
FLOWS = (CLIENT_CREDENTIALS, CERTIFICATE, AUTHORIZATION_CODE)

LOGIN = "https://login.microsoftonline.com"
"""Of all but the national clouds."""
API = "api/data/v9.2"
HEADERS = {"Accept": "application/json", "OData-MaxVersion": "4.0", "OData-Version": "4.0", "If-None-Match": "null"}
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIVES = timedelta(minutes=5)
_NOT_A_MEMBER, _EXPIRED = "0x80072560", "0x80044352"
_UNAUTHORIZED, _SERVERS_FAULT = 401, 500
_LONGEST_GUESS = timedelta(minutes=5)

_APP = "in Entra, App registrations, the app"
_ADDRESS = "give the address of the environment as base_url, as https://acme.crm4.dynamics.com"
_RECONNECT = "connect again; the refresh token was revoked, or not used for too long"
_REFUSALS: Mapping[str, tuple[str, str]] = {
    "AADSTS7000215": (
        "the client secret is wrong",
        f"copy the secret's value, which is not its id, anew: {_APP}, Certificates & secrets",
    ),
    "AADSTS7000222": (
        "the client secret has expired",
        f"make a new one and give its value here: {_APP}, Certificates & secrets; it lasts two years at most",
    ),
    "AADSTS700027": (
        "the app does not know the certificate, or the private key is another's",
        f"upload the certificate: {_APP}, Certificates & secrets, Certificates",
    ),
    "AADSTS700016": ("the tenant does not know the app", f"compare the client_id and the tenant_id: {_APP}, Overview"),
    "AADSTS90002": ("there is no such tenant", f"compare the tenant_id: {_APP}, Overview"),
    "AADSTS500011": ("there is no environment at this address, or not in this tenant", _ADDRESS),
    "AADSTS650057": ("the app may not ask for Dynamics", f"add the permission user_impersonation: {_APP}"),
    "AADSTS65001": ("nobody consented to the app", f"grant admin consent: {_APP}, API permissions"),
    "AADSTS50011": ("the app does not know the callback address", f"add it: {_APP}, Authentication"),
    "invalid_client": ("the app's secret or certificate is refused", f"see {_APP}, Certificates & secrets"),
    "unauthorized_client": ("the app may not sign in so", f"compare the client_id and the tenant_id: {_APP}"),
    "invalid_resource": ("there is no environment at this address, or not in this tenant", _ADDRESS),
    "invalid_grant": ("Entra has ended what somebody granted by signing in", _RECONNECT),
}
"""By Entra's number, or else by `error`: what is wrong, and what to do about it."""
_PASSING = {"server_error", "temporarily_unavailable"}
_NUMBER = re.compile(r"AADSTS\d+")
_ELSE = "see Entra's sign-in logs for the reason (Monitoring, Sign-in logs, Service principal sign-ins)"


class Access:
    """The authority of one connection; see `connectors/http.py`."""

    def __init__(self, http: Http, setup: Setup) -> None:
        self._http = http
        self._setup = setup
        self._unexplained = 0
        """How often in a row we were told to wait, and not for how long."""

    async def sign_in(self, present: Grant | None) -> Grant:
        match self._setup.flow:
            case CLIENT_CREDENTIALS.name:
                return await self._granted(
                    None,
                    grant_type="client_credentials",
                    scope=f"{organisation(self._setup)}/.default",
                    **self._said("client_secret"),
                )
            case CERTIFICATE.name:
                return await self._granted(
                    None,
                    grant_type="client_credentials",
                    scope=f"{organisation(self._setup)}/.default",
                    client_assertion_type=_ASSERTION,
                    client_assertion=self._assertion(),
                )
        if present is None or present.refresh_token is None:
            raise SignInRefused("not_connected", "nobody has signed in yet", "connect with a browser")
        return await self._granted(
            present.refresh_token,
            grant_type="refresh_token",
            refresh_token=present.refresh_token,
            scope=_delegated(self._setup),
            **self._said("client_secret"),
        )

    async def exchange(self, code: str, redirect_uri: str, verifier: str) -> Grant:
        return await self._granted(
            None,
            grant_type="authorization_code",
            code=code,
            redirect_uri=redirect_uri,
            code_verifier=verifier,
            scope=_delegated(self._setup),
            **self._said("client_secret"),
        )

    def headers(self, grant: Grant) -> Mapping[str, str]:
        return {**HEADERS, "Authorization": f"Bearer {grant.access_token}"}

    def is_stale(self, reply: Reply) -> bool:
        return reply.status == _UNAUTHORIZED

    def silence(self, reply: Reply) -> Busy | None:
        """To the second what Retry-After says: who asks before that waits longer. Without it 2, 4, 8 … s.

        Raises Refused for a link to changes that has expired: its status is not documented, and if it were that of a
        server's fault, it would be asked for again for ever.
        """
        if (
            reply.status >= _SERVERS_FAULT
            and isinstance(expired := refused(reply), Refused)
            and expired.code == _EXPIRED
        ):
            raise expired
        found = asked_to_wait(reply, min(timedelta(seconds=2 << min(self._unexplained, 10)), _LONGEST_GUESS))
        if found is None:
            self._unexplained = 0
        elif "retry-after" not in reply.headers:
            self._unexplained += 1
        return found

    def _said(self, *names: str) -> dict[str, str]:
        return {name: self._setup.credentials[name] for name in names if self._setup.credentials.get(name)}

    # --- tokens -------------------------------------------------------------------------------------------------------

    async def _granted(self, known_refresh: str | None, **form: str) -> Grant:
        """What the token endpoint gives, and who we are by it. Raises SignInRefused, Busy and Unreachable."""
        said = await self._token({"client_id": self._setup.credentials.get("client_id", ""), **form})
        # A refresh token is for one use: what comes with the answer takes its place.
        refresh = said.get("refresh_token") or known_refresh
        return await self._known(Grant(said["access_token"], refresh))

    async def _token(self, form: Mapping[str, str]) -> dict[str, Any]:  # Any: JSON
        reply = await self._http.send("POST", f"{_tenant(self._setup)}/oauth2/v2.0/token", form=form)
        if (silence := asked_to_wait(reply, timedelta(seconds=30))) is not None:
            raise silence
        said = reply.json()
        if not isinstance(said, dict):
            raise Unreachable(f"the token endpoint's answer with status {reply.status} makes no sense")
        if not reply.is_success:
            raise _refusal(reply, said)
        if not isinstance(said.get("access_token"), str):
            raise Unreachable("the token endpoint's answer holds no token")
        return said

    async def _known(self, grant: Grant) -> Grant:
        """The grant with our user's id, by which our own changes are known."""
        self._setup.meter.allow(1)
        self._setup.meter.spend(1)
        url = f"{organisation(self._setup)}/{API}/WhoAmI"
        reply = await self._http.send("GET", url, headers=self.headers(grant))
        if (silence := self.silence(reply)) is not None:
            raise silence
        if not reply.is_success:
            raise _nobody(reply)
        said = reply.json()
        user = values.guid(said.get("UserId")) if isinstance(said, dict) else None
        if user is None:
            raise Unreachable("the environment does not say who we are")
        return Grant(grant.access_token, grant.refresh_token, None, user, {"organization": str(said["OrganizationId"])})

    def _assertion(self) -> str:
        """Signed by the private key, and naming its certificate by its fingerprint. Raises SignInRefused."""
        mend = "paste the certificate and its private key in PEM, each from BEGIN to END, without a passphrase"
        # What came through an environment variable often has its line breaks written out.
        pem = {name: value.replace("\\n", "\n") for name, value in self._said("certificate", "private_key").items()}
        try:
            known = x509.load_pem_x509_certificate(pem.get("certificate", "").encode())
            now, app = clock.now(), self._setup.credentials.get("client_id", "")
            claims = {
                "aud": f"{_tenant(self._setup)}/oauth2/v2.0/token",
                "iss": app,
                "sub": app,
                "jti": str(uuid4()),
                "nbf": int((now - timedelta(minutes=1)).timestamp()),
                "exp": int((now + _ASSERTION_LIVES).timestamp()),
            }
            # Entra takes the fingerprint by either digest; it documents the older one the longest.
            digest = known.fingerprint(hashes.SHA1())  # noqa: S303 - a name, and no proof of anything
            named = {"x5t": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()}
            return jwt.encode(claims, pem.get("private_key", ""), algorithm="RS256", headers=named)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise SignInRefused("bad_key", "the certificate or its private key cannot be read", mend) from None


def organisation(setup: Setup) -> str:
    """`https://acme.crm4.dynamics.com`, without a slash: the scope of a token is just this. Raises SignInRefused."""
    if setup.base_url is None:
        raise SignInRefused("address_missing", "each environment has an address of its own", _ADDRESS)
    parts = urlsplit(setup.base_url.rstrip("/"))
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}"


def authorize_url(setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:
    query = {
        "response_type": "code",
        "client_id": setup.credentials.get("client_id", ""),
        "redirect_uri": redirect_uri,
        "scope": _delegated(setup),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{_tenant(setup)}/oauth2/v2.0/authorize?{urlencode(query)}"


def refused(reply: Reply) -> Refused | SignInRefused | Unreachable:
    """What an answer that is no success says. The status does not follow from the code, nor the other way round."""
    try:
        said: Any = orjson.loads(reply.body)  # Any: JSON
    except orjson.JSONDecodeError:
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return Unreachable(f"an answer with status {reply.status} was not the Web API's")
    code, message = str(error.get("code") or f"http_{reply.status}"), error["message"]
    if code == _NOT_A_MEMBER:
        return SignInRefused(
            "no_application_user",
            "the app is no user of this environment",
            "in the Power Platform admin center, Environments, the environment, Settings, Users + permissions, "
            "Application users: add the app, with a security role",
        )
    return Refused(code, values.without_data(message))


def _nobody(reply: Reply) -> Refused | SignInRefused | Unreachable:
    """Why we are nobody there, by the answer to the very first call."""
    if reply.status == _UNAUTHORIZED:
        return SignInRefused("wrong_environment", "the environment does not take a token of this tenant", _ADDRESS)
    fault = refused(reply)
    if not isinstance(fault, Refused):
        return fault
    return SignInRefused(
        "refused", f"the environment refuses our user ({fault})", "see whether the application user is enabled"
    )


def _refusal(reply: Reply, said: Mapping[str, Any]) -> SignInRefused | Unreachable:  # Any: JSON
    error = said.get("error")
    if not isinstance(error, str) or error in _PASSING or reply.status >= 500:
        return Unreachable(f"the token endpoint answered {reply.status}")
    number = _NUMBER.search(str(said.get("error_description", "")))
    code = number[0] if number else error
    what, mend = _REFUSALS.get(code) or _REFUSALS.get(error) or (f"Entra refuses to sign us in ({code})", _ELSE)
    return SignInRefused(code, what, mend)


def _tenant(setup: Setup) -> str:
    authority = (setup.credentials.get("authority") or LOGIN).rstrip("/")
    return f"{authority}/{quote(setup.credentials.get('tenant_id', ''), safe='')}"


def _delegated(setup: Setup) -> str:
    return f"{organisation(setup)}/user_impersonation offline_access"
