"""What an operator chooses for a connection. Pure; kept as JSON in `connection.options`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from app.sync.mapping import Pair


@dataclass(frozen=True)
class Options:
    """Defaults are what most want."""

    pairs: tuple[Pair, ...] = ()
    """What is mapped, but for scores that have no field yet: `sync/fields.py` adds them."""
    imports: bool = True
    """Whether people whom only the CRM knows become contacts."""
    creates: bool = False
    """Whether contacts whom the CRM does not know are created there."""
    create_object: str | None = None
    """As which object; None: the connector's first."""
    activities: bool = True
    """Whether what was done with people there becomes events `crm.activity`."""
    scores: tuple[str, ...] | None = None
    """The models whose scores are told, by their keys; None: all that are live, each with a field of its own."""
    bands: bool = True
    """Whether the band of each of these is told, too."""
    pull_every_s: int = 300
    """Seconds from the end of a look for changes to the next; a CRM's own calls to us do not wait for it."""
    reconcile_every_s: int = 86_400
    """Seconds from the end of a comparison of everybody to the next."""
    budget: int | None = None
    """What may be spent in 24 hours, in the CRM's unit; None: the provider's default."""
    reserve_percent: int = 20
    """The part of it that only flags may spend."""
    choices: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON
    """What the connector itself can be told."""

    @property
    def pull_every(self) -> timedelta:
        return timedelta(seconds=self.pull_every_s)

    @property
    def reconcile_every(self) -> timedelta:
        return timedelta(seconds=self.reconcile_every_s)

    @property
    def seeks(self) -> bool:
        """Whether contacts without a record there concern it."""
        return self.creates or not self.imports

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return {**asdict(self), "pairs": [pair.to_json() for pair in self.pairs], "choices": dict(self.choices)}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "Options":  # Any: JSON
        pairs = tuple(Pair.from_json(one) for one in said.get("pairs", ()))
        scores = said.get("scores")
        return cls(**{**said, "pairs": pairs, "scores": None if scores is None else tuple(scores)})
