"""What an object and its fields are, and how describe tells of them. Source: Salesforce's pages on describe."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.sandbox.salesforce.wire import Json, Row

TEXTS = frozenset({"string", "textarea", "email", "phone", "url", "picklist", "multipicklist", "combobox"})
NUMBERS = frozenset({"int", "double", "currency", "percent"})
_SOAP = {
    "id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "int": "xsd:int", "double": "xsd:double",
    "currency": "xsd:double", "percent": "xsd:double", "date": "xsd:date", "datetime": "xsd:dateTime",
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    name: str
    label: str
    type: str
    length: int = 0
    """Most characters; 0 where the type has none."""
    precision: int = 0
    """Digits in all, of numbers; `scale` of them follow the point."""
    scale: int = 0
    createable: bool = True
    updateable: bool = True
    required: bool = False
    default: Any = None  # Any: JSON
    """What a record gets that does not name the field."""
    values: tuple[str, ...] = ()
    restricted: bool = False
    """No other than these values."""
    refers_to: tuple[str, ...] = ()
    relationship: str | None = None
    """`Account`, as in `Account.Name`."""
    external_id: bool = False
    unique: bool = False
    case_sensitive: bool = False
    indexed: bool = False
    derived: Callable[[Row], Any] | None = None
    """Computed from the record at each reading. Any: JSON."""
    help: str | None = None

    @property
    def custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def is_long(self) -> bool:
        """A long text area: neither filtered nor sorted by."""
        return self.type == "textarea" and self.length > 255

    def read(self, row: Row) -> Any:  # Any: JSON
        """The field's value in this record."""
        if self.derived is not None:
            return self.derived(row)
        return row.get(self.name, False if self.type == "boolean" else None)


@dataclass
class Object:
    name: str
    label: str
    plural: str
    prefix: str
    fields: dict[str, Field] = field(default_factory=dict)
    """By name in lower case: the API does not mind case."""
    createable: bool = True
    updateable: bool = True
    deletable: bool = True

    def add(self, made: Field) -> None:
        self.fields[made.name.lower()] = made


def describe_field(one: Field, *, may_edit: bool) -> Json:
    nillable = not one.required and one.type not in ("boolean", "id")
    return {
        "aggregatable": not one.is_long and one.type != "boolean",
        "aiPredictionField": False,
        "autoNumber": False,
        "byteLength": one.length * 3,
        "calculated": one.derived is not None and one.custom,
        "calculatedFormula": None,
        "cascadeDelete": False,
        "caseSensitive": one.case_sensitive,
        "compoundFieldName": "Name" if one.name in ("FirstName", "LastName") else None,
        "controllerName": None,
        "createable": one.createable and may_edit,
        "custom": one.custom,
        "defaultValue": one.default if one.type != "boolean" else bool(one.default),
        "defaultValueFormula": None,
        "defaultedOnCreate": one.default is not None or one.type in ("boolean", "id"),
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": 9 if one.type == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": one.external_id,
        "extraTypeInfo": None,
        "filterable": not one.is_long,
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": not one.is_long and one.type not in ("datetime", "double"),
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": one.type == "id" or one.external_id or one.type == "email",
        "inlineHelpText": one.help,
        "label": one.label,
        "length": one.length,
        "mask": None,
        "maskType": None,
        "name": one.name,
        "nameField": one.name == "Name",
        "namePointing": len(one.refers_to) > 1,
        "nillable": nillable,
        "permissionable": not one.required and one.createable,
        "picklistValues": [
            {"active": True, "defaultValue": value == one.default, "label": value, "validFor": None, "value": value}
            for value in one.values
        ],
        "polymorphicForeignKey": len(one.refers_to) > 1,
        "precision": one.precision,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": list(one.refers_to),
        "relationshipName": one.relationship,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": one.restricted,
        "scale": one.scale,
        "searchPrefilterable": False,
        "soapType": _SOAP.get(one.type, "xsd:string"),
        "sortable": not one.is_long,
        "type": one.type,
        "unique": one.unique,
        "updateable": one.updateable and may_edit,
        "writeRequiresMasterRead": False,
    }


def describe_object(one: Object, base: str) -> Json:
    """As in the global list. `base` is the path of this version: `/services/data/v62.0`."""
    url = f"{base}/sobjects/{one.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": one.createable,
        "custom": False,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": one.deletable,
        "deprecatedAndHidden": False,
        "feedEnabled": False,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": one.prefix,
        "label": one.label,
        "labelPlural": one.plural,
        "layoutable": True,
        "mergeable": one.name in ("Account", "Contact", "Lead"),
        "mruEnabled": True,
        "name": one.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": one.deletable,
        "updateable": one.updateable,
        "urls": {"sobject": url, "describe": f"{url}/describe", "rowTemplate": url + "/{ID}"},
    }
