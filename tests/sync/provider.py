"""The toy as a CRM that can be connected: it signs in, spends, and says what a test wants it to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from app.connectors.provider import Flow, Grant, Setup
from app.connectors.shapes import Account, Call, Checked, Connector, Finding, Hint, Key, Notice
from tests.sync.toy import PERSON, Toy

TOKEN = Flow("token", ("token",), may=("tenant",))
BROWSER = Flow("browser", ("client_id", "client_secret"), is_interactive=True)
ACCOUNT = Account("Toys Ltd", "7", "The sync")


@dataclass
class ToyProvider:
    """`PROVIDER` of the toy."""

    toy: Toy = field(default_factory=Toy)
    account: Account = ACCOUNT
    findings: list[Finding] = field(default_factory=list)
    fault: Exception | None = None
    """What each call ends in."""
    recipe: str | None = None
    """How to have it call us by hand."""
    kind: str = "toy"
    title: str = "Toys"
    flows: Sequence[Flow] = (TOKEN, BROWSER)
    unit: str = "calls"
    budget: int = 1_000
    setups: list[Setup] = field(default_factory=list)
    """Of each time that somebody connected."""
    grants: int = 0
    closed: int = 0
    subscribed: list[tuple[str, str, str]] = field(default_factory=list)

    def connect(self, setup: Setup, client: Any) -> Connector:  # noqa: ARG002 # Any: as in the protocol
        if not isinstance(setup.choices.get("opt_out", ""), str):
            raise TypeError
        self.setups.append(setup)
        return cast("Connector", _Connected(self, setup))

    def authorize_url(self, setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:
        return f"https://toys.example.com/authorize {setup.credentials['client_id']} {redirect_uri} {challenge} {state}"

    async def exchange(
        self,
        setup: Setup,
        client: Any,  # noqa: ARG002 # Any: as above
        code: str,
        redirect_uri: str,
        verifier: str,
    ) -> Grant:
        if self.fault is not None:
            raise self.fault
        return Grant(f"access for {code}", f"{setup.flow} {verifier}", redirect_uri)

    async def sign_in(self, present: Grant | None) -> Grant:
        self.grants += 1
        return Grant(f"access {self.grants}", None if present is None else present.access_token)


class _Connected:
    """Does as the toy does, and signs in first."""

    def __init__(self, provider: ToyProvider, setup: Setup) -> None:
        self._provider = provider
        self._setup = setup

    def __getattr__(self, name: str) -> Any:  # Any: whatever the toy has
        return getattr(self._provider.toy, name)

    async def check(self) -> Checked:
        await self._call()
        return Checked(self._provider.account, self._provider.findings)

    async def describe(self, object_: str) -> Any:  # Any: as the toy says
        await self._call()
        return await self._provider.toy.describe(object_)

    def read_notice(self, call: Call) -> Notice:
        """A record on each line. `done` are activities; what is no UTF-8 cannot be read."""
        lines = call.body.decode().split("\n")
        hints = [Hint(Key(PERSON, line), Key(PERSON, f"{line} junior")) for line in lines if line != "done"]
        return Notice(hints, "done" in lines, f"<ok>{call.headers.get('x-toy')}</ok>".encode(), "text/xml")

    async def subscribe(self, url: str, user: str, password: str) -> str | None:
        self._provider.subscribed.append((url, user, password))
        return self._provider.recipe

    async def aclose(self) -> None:
        self._provider.closed += 1

    async def _call(self) -> None:
        self._setup.meter.allow(1)
        self._setup.meter.spend(1)
        if self._provider.fault is not None:
            raise self._provider.fault
        await self._setup.keeper.grant() or await self._setup.keeper.renew(None, self._provider.sign_in)
