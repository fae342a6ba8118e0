"""The stand-in CRMs as the bench speaks to them. Another one adds a module and its line here."""

from collections.abc import Callable

import httpx

from bench.crms.copper import Copper
from bench.crms.crm import Crm, Reached
from bench.crms.dynamics import Dynamics
from bench.crms.hubspot import Hubspot
from bench.crms.pipedrive import Pipedrive
from bench.crms.processes import ended, stand_ins
from bench.crms.salesforce import Salesforce
from bench.crms.wire import Call, Sent, Wire

__all__ = ["CRMS", "Call", "Crm", "Reached", "Sent", "Wire", "bare", "ended", "stand_ins"]

CRMS: dict[str, Callable[[httpx.AsyncClient, Reached], Crm]] = {
    one.kind: one for one in (Salesforce, Pipedrive, Dynamics, Copper, Hubspot)
}


def bare() -> httpx.AsyncClient:
    """What floors are measured with."""
    return httpx.AsyncClient(trust_env=False, timeout=120)
