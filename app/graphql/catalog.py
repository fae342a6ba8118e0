"""The scoring models as they count, read once for each request: keys to ids, bands to ranges."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.engine.rules import Band, read_bands
from app.errors import Fault, InvalidInput
from app.store.graph import ModelRow


@dataclass(frozen=True)
class Model:
    id: int
    key: str
    name: str
    description: str | None
    bands: tuple[Band, ...]
    version: int | None
    published_at: datetime | None
    archived: bool

    @classmethod
    def of(cls, row: ModelRow) -> "Model":
        return cls(
            id=row.id,
            key=row.key,
            name=row.name,
            description=row.description,
            bands=tuple(read_bands(row.bands)),
            version=row.version,
            published_at=row.published_at,
            archived=row.archived,
        )


class Catalog:
    def __init__(self, rows: Sequence[ModelRow]) -> None:
        self.models = [Model.of(row) for row in rows]
        self.by_id = {model.id: model for model in self.models}
        self._by_key = {model.key: model for model in self.models}

    def find(self, key: str) -> Model | None:
        return self._by_key.get(key)

    def named(self, key: str, pointer: str) -> Model:
        """Raises InvalidInput that says which there are."""
        model = self.find(key)
        if model is None:
            raise InvalidInput(
                Fault(pointer, f"there is no scoring model {key!r:.80}; there is {listed(self._by_key)}")
            )
        return model


def listed(names: Sequence[str] | dict[str, Model]) -> str:
    """What to choose from, in a sentence: at most twenty."""
    shown = [repr(name) for name in names][:20]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "") if shown else "none yet"
