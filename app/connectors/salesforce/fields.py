"""What Salesforce describes to our user: fields and their kinds. A field that field-level security hides is absent."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app import clock
from app.connectors.faults import Unreachable
from app.connectors.salesforce.api import Api
from app.connectors.shapes import CrmField, DefaultPair, Kind, WantedField

_REMEMBERED = timedelta(minutes=15)
_KINDS = {
    "string": Kind.TEXT, "textarea": Kind.TEXT, "email": Kind.TEXT, "phone": Kind.TEXT, "url": Kind.TEXT,
    "encryptedstring": Kind.TEXT, "combobox": Kind.TEXT, "boolean": Kind.BOOLEAN, "int": Kind.NUMBER,
    "double": Kind.NUMBER, "currency": Kind.NUMBER, "percent": Kind.NUMBER, "date": Kind.DAY,
    "datetime": Kind.INSTANT, "picklist": Kind.CHOICE, "multipicklist": Kind.CHOICES,
}  # fmt: skip
_OTHERS_OWN = "pi__"
"""Account Engagement's package: what is in its fields is its own to write."""

EMAIL, NAME, OPT_OUT = "Email", "Name", "HasOptedOutOfEmail"
BOUNCED_DATE, BOUNCED_REASON = "EmailBouncedDate", "EmailBouncedReason"
NATIVE, CUSTOM = "native", "custom"

_WHETHER = "Whether mail to the address failed for good, by Leadtally"
_WHEN, _WHY = "When mail to the address failed for good, by Leadtally", "Why it failed, in the words of the mail system"


class Described:
    """The fields of each object, remembered for a quarter of an hour."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, tuple[datetime, dict[str, CrmField]]] = {}

    async def fields(self, object_: str) -> Mapping[str, CrmField]:
        """By name. Raises Refused for an object that our user may not see."""
        now = clock.now()
        asked_at, fields = self._known.get(object_, (now, {}))
        if object_ in self._known and timedelta() <= now - asked_at < _REMEMBERED:
            return fields
        said = await self._api.json("GET", f"sobjects/{object_}/describe")
        if not isinstance(said.get("fields"), list):
            raise Unreachable("a describe told of no fields")
        fields = {one["name"]: _field(one) for one in said["fields"]}
        self._known[object_] = now, fields
        return fields

    def forget(self, object_: str) -> None:
        self._known.pop(object_, None)


def is_others_own(field: CrmField) -> bool:
    return field.name.startswith(_OTHERS_OWN)


def defaults(object_: str, fields: Sequence[CrmField], bounce_fields: str) -> list[DefaultPair]:
    """A field that is hidden is left out; a flag that our user may not write flows in."""
    known = {one.name: one for one in fields}
    pairs = [("email", EMAIL, "in"), ("name", NAME, "in")]
    pairs += [("opted_out", OPT_OUT, _way(known, OPT_OUT))]
    if bounce_fields == NATIVE:
        pairs += [("bounced_at", BOUNCED_DATE, _way(known, BOUNCED_DATE))]
        if BOUNCED_REASON in known and known[BOUNCED_REASON].is_writable:
            pairs += [("bounced_reason", BOUNCED_REASON, "out")]
    if object_ == "Lead":
        pairs += [("stage", "Status", "in")]
    found = [DefaultPair(object_, here, there, way) for here, there, way in pairs if there in known]
    if bounce_fields == CUSTOM:
        whether = WantedField(object_, "email_bounced", "Email Bounced", Kind.BOOLEAN, _WHETHER)
        when = WantedField(object_, "email_bounced_on", "Email Bounced On", Kind.INSTANT, _WHEN)
        why = WantedField(object_, "email_bounced_reason", "Email Bounced Reason", Kind.TEXT, _WHY, max_length=255)
        found.append(DefaultPair(object_, "bounced", whether, "both"))
        found.append(DefaultPair(object_, "bounced_at", when, "out"))
        found.append(DefaultPair(object_, "bounced_reason", why, "out"))
    return found


def _way(known: Mapping[str, CrmField], name: str) -> str:
    return "both" if name in known and known[name].is_writable else "in"


def _field(said: Mapping[str, Any]) -> CrmField:  # Any: JSON
    kind = _KINDS.get(said["type"], Kind.OTHER)
    is_choice = kind in (Kind.CHOICE, Kind.CHOICES)
    values = tuple(str(one["value"]) for one in said.get("picklistValues") or () if one.get("active"))
    return CrmField(
        said["name"],
        said.get("label") or said["name"],
        kind,
        bool(said.get("updateable")) and not said.get("calculated") and not said["name"].startswith(_OTHERS_OWN),
        bool(said.get("custom")),
        values if is_choice else (),
        (said.get("length") or None) if kind in (Kind.TEXT, Kind.CHOICE) else None,
        said.get("scale") if kind is Kind.NUMBER else None,
    )
