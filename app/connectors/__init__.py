"""How each CRM speaks, in one vocabulary. Knows nothing of contacts, scores or database."""

from app.connectors import copper, dynamics, hubspot, pipedrive, salesforce
from app.connectors.provider import Provider

_PROVIDERS: tuple[Provider, ...] = (
    pipedrive.PROVIDER, salesforce.PROVIDER, copper.PROVIDER, dynamics.PROVIDER, hubspot.PROVIDER,
)  # fmt: skip


def providers() -> dict[str, Provider]:
    """Every CRM that can be connected, by its kind."""
    return {one.kind: one for one in _PROVIDERS}
