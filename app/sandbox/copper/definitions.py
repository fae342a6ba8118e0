"""Custom fields: `custom_field_definitions`."""

from app.sandbox.copper import values
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Definition
from app.sandbox.copper.wire import (
    Call,
    Invalid,
    Json,
    Problem,
    Refused,
    Reply,
    Wrong,
    forbidden,
    not_found,
    read,
    text,
    texts,
)

_KINDS = ("lead", "person", "opportunity", "company", "project", "task")
_FEWEST_OPTIONS = {"Dropdown": 1, "MultiSelect": 2}


def shown(definition: Definition) -> Json:
    row: Json = {
        "id": definition.id,
        "name": definition.name,
        "canonical_name": None,
        "data_type": definition.data_type,
        "available_on": list(definition.available_on),
        "is_filterable": definition.is_filterable,
    }
    if definition.options is not None:
        options = enumerate(definition.options.items())
        row["options"] = [{"id": number, "name": name, "rank": rank} for rank, (number, name) in options]
    if definition.currency is not None:
        row["currency"] = definition.currency
    return row


def index(account: Account, _: Call) -> Reply:
    """All of them: there are no pages."""
    return Reply([shown(one) for one in account.definitions.values()])


def get(account: Account, call: Call) -> Reply:
    return Reply(shown(_known(account, call)))


def add(account: Account, call: Call) -> Reply:
    _check_right(account, call)
    return Reply(shown(make(account, call.object())))


def change(account: Account, call: Call) -> Reply:
    _check_right(account, call)
    return Reply(shown(edit(account, _known(account, call), call.object())))


def delete(account: Account, call: Call) -> Reply:
    _check_right(account, call)
    return Reply(remove(account, _known(account, call)))


def make(account: Account, body: Json) -> Definition:
    """Raises Invalid."""
    missing = [Problem(name, "can't be blank", "blank") for name in ("name", "data_type", "available_on")
               if not body.get(name)]  # fmt: skip
    given = {name: value for name, value in body.items() if value not in ("", None)}
    wanted = read(given, {**_READERS, "data_type": _data_type, "available_on": _kinds}, missing)
    data_type = wanted["data_type"]
    _check_name(account, wanted["name"])
    definition = Definition(
        account.next_id("definition"),
        wanted["name"],
        data_type,
        wanted["available_on"],
        is_filterable=not account.faults.unfilterable_fields,
        currency=wanted.get("currency", "USD") if data_type == "Currency" else None,
    )
    if data_type in _FEWEST_OPTIONS:
        definition.options = _options(account, data_type, wanted.get("options", ()))
    account.definitions[definition.id] = definition
    account.revision += 1
    return definition


def edit(account: Account, definition: Definition, body: Json) -> Definition:
    """Options are replaced, all with new ids: the values that had the old ones are gone. Raises Invalid."""
    wanted = read(body, {**_READERS, "available_on": _kinds})
    if wanted.get("name", definition.name) != definition.name:
        _check_name(account, wanted["name"])
    if "options" in wanted and definition.options is not None:
        definition.options = _options(account, definition.data_type, wanted["options"])
    account.revision += 1
    definition.name = wanted.get("name", definition.name)
    definition.available_on = wanted.get("available_on", definition.available_on)
    return definition


def remove(account: Account, definition: Definition) -> Json:
    """Its values are gone with it, for an id is never given again."""
    del account.definitions[definition.id]
    account.revision += 1
    return {"id": definition.id, "is_deleted": True}


def _known(account: Account, call: Call) -> Definition:
    definition = account.definitions.get(call.number())
    if definition is None:
        raise not_found()
    return definition


def _check_right(account: Account, call: Call) -> None:
    """Who may make fields is not documented: here, administrators may."""
    status = account.faults.field_refusal
    if status == 422:
        raise Invalid(Problem("base", "No more custom fields can be made"))
    if status:
        raise Refused(status, "Forbidden")
    if not call.caller.is_admin:
        raise forbidden()


def _check_name(account: Account, name: str) -> None:
    if account.faults.unique_field_names and any(one.name == name for one in account.definitions.values()):
        raise Invalid(Problem("name", "has already been taken", "taken"))


def _options(account: Account, data_type: str, names: tuple[str, ...]) -> dict[int, str]:
    if len(names) < _FEWEST_OPTIONS[data_type]:
        raise Invalid(Problem("options", f"must be at least {_FEWEST_OPTIONS[data_type]}"))
    return {account.next_id("option"): name for name in names}


def _data_type(value: object) -> str:
    if value not in values.TYPES:
        raise Wrong("is not included in the list")
    return str(value)


def _kinds(value: object) -> tuple[str, ...]:
    kinds = texts(value)
    if not kinds or set(kinds) - set(_KINDS):
        raise Wrong("is not included in the list")
    return kinds


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, dict) and one.get("name") for one in value):
        raise Wrong("must be an array of objects with a name")
    return tuple(text(one["name"]) for one in value)


def _name(value: object) -> str:
    if not text(value).strip():
        raise Wrong("can't be blank")
    return text(value)


_READERS = {"name": _name, "options": _names, "currency": text}
