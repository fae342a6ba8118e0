"""Values of custom fields: what each type takes, how it is kept and shown, and what search asks of it.

Kept are a checkbox's truth, numbers, text, option ids, and for a date the Unix second at which its day begins.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.sandbox.copper.faults import Faults
from app.sandbox.copper.records import Definition
from app.sandbox.copper.wire import Json, Wrong, integer, is_number

TYPES = ("Checkbox", "Currency", "Date", "Dropdown", "Float", "MultiSelect", "Percentage", "String", "Text", "URL")
"""Those that can be made; `Connect` cannot."""
TEXTS = ("String", "Text", "URL")
_DAY_S = 86_400
_DAY = re.compile(r"\d\d/\d\d/\d{4}", re.ASCII)


def kept(definition: Definition, value: Any, faults: Faults) -> Any:  # Any: JSON; as the type has it
    """What is kept of a value that was written; None clears. Raises Wrong."""
    if value is None:
        return None
    match definition.data_type:
        case "Checkbox" if isinstance(value, bool):
            return value
        case "Float" | "Currency" if is_number(value):
            return float(value)
        case "Percentage" if is_number(value) and value == int(value):
            return int(value)
        case "String" | "Text" | "URL" if isinstance(value, str):
            return value or None
        case "Date":
            return _day(value, faults)
        case "Dropdown":
            return _option(definition, value)
        case "MultiSelect" if isinstance(value, list):
            # In the order of the options, as a set has none.
            chosen = {_option(definition, one) for one in value}
            return [number for number in definition.options or {} if number in chosen] or None
    raise Wrong(f"Invalid value for {definition.data_type}")


def shown(definition: Definition, value: Any, faults: Faults) -> Any:  # Any: as above
    """What an answer says. An option that was replaced is no value any more."""
    value = _alive(definition, value)
    if value is None and definition.data_type == "MultiSelect" and faults.empty_lists:
        return []
    return value


def asked(definition: Definition, item: Json) -> Callable[[Any], bool]:  # Any: as kept
    """What `custom_fields` of a search asks of a value. Raises Wrong.

    Which keys ranges have is not documented: here `minimum_value` and `maximum_value`.
    """
    if definition.data_type in TEXTS or not definition.is_filterable:
        raise Wrong(f"{definition.name} cannot be searched")
    low, high = item.get("minimum_value"), item.get("maximum_value")
    if not all(bound is None or is_number(bound) for bound in (low, high)):
        raise Wrong("minimum_value and maximum_value must be numbers")
    wanted = item.get("value")
    options = wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]
    may_be_empty = item.get("allow_empty") is True

    def is_so(value: Any) -> bool:  # Any: as kept
        value = _alive(definition, value)
        if value is None:
            return may_be_empty
        if options and not any(one in value if isinstance(value, list) else one == value for one in options):
            return False
        if low is None and high is None:
            return True
        return is_number(value) and (low is None or low <= value) and (high is None or value <= high)

    return is_so


def _alive(definition: Definition, value: Any) -> Any:  # Any: as kept
    if definition.options is None:
        return value
    if isinstance(value, list):
        return [number for number in value if number in definition.options] or None
    return value if value in definition.options else None


def _option(definition: Definition, value: object) -> int:
    number = integer(value)
    if number not in (definition.options or {}):
        raise Wrong(f"Invalid option for {definition.name}: {number}")
    return number


def _day(value: object, faults: Faults) -> int:
    """Both `MM/DD/YYYY`, as the best practices have it, and a Unix time, as the samples have it."""
    offset_s = faults.zone_offset_h * 3_600
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            day = datetime.strptime(value, "%m/%d/%Y").replace(tzinfo=UTC)
        except ValueError:
            raise Wrong("Invalid date") from None
        return int(day.timestamp()) - offset_s
    second = integer(value)
    return (second + offset_s) // _DAY_S * _DAY_S - offset_s
