"""What every connector does, whatever its CRM: scenarios against the protocol of `connectors/shapes.py` alone.

Each is given a `Place`: a stand-in with the people in it, and connectors to it. No scenario knows a wire format.
"""

from tests.connectors.contract import events, faults, fields, flags, limits, reading, signing_in, telling, writing
from tests.connectors.contract.place import SCENARIOS, Place, Scenario, at

__all__ = [
    "SCENARIOS", "Place", "Scenario", "at", "events", "faults", "fields", "flags", "limits", "reading", "signing_in",
    "telling", "writing",
]  # fmt: skip
