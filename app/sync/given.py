"""What somebody gives for a connection, and what is wrong with it as far as can be told without calling anybody."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from app.connectors.provider import Flow, Grant, Provider, Setup
from app.errors import Fault
from app.outbound import is_public
from app.sync.options import Options

_OF_THIS_NETWORK = (".local", ".internal", ".localhost", ".lan", ".home.arpa")


class New(NamedTuple):
    """A connection to be made."""

    kind: str
    name: str
    flow: str | None
    """None: the best that the CRM has."""
    credentials: Mapping[str, str]
    base_url: str | None = None
    options: Options = Options()


class Edit(NamedTuple):
    """What to change of a connection; None leaves it."""

    options: Mapping[str, Any] | None = None  # Any: JSON; by the names of Options, those that change
    credentials: Mapping[str, str] | None = None
    base_url: str | None = None
    clears_base_url: bool = False
    flow: str | None = None

    @property
    def signs_in_anew(self) -> bool:
        return self.credentials is not None or self.moves

    @property
    def moves(self) -> bool:
        """Whether what signs in would go elsewhere than it was given for."""
        return self.base_url is not None or self.clears_base_url or self.flow is not None


def flow_of(provider: Provider, name: str) -> Flow | None:
    return next((one for one in provider.flows if one.name == name), None)


def address_fault(url: str, *, private: bool) -> str | None:
    """Why an address may not be called, as far as its words tell; what a name leads to, the call itself finds out."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "this is no address"
    if not host or parts.username is not None or parts.query or parts.fragment:
        return "expected https://host, with a path if need be, and nothing else"
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        return "only https addresses are called"
    if not private and _is_of_this_network(host):
        return "the address is of this machine or its network; LEADTALLY_PRIVATE_CRMS=1 allows that, for the sandbox"
    return None


def _is_of_this_network(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return "." not in host or host.rstrip(".").endswith(_OF_THIS_NETWORK)
    return not is_public(host)


def faults(
    provider: Provider, flow_name: str, given: Mapping[str, str], base_url: str | None, *, private: bool
) -> list[Fault]:
    """What is wrong with how somebody signs in. `private`: whether CRMs may be in this network."""
    found = []
    flow = flow_of(provider, flow_name)
    if flow is None:
        there_is = ", ".join(one.name for one in provider.flows)
        found.append(Fault("/flow", f"{provider.title} has no flow {flow_name!r}; it has {there_is}"))
    else:
        found += _wrong_credentials(flow, given)
    if base_url is not None and (fault := address_fault(base_url, private=private)) is not None:
        found.append(Fault("/base_url", fault))
    return found


def wrong_options(provider: Provider, options: Options, models: Collection[str]) -> list[Fault]:
    """What is wrong with what is chosen. `models`: the keys of all there are."""
    found = [
        Fault(f"/options/scores/{place}", f"there is no model {key!r}; there is {', '.join(sorted(models)) or 'none'}")
        for place, key in enumerate(options.scores or ())
        if key not in models
    ]
    flow = provider.flows[0]
    setup = Setup(flow.name, dict.fromkeys(flow.needs, ""), _Nobody(), _Nobody(), None, options.choices)
    try:
        objects = provider.connect(setup, None).objects
    except (ValueError, TypeError, KeyError) as fault:
        why = f": {fault}" if isinstance(fault, ValueError) else ""
        return [*found, Fault("/options/choices", f"{provider.title} cannot be told this{why}")]
    if options.create_object is not None and options.create_object not in objects:
        there_is = ", ".join(objects)
        found.append(
            Fault("/options/create_object", f"{options.create_object!r} does not hold people; there is {there_is}")
        )
    return found


class _Nobody:
    """Keeps nothing and allows nothing: to connect costs nothing, and nothing more is done."""

    async def grant(self) -> Grant | None:
        return None

    async def renew(self, stale: Grant | None, sign_in: Callable[[Grant | None], Awaitable[Grant]]) -> Grant:
        raise NotImplementedError

    def allow(self, cost: int) -> None:
        raise NotImplementedError

    def spend(self, cost: int) -> None: ...

    def report(self, limit: int, remaining: int) -> None: ...


def _wrong_credentials(flow: Flow, given: Collection[str]) -> list[Fault]:
    known = [*flow.needs, *flow.may]
    missing = [Fault(f"/credentials/{name}", f"{flow.name} needs it") for name in flow.needs if name not in given]
    unknown = [
        Fault(
            "/credentials/" + name.replace("~", "~0").replace("/", "~1"),
            f"{flow.name} has no such credential; it has {', '.join(known) or 'none'}",
        )
        for name in given
        if name not in known
    ]
    return [*missing, *unknown]
