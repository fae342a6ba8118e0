"""What a column and a table are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.sandbox.dynamics.wire import Row

NUMBERS = ("Integer", "BigInt", "Decimal", "Double", "Money")
LOOKUPS = ("Lookup", "Customer", "Owner")
CHOICES = ("Picklist", "State", "Status")


class Option(NamedTuple):
    """One of a choice's values."""

    value: int
    label: str
    state: int = 0
    """Of a status: the state that it belongs to."""


@dataclass(frozen=True)
class Column:
    name: str
    """Its logical name."""
    type: str
    """As `AttributeType` names it: String, Memo, Integer, BigInt, Decimal, Double, Money, Boolean, DateTime, Picklist,
    State, Status, Lookup, Customer, Owner, Uniqueidentifier."""
    label: str
    schema_name: str
    length: int = 0
    lowest: float | None = None
    highest: float | None = None
    precision: int = 0
    format: str = ""
    """`Email`, `Text`, `DateOnly`, `DateAndTime`, `None`."""
    options: tuple[Option, ...] = ()
    """Of a Boolean its labels, that of false first."""
    targets: tuple[str, ...] = ()
    navigation: Mapping[str, str] = field(default_factory=dict)
    """Of a lookup: the table that each navigation property leads to."""
    default: Any = None
    """What a new row has. Any: JSON."""
    absent: Any = None
    """What a row shows that holds nothing. Any: JSON."""
    may_create: bool = True
    may_update: bool = True
    may_read: bool = True
    required: str = "None"
    indexed: bool = False
    custom: bool = False
    derived: Callable[[Row], Any] | None = None
    """Computes the value in place of keeping it. Any: JSON."""
    metadata_id: str = ""

    @property
    def property(self) -> str:
        """By which it is read: of a lookup `_ownerid_value`."""
        return f"_{self.name}_value" if self.type in LOOKUPS else self.name

    def read(self, row: Row) -> Any:  # Any: JSON, or a Ref
        if self.derived is not None:
            return self.derived(row)
        return row.get(self.name, self.absent)


class Collection(NamedTuple):
    """The rows of another table that point at one of this: what `$expand` follows from the one to the many."""

    table: str
    column: str


@dataclass
class Key:
    """An alternate key."""

    schema_name: str
    columns: tuple[str, ...]
    label: str
    metadata_id: str


@dataclass
class Table:
    """What there is to know of a table, but for its rows."""

    name: str
    label: str
    schema_name: str
    set_name: str
    plural: str
    code: int
    """`ObjectTypeCode`."""
    primary_id: str
    primary_name: str
    columns: dict[str, Column] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    """By schema name."""
    is_activity: bool = False
    is_person: bool = False
    is_fixed: bool = False
    """Nobody writes its rows by the API."""
    may_track: bool = False
    takes_many: bool = False
    """Whether CreateMultiple and its like work for it."""
    columns_changed_at: int = 0
    """The version of the last change of its columns."""
    by_property: dict[str, Column] = field(default_factory=dict)
    """By the name that a row shows it under."""
    bindings: dict[str, tuple[Column, str]] = field(default_factory=dict)
    """The lookup and the table that a navigation property leads to."""

    def add(self, column: Column) -> None:
        self.columns[column.name] = column
        self.by_property[column.property] = column
        for name, target in column.navigation.items():
            self.bindings[name] = (column, target)

    def remove(self, name: str) -> None:
        column = self.columns.pop(name)
        del self.by_property[column.property]
        for navigation in column.navigation:
            del self.bindings[navigation]
