"""From the columns that a query names to values: fields of the object, and of its parents (`Account.Name`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.sandbox.salesforce.fields import Field, Object
from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.soql import Column, fault
from app.sandbox.salesforce.wire import Json, Refusal, Row

_MOST_LINKS = 5
# What all the objects have to which one field may point.
_COMMON = frozenset({"id", "name", "firstname", "lastname", "email", "phone", "title"})


@dataclass(frozen=True)
class Path:
    links: tuple[Field, ...]
    """The references that lead to the record."""
    field: Field

    @property
    def name(self) -> str:
        """As the API spells it: `Account.Name`."""
        return ".".join((*(str(link.relationship) for link in self.links), self.field.name))


def resolve(org: Org, of: Object, column: Column, text: str) -> Path:
    """Raises Refusal: INVALID_FIELD for what there is not, or may not be seen."""
    *parents, name = column.path.split(".")
    if parents and parents[0].lower() == of.name.lower():
        parents = parents[1:]
    links: list[Field] = []
    here, several = of, False
    for parent in parents:
        known = (one for one in org.readable(here) if (one.relationship or "").lower() == parent.lower())
        link = next(known, None)
        if link is None or len(links) == _MOST_LINKS:
            raise fault(
                text,
                column.at,
                "INVALID_FIELD",
                f"Didn't understand relationship '{parent}' in field path. If you are attempting to use a custom "
                "relationship, be sure to append the '__r' after the custom relationship name. Please reference your "
                "WSDL or the describe call for the appropriate names.",
            )
        links.append(link)
        here, several = org.objects[link.refers_to[0].lower()], len(link.refers_to) > 1
    if several and name.lower() == "type":
        return Path(tuple(links), Field("Type", "Type", "string", derived=lambda row: _object_of(org, row)))
    found = org.field(here, name)
    if found is None or (several and name.lower() not in _COMMON):
        raise _no_such_column(text, column, name, here)
    return Path(tuple(links), found)


def reader(org: Org, path: Path) -> Callable[[Row], Any]:  # Any: JSON
    """Gives the value at the path from a record of the object; None where a reference leads nowhere."""
    own = path.field
    if path.links:
        return lambda row: _through(org, path, row)
    if own.derived is not None or own.type == "boolean":
        return own.read
    name = own.name
    return lambda row: row.get(name)


@dataclass
class Tree:
    """The selected columns, as records in JSON nest them."""

    parts: list["Field | tuple[Field, Tree]"] = field(default_factory=list)
    """A field of the record, or a reference and what is selected of the record there."""

    def add(self, links: tuple[Field, ...], last: Field) -> None:
        if not links:
            if last not in self.parts:
                self.parts.append(last)
            return
        below = next((part[1] for part in self.parts if isinstance(part, tuple) and part[0] == links[0]), None)
        if below is None:
            below = Tree()
            self.parts.append((links[0], below))
        below.add(links[1:], last)


def render(org: Org, tree: Tree, row: Row, base: str) -> Json:
    """The record as a query gives it. `base` is the path of the version: `/services/data/v62.0`."""
    made: Json = {"attributes": attributes(_object_of(org, row), row["Id"], base)}
    for part in tree.parts:
        if isinstance(part, Field):
            made[part.name] = part.read(row)
        else:
            link, below = part
            parent = org.row(row.get(link.name, ""))
            made[str(link.relationship)] = None if parent is None else render(org, below, parent, base)
    return made


def attributes(of: str, id_: str, base: str) -> Json:
    return {"type": of, "url": f"{base}/sobjects/{of}/{id_}"}


def _object_of(org: Org, row: Row) -> str:
    table = org.table_of(row["Id"])
    return "" if table is None else table.of.name


def _through(org: Org, path: Path, row: Row) -> Any:  # Any: JSON
    for link in path.links:
        parent = org.row(row.get(link.name, ""))
        if parent is None:
            return None
        row = parent
    return path.field.read(row)


def _no_such_column(text: str, column: Column, name: str, here: Object) -> Refusal:
    return fault(
        text,
        column.at,
        "INVALID_FIELD",
        f"No such column '{name}' on entity '{here.name}'. If you are attempting to use a custom field, be sure to "
        "append the '__c' after the custom field name. Please reference your WSDL or the describe call for the "
        "appropriate names.",
    )
