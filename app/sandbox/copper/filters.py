"""What a search of people or leads may ask, and the test of a record that each filter is. All must hold."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from app.sandbox.copper import values
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Definition
from app.sandbox.copper.wire import Json, Wrong, ids, integer, is_number, read, text, texts

Reader = Callable[[Any], Any]  # Any: JSON; as the filter needs it
Test = Callable[[Any], bool]  # Any: a person or a lead

_NONE_SET = -2
_CUSTOM_KEYS = {"custom_field_definition_id", "value", "allow_empty", "minimum_value", "maximum_value"}


def asked(account: Account, kind: str, sorts: tuple[str, ...], body: Json) -> Json:
    """The filters and the sort of a body; null is as good as absent. Raises Invalid."""
    fields = {one.id: one for one in account.definitions_of(kind)}
    known: dict[str, Reader] = {
        **_COMMON,
        "custom_fields": partial(_custom, fields),
        "sort_by": partial(_choice, sorts),
    }
    known |= _PEOPLE if kind == "person" else _LEADS
    if kind == "lead" and account.faults.without_lead_ids:
        del known["ids"]
    return read({name: value for name, value in body.items() if value is not None or name not in known}, known)


def tests(account: Account, asked: Json) -> list[Test]:
    made = [_TESTS[name](account, value) for name, value in asked.items() if name in _TESTS]
    if not asked.get("include_converted_leads"):
        made.append(_is_unconverted)
    return made


# --- Reading what is asked --------------------------------------------------------------------------------------------


def _amount(given: object) -> float:
    return given if isinstance(given, float) else integer(given)


def _flag(given: object) -> bool:
    if given in (True, "true"):
        return True
    if given in (False, "false"):
        return False
    raise Wrong("must be a boolean")


def _choice(known: tuple[str, ...], given: object) -> str:
    if given not in known:
        raise Wrong("is not included in the list")
    return str(given)


def _custom(fields: Mapping[int, Definition], given: object) -> list[tuple[int, Test]]:
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Wrong("must be an array of objects")
    found: list[tuple[int, Test]] = []
    for one in given:
        number = integer(one.get("custom_field_definition_id"))
        if number not in fields:
            raise Wrong(f"there is no custom field {number} here")
        if one.keys() - _CUSTOM_KEYS:
            raise Wrong("has keys that are not known")
        found.append((number, values.asked(fields[number], one)))
    return found


_COMMON: dict[str, Reader] = {
    **dict.fromkeys(("name", "phone_number", "title", "city", "state", "postal_code", "country"), text),
    **dict.fromkeys(("tags", "socials", "fields"), texts),
    **dict.fromkeys(("ids", "assignee_ids"), ids),
    **dict.fromkeys(("followed", "age"), integer),
    **{
        f"{bound}_{name}": integer
        for bound in ("minimum", "maximum")
        for name in ("interaction_count", "interaction_date", "created_date", "modified_date")
    },
    "sort_direction": partial(_choice, ("asc", "desc")),
}
_PEOPLE: dict[str, Reader] = {
    "emails": texts,
    **dict.fromkeys(("contact_type_ids", "company_ids", "opportunity_ids"), ids),
}
_LEADS: dict[str, Reader] = {
    # One text, where people have a list.
    "emails": lambda given: (text(given),),
    **dict.fromkeys(("status_ids", "customer_source_ids"), ids),
    **dict.fromkeys(("minimum_monetary_value", "maximum_monetary_value"), _amount),
    "include_converted_leads": _flag,
}


# --- Testing a record -------------------------------------------------------------------------------------------------


def _is_unconverted(one: Any) -> bool:  # Any: as above
    return getattr(one, "converted_at", None) is None


def _same(attribute: str, _: Account, wanted: str) -> Test:
    return lambda one: (getattr(one, attribute) or "").lower() == wanted.lower()


def _placed(part: str, _: Account, wanted: str) -> Test:
    return lambda one: ((one.address or {}).get(part) or "").lower() == wanted.lower()


def _chosen(attribute: str, _: Account, wanted: tuple[int, ...]) -> Test:
    def is_so(one: Any) -> bool:  # Any: as above
        value = getattr(one, attribute)
        return (_NONE_SET if value is None else value) in wanted

    return is_so


def _at_least(attribute: str, _: Account, bound: float) -> Test:
    return lambda one: is_number(getattr(one, attribute)) and getattr(one, attribute) >= bound


def _at_most(attribute: str, _: Account, bound: float) -> Test:
    return lambda one: is_number(getattr(one, attribute)) and getattr(one, attribute) <= bound


def _having(account: Account, addresses: tuple[str, ...]) -> Test:
    if account.faults.case_matters:
        return lambda one: any(point.value in addresses for point in one.emails)
    held = {address.lower() for address in addresses}
    return lambda one: any(point.value.lower() in held for point in one.emails)


def _called(_: Account, number: str) -> Test:
    digits = _digits(number)
    return lambda one: any(_digits(point.value) == digits for point in one.phone_numbers)


def _digits(number: str) -> str:
    return "".join(filter(str.isdigit, number))


def _younger(account: Account, age_s: int) -> Test:
    oldest = account.now() - age_s
    return lambda one: one.date_created >= oldest


def _contacts(account: Account, wanted: tuple[int, ...]) -> Test:
    deals = [one for one in account.opportunities.values() if one.id in wanted]
    contacts = {one.primary_contact_id for one in deals}
    return lambda one: one.id in contacts


def _all_custom(_: Account, wanted: list[tuple[int, Test]]) -> Test:
    return lambda one: all(is_so(one.custom.get(number)) for number, is_so in wanted)


_RANGES = {
    "interaction_count": "interaction_count",
    "interaction_date": "date_last_contacted",
    "created_date": "date_created",
    "modified_date": "date_modified",
    "monetary_value": "monetary_value",
}
_TESTS: dict[str, Callable[[Account, Any], Test]] = {  # Any: as it was read
    **{name: partial(_same, name) for name in ("name", "title")},
    **{name: partial(_placed, name) for name in ("city", "state", "postal_code", "country")},
    **{f"{name}s": partial(_chosen, name) for name in ("assignee_id", "contact_type_id", "company_id", "status_id",
                                                       "customer_source_id")},
    **{f"minimum_{name}": partial(_at_least, attribute) for name, attribute in _RANGES.items()},
    **{f"maximum_{name}": partial(_at_most, attribute) for name, attribute in _RANGES.items()},
    "emails": _having,
    "phone_number": _called,
    "tags": lambda _, wanted: lambda one: not set(wanted).isdisjoint(one.tags),
    "socials": lambda _, wanted: lambda one: any(point.value in wanted for point in one.socials),
    "age": _younger,
    "opportunity_ids": _contacts,
    # Nobody here follows anybody.
    "followed": lambda _, wanted: lambda __: wanted != 1,
    "custom_fields": _all_custom,
}  # fmt: skip
