"""How a connector is made: what a CRM needs to be signed in to, and what is kept of that.

`connectors/shapes.py` says what a connector then does.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from app.connectors.shapes import Connector


class Flow(NamedTuple):
    """A way to sign in, and what it needs."""

    name: str
    """`client_credentials`, `jwt_bearer`, `web_server`, `api_token`."""
    needs: tuple[str, ...]
    """Names of credentials that must be given: `client_id`, `client_secret`."""
    may: tuple[str, ...] = ()
    is_interactive: bool = False
    """Whether somebody must sign in with a browser; `authorize_url` says where."""


@dataclass(frozen=True)
class Grant:
    """What signing in gave. Kept sealed; never logged."""

    access_token: str
    refresh_token: str | None = None
    base_url: str | None = None
    """Where the API is, if the CRM says so."""
    user: str | None = None
    """Who we are, if the CRM says so."""
    more: Mapping[str, str] = field(default_factory=dict)


class Keeper(Protocol):
    """Holds a connection's grant, for all processes."""

    async def grant(self) -> Grant | None:
        """The present one."""

    async def renew(self, stale: Grant | None, sign_in: Callable[[Grant | None], Awaitable[Grant]]) -> Grant:
        """The present grant if it is another than `stale`; else what `sign_in` makes of the present one, kept before it
        is returned. One at a time over all processes."""


class Meter(Protocol):
    """Counts what calls cost, and says when it is enough. Costs are in the CRM's own unit."""

    def allow(self, cost: int) -> None:
        """Before a call. Raises BudgetSpent."""

    def spend(self, cost: int) -> None:
        """After it was sent, whatever came of it."""

    def report(self, limit: int, remaining: int) -> None:
        """What the CRM says of its own budget, which others use too."""


@dataclass(frozen=True)
class Setup:
    """What a connector is made of."""

    flow: str
    credentials: Mapping[str, str]
    keeper: Keeper
    meter: Meter
    base_url: str | None = None
    """In place of where the CRM is by default: its own domain, a sandbox."""
    choices: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON; each connector documents its own


class Provider(Protocol):
    """One CRM: what it needs, and how to connect to it. Each connector's module has one as `PROVIDER`."""

    @property
    def kind(self) -> str:
        """`salesforce`"""

    @property
    def title(self) -> str:
        """`Salesforce`"""

    @property
    def flows(self) -> Sequence[Flow]:
        """The ways to sign in; the first is the best."""

    @property
    def unit(self) -> str:
        """What its budget counts: `requests`, `tokens`."""

    @property
    def budget(self) -> int:
        """What a connection may spend a day if nobody says otherwise."""

    def connect(self, setup: Setup, client: Any) -> Connector:  # Any: connectors/http.py's Client, which is below none
        """Costs nothing: nothing goes over the wire."""

    def authorize_url(self, setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:
        """Where somebody signs in with a browser, by an interactive flow; `challenge` is PKCE's, S256."""

    async def exchange(
        self, setup: Setup, client: Any, code: str, redirect_uri: str, verifier: str
    ) -> Grant:  # Any: so
        """The grant for the code that the browser brought."""
