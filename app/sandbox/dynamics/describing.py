"""Tables and columns as metadata tells them. Source: the Web API's EntityMetadata and AttributeMetadata references."""

from collections.abc import Iterator
from typing import Any

from app.sandbox.dynamics.columns import CHOICES, LOOKUPS, Column, Key, Option, Table
from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.tables import metadata_id
from app.sandbox.dynamics.wire import Json

CRM = "#Microsoft.Dynamics.CRM."
TYPED = {
    "String": ("MaxLength", "Format", "FormatName", "ImeMode", "IsLocalizable", "DatabaseLength"),
    "Memo": ("MaxLength", "Format", "ImeMode", "IsLocalizable"),
    "Integer": ("MinValue", "MaxValue", "Format"),
    "BigInt": ("MinValue", "MaxValue"),
    "Decimal": ("MinValue", "MaxValue", "Precision"),
    "Double": ("MinValue", "MaxValue", "Precision"),
    "Money": ("MinValue", "MaxValue", "Precision", "PrecisionSource"),
    "Boolean": ("DefaultValue",),
    "DateTime": ("Format", "DateTimeBehavior", "CanChangeDateTimeBehavior"),
    "Picklist": ("DefaultFormValue",),
    "State": ("DefaultFormValue",),
    "Status": ("DefaultFormValue",),
    **dict.fromkeys(LOOKUPS, ("Targets",)),
}
"""What the metadata of each type has beside that of all columns."""
_METADATA = {"Customer": "Lookup", "Owner": "Lookup", "Uniqueidentifier": "UniqueIdentifier"}
EXPANDED = ("OptionSet", "GlobalOptionSet")


def label(text: str, language: int) -> Json:
    one = {"Label": text, "LanguageCode": language, "IsManaged": False, "MetadataId": metadata_id("label", text)}
    return {"LocalizedLabels": [one], "UserLocalizedLabel": one}


def described_table(org: Org, of: Table) -> Json:
    language = org.faults.language
    tracks = of.may_track and of.name not in org.faults.untracked
    return {
        "MetadataId": metadata_id(of.name),
        "LogicalName": of.name,
        "SchemaName": of.schema_name,
        "EntitySetName": of.set_name,
        "LogicalCollectionName": of.set_name,
        "CollectionSchemaName": of.plural.replace(" ", ""),
        "PrimaryIdAttribute": of.primary_id,
        "PrimaryNameAttribute": of.primary_name,
        "PrimaryImageAttribute": None,
        "ObjectTypeCode": of.code,
        "DisplayName": label(of.label, language),
        "DisplayCollectionName": label(of.plural, language),
        "Description": label("", language),
        "IsActivity": of.is_activity or of.name == "activitypointer",
        "IsActivityParty": of.is_person,
        "IsCustomEntity": of.name.startswith("msdynmkt_"),
        "IsPrivate": False,
        "IsIntersect": False,
        "IsLogicalEntity": False,
        "IsManaged": True,
        "OwnershipType": "UserOwned" if "ownerid" in of.columns else "OrganizationOwned",
        "TableType": "Standard",
        "ChangeTrackingEnabled": tracks,
        "CanChangeTrackingBeEnabled": {
            "Value": True, "CanBeChanged": True, "ManagedPropertyLogicalName": "canchangetrackingbeenabled",
        },
        "CanCreateAttributes": {
            "Value": True, "CanBeChanged": False, "ManagedPropertyLogicalName": "cancreateattributes",
        },
        "Keys": [],
    }  # fmt: skip


def described_column(org: Org, of: Table, column: Column) -> Json:
    language = org.faults.language
    common: Json = {
        "@odata.type": f"{CRM}{_METADATA.get(column.type, column.type)}AttributeMetadata",
        "MetadataId": column.metadata_id or metadata_id(of.name, column.name),
        "LogicalName": column.name,
        "SchemaName": column.schema_name,
        "EntityLogicalName": of.name,
        "AttributeType": column.type,
        "AttributeTypeName": {"Value": f"{column.type}Type"},
        "AttributeOf": None,
        "DisplayName": label(column.label, language),
        "Description": label("", language),
        "IsValidForRead": column.may_read,
        "IsValidForCreate": column.may_create,
        "IsValidForUpdate": column.may_update,
        "IsValidODataAttribute": True,
        "IsCustomAttribute": column.custom,
        "IsPrimaryId": column.name == of.primary_id,
        "IsPrimaryName": column.name == of.primary_name,
        "IsLogical": False,
        "IsManaged": not column.custom,
        "IsSecured": org.is_locked(of, column),
        "IsSearchable": True,
        "SourceType": 1 if column.derived is not None else 0,
        "RequiredLevel": {
            "Value": column.required, "CanBeChanged": True,
            "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings",
        },
    }  # fmt: skip
    return {**common, **{name: _typed(column, name) for name in TYPED.get(column.type, ())}}


def described_shadows(org: Org, of: Table, column: Column) -> Iterator[Json]:
    """The columns that the platform adds to show another as text; they are in no row."""
    if column.type not in ("Boolean", *CHOICES, *LOOKUPS):
        return
    is_text = column.type in LOOKUPS
    shadow = Column(
        f"{column.name}name", "String" if is_text else "Virtual", f"{column.name}name", f"{column.schema_name}Name",
        length=160 if is_text else 0, format="Text", may_create=False, may_update=False, custom=column.custom,
    )  # fmt: skip
    yield {
        **described_column(org, of, shadow), "AttributeOf": column.name, "IsLogical": True,
        "IsValidODataAttribute": False,
    }  # fmt: skip


def option_set(org: Org, of: Table, column: Column) -> Json:
    language = org.faults.language
    common = {
        "MetadataId": metadata_id(of.name, column.name, "options"), "IsGlobal": False,
        "Name": f"{of.name}_{column.name}",
    }  # fmt: skip
    if column.type == "Boolean":
        false, true = column.options
        return {
            **common, "OptionSetType": "Boolean", "TrueOption": _option(true, language),
            "FalseOption": _option(false, language),
        }  # fmt: skip
    return {
        **common, "OptionSetType": column.type,
        "Options": [_option(one, language, has_state=column.type == "Status") for one in column.options],
    }  # fmt: skip


def described_key(org: Org, of: Table, key: Key) -> Json:
    return {
        "MetadataId": key.metadata_id,
        "SchemaName": key.schema_name,
        "LogicalName": key.schema_name.lower(),
        "EntityLogicalName": of.name,
        "KeyAttributes": list(key.columns),
        "EntityKeyIndexStatus": "Pending" if org.faults.keys_wait else "Active",
        "IsManaged": False,
        "DisplayName": label(key.label, org.faults.language),
    }


def one_to_many(org: Org, of: Table) -> Iterator[Json]:
    """Who points at this table."""
    for other in org.tables.values():
        if org.is_there(other):
            yield from (one for one in many_to_one(org, other) if one["ReferencedEntity"] == of.name)


def many_to_one(org: Org, of: Table) -> Iterator[Json]:
    """Whom this table points at."""
    for navigation, (column, target) in of.bindings.items():
        referred = org.by_name(target)
        if referred is not None:
            name = next(
                (
                    name
                    for name, one in referred.collections.items()
                    if one.table == of.name and one.column == column.name
                ),
                f"{of.name}_{navigation}",
            )
            yield {
                "SchemaName": name,
                "MetadataId": metadata_id(of.name, navigation, "relationship"),
                "RelationshipType": "OneToManyRelationship",
                "ReferencedEntity": target,
                "ReferencedAttribute": referred.primary_id,
                "ReferencedEntityNavigationPropertyName": name,
                "ReferencingEntity": of.name,
                "ReferencingAttribute": column.name,
                "ReferencingEntityNavigationPropertyName": navigation,
                "IsCustomRelationship": False,
                "IsManaged": True,
            }


def _option(one: Option, language: int, *, has_state: bool = False) -> Json:
    made: Json = {"Value": one.value, "Label": label(one.label, language), "IsManaged": True}
    return {**made, "State": one.state} if has_state else made


def _typed(column: Column, name: str) -> Any:  # Any: JSON
    known: Json = {
        "MaxLength": column.length,
        "DatabaseLength": column.length * 2,
        "Format": column.format or ("TextArea" if column.type == "Memo" else "None"),
        "FormatName": {"Value": column.format or "Text"},
        "ImeMode": "Auto",
        "IsLocalizable": False,
        "MinValue": column.lowest,
        "MaxValue": column.highest,
        "Precision": column.precision,
        "PrecisionSource": 2,
        "DefaultValue": bool(column.default),
        "DateTimeBehavior": {"Value": "DateOnly" if column.format == "DateOnly" else "UserLocal"},
        "CanChangeDateTimeBehavior": {"Value": True},
        "DefaultFormValue": column.default if column.default is not None else -1,
        "Targets": list(column.targets),
    }
    return known[name]
