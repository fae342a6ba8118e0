"""What the parts of the sync hand to each other."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from uuid import UUID

from app.connectors.shapes import Connector
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.store.db import Database
from app.sync.budget import Budget
from app.sync.options import Options


class Opened(NamedTuple):
    """A connection at work: what pull, push and reconcile are given. One process at a time has it."""

    id: UUID
    kind: str
    name: str
    """Whoever asks who said something is told this."""
    options: Options
    connector: Connector
    budget: Budget
    database: Database
    plans: Plans
    policy: SoftPolicy

    @property
    def source(self) -> str:
        """Of events and flags that come from it."""
        return f"crm:{self.name}"


@dataclass
class Counts:
    """What a run came to, in records but for `spent`."""

    seen: int = 0
    changed: int = 0
    """Contacts that are otherwise now."""
    created: int = 0
    """Contacts that were made, or records, in a push."""
    echoes: int = 0
    """Records that held what we knew."""
    conflicts: int = 0
    """Fields that had moved on both sides; and addresses that are another contact's."""
    reversals: int = 0
    """Fields that the CRM had changed back, to be told again."""
    gone: int = 0
    """Records that were deleted, merged or converted."""
    activities: int = 0
    """Activities that became events, or ceased to be."""
    written: int = 0
    """Records that took what we told."""
    refused: int = 0
    """Records that did not."""
    spent: int = 0
    """Of the budget."""

    def to_json(self) -> dict[str, int]:
        return {name: count for name, count in asdict(self).items() if count}

    @property
    def is_nothing(self) -> bool:
        """Whether it is not worth keeping: nothing was found that was not known."""
        return not any(count for name, count in asdict(self).items() if name not in ("seen", "echoes", "spent"))

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "Counts":  # Any: JSON
        return cls(**said)
