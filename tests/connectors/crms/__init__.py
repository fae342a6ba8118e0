"""Every CRM whose connector has to pass the contract. Another one adds a module and its line here."""

from tests.connectors.crms.copper import Copper
from tests.connectors.crms.crm import Crm
from tests.connectors.crms.dynamics import Dynamics
from tests.connectors.crms.hubspot import Hubspot
from tests.connectors.crms.pipedrive import Pipedrive
from tests.connectors.crms.salesforce import Salesforce

CRMS: dict[str, type[Crm]] = {one.kind: one for one in (Salesforce, Pipedrive, Copper, Dynamics, Hubspot)}
