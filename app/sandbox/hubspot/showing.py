"""How records look in answers: all values as text, what was not asked for absent, what is unset null."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from app.sandbox.hubspot.catalog import ObjectType
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.records import Entry, Property, Record
from app.sandbox.hubspot.wire import Json, iso

_MOST_ENTRIES = 20
_LABELS = {"INTEGRATION": "Integration", "IMPORT": "Import", "CRM_UI": "CRM UI"}
_COMPUTED: dict[str, Callable[[Record], str | None]] = {
    "hs_object_id": lambda record: str(record.id),
    "hs_object_source": lambda record: record.creator.source,
    "hs_object_source_id": lambda record: record.creator.source_id,
    "hs_object_source_label": lambda record: record.creator.label or _LABELS.get(record.creator.source),
    **dict.fromkeys(("createdate", "hs_createdate"), lambda record: iso(record.created)),
    **dict.fromkeys(("lastmodifieddate", "hs_lastmodifieddate"), lambda record: iso(record.updated)),
}


def text(record: Record, name: str) -> str | None:
    """A property's value, whether it is kept or computed."""
    computed = _COMPUTED.get(name)
    return record.values.get(name) if computed is None else computed(record)


class View(NamedTuple):
    """Which properties an answer shows."""

    kept: tuple[str, ...]
    computed: tuple[str, ...]
    history: tuple[str, ...] = ()


def view(portal: Portal, of: ObjectType, asked: Iterable[str], history: Iterable[str] = ()) -> View:
    """Some are shown whatever is asked for; a name that no property has is passed over."""
    known = portal.properties[of.name]
    names = dict.fromkeys((*asked, *of.always) if asked else of.shown)
    there = [name for name in names if name in known and not known[name].is_archived]
    return View(
        tuple(name for name in there if name not in _COMPUTED),
        tuple(name for name in there if name in _COMPUTED),
        tuple(name for name in dict.fromkeys(history) if name in known),
    )


def shown(record: Record, asked: View) -> Json:
    values = record.values
    properties: dict[str, str | None] = {name: values.get(name) for name in asked.kept}
    for name in asked.computed:
        properties[name] = _COMPUTED[name](record)
    said: Json = {
        "id": str(record.id),
        "properties": properties,
        "createdAt": iso(record.created),
        "updatedAt": iso(record.updated),
        "archived": record.archived is not None,
    }
    if record.archived is not None:
        said["archivedAt"] = iso(record.archived)
    if asked.history:
        said["propertiesWithHistory"] = {name: _history(record, name) for name in asked.history}
    return said


def _history(record: Record, name: str) -> list[Json]:
    """The newest first."""
    if name in _COMPUTED:
        value = text(record, name) or ""
        at = record.updated if name.endswith("lastmodifieddate") else record.created
        return [_entry(Entry(at, value, record.creator))]
    return [_entry(one) for one in reversed(record.entries(name)[-_MOST_ENTRIES:])]


def _entry(entry: Entry) -> Json:
    author = entry.author
    said: Json = {
        "value": entry.value,
        "timestamp": iso(entry.at),
        "sourceType": author.source,
        "sourceId": author.source_id,
    }
    if author.label is not None:
        said["sourceLabel"] = author.label
    if author.user_id is not None:
        said["updatedByUserId"] = author.user_id
    return said


def property_(one: Property) -> Json:
    """A definition of a property."""
    return {
        "name": one.name,
        "label": one.label,
        "type": one.type,
        "fieldType": one.field_type,
        "groupName": one.group,
        "description": one.description,
        "options": [
            {
                "label": option.label, "value": option.value, "displayOrder": at, "hidden": option.is_hidden,
                "description": "",
            }
            for at, option in enumerate(one.options)
        ],
        "displayOrder": one.display_order,
        "calculated": False,
        "externalOptions": one.name == "hubspot_owner_id",
        "hasUniqueValue": one.is_unique,
        "hidden": one.is_hidden,
        "hubspotDefined": not one.is_custom,
        "formField": one.is_form_field,
        "archived": one.is_archived,
        "dataSensitivity": "non_sensitive",
        "modificationMetadata": {
            "archivable": one.is_custom,
            "readOnlyDefinition": not one.is_custom,
            "readOnlyValue": one.is_read_only,
        },
        "createdAt": iso(one.made_at),
        "updatedAt": iso(one.changed_at),
        **({} if one.made_by is None else {"createdUserId": str(one.made_by), "updatedUserId": str(one.made_by)}),
    }  # fmt: skip
