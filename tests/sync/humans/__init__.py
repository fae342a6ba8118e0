"""The people in every stand-in CRM. Another CRM adds a module and its line here."""

from app.sandbox.shapes import Clock
from tests.sync.humans.copper import InCopper
from tests.sync.humans.dynamics import InDynamics
from tests.sync.humans.hubspot import InHubspot
from tests.sync.humans.pipedrive import InPipedrive
from tests.sync.humans.salesforce import InSalesforce
from tests.sync.humans.shapes import Humans


def everywhere(clock: Clock) -> list[Humans]:
    """In a new stand-in of each kind."""
    return [InSalesforce(clock), InPipedrive(clock), InDynamics(clock), InCopper(clock), InHubspot(clock)]
