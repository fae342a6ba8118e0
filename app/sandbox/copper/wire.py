"""What a call brings and what it is answered: bodies, problems with them, and errors in Copper's words.

Source: the "Errors" of the Developer API, and answers of the live API that third parties recorded.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

Json = dict[str, Any]  # Any: JSON

_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)


class Refused(Exception):
    """The call is answered with an error."""

    def __init__(self, status: int, message: str, body: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"success": False, "status": status, "message": message} if body is None else body


class Problem(NamedTuple):
    """Something that is wrong with a body."""

    attribute: str
    """As the body has it: `company_id`; `base` for the body itself."""
    text: str
    code: str = "invalid"
    """How bulk calls tell it: `invalid`, `blank`, `taken`, `not_found`."""


class Invalid(Refused):
    """422, with all that is wrong, one problem to a line."""

    def __init__(self, *problems: Problem) -> None:
        lines = "\n".join(f"{title(one.attribute)}: {one.text}" for one in problems)
        super().__init__(422, f"Invalid input: Validation errors: {lines}")
        self.problems = problems


class Wrong(ValueError):
    """A value is not as its attribute needs it. The message is the text of a Problem."""


class Caller(NamedTuple):
    """Who calls: a user by a key or by a token, or somebody who works in Copper."""

    user_id: int
    key: str = ""
    is_admin: bool = True
    """Who is not sees only what is their own or nobody's."""
    is_api: bool = True


class Call(NamedTuple):
    """One call whose caller is known."""

    caller: Caller
    query: Mapping[str, str]
    path: Mapping[str, str]
    body: Any  # Any: JSON; None if there is none

    def number(self, name: str = "id") -> int:
        """An id in the path. Raises Refused (404): what is no number is no record."""
        if not _DIGITS.fullmatch(self.path[name]):
            raise not_found()
        return int(self.path[name])

    def object(self) -> Json:
        """The body, none being an empty one. Raises Refused (400)."""
        if self.body is None:
            return {}
        if not isinstance(self.body, dict):
            raise Refused(400, "Bad request: the body is not a JSON object")
        return self.body


class Reply(NamedTuple):
    body: Any  # Any: JSON
    headers: Mapping[str, str] = {}


def not_found() -> Refused:
    return Refused(404, "Resource not found")


def forbidden() -> Refused:
    return Refused(403, "Forbidden")


def title(attribute: str) -> str:
    """`company_id` as messages name it: `Company Id`."""
    return attribute.replace("_", " ").title()


def unrecognized(body: Iterable[str], known: Iterable[str]) -> list[Problem]:
    """The problem of keys that are not known, if there are any."""
    unknown = [name for name in body if name not in set(known)]
    return [Problem("base", f"Unrecognized attributes specified: {', '.join(unknown)}")] if unknown else []


def read(body: Json, known: Mapping[str, Callable[[Any], Any]], more: Iterable[Problem] = ()) -> Json:  # Any: JSON
    """The values of a body, each by its own reader, which raises Wrong; keys that are not known are refused too.

    Raises Invalid with all problems; `more` are problems that are known already.
    """
    problems = [*unrecognized(body, known), *more]
    wanted: Json = {}
    for name, value in body.items():
        if name in known:
            try:
                wanted[name] = known[name](value)
            except Wrong as fault:
                problems.append(Problem(name, str(fault)))
    if problems:
        raise Invalid(*problems)
    return wanted


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def integer(value: object) -> int:
    """A whole number, or a text that is one: clients that work with the live API send such. Raises Wrong."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _DIGITS.fullmatch(value.removeprefix("-")):
        return int(value)
    raise Wrong("must be an integer")


def text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong("must be a string")
    return value


def ids(value: object) -> tuple[int, ...]:
    """Each once, in their order. Raises Wrong."""
    if not isinstance(value, list):
        raise Wrong("must be an array of IDs")
    try:
        return tuple(dict.fromkeys(integer(one) for one in value))
    except Wrong:
        raise Wrong(f"IDs must be positive integers: {', '.join(map(str, value))[:100]}") from None


def optional_text(value: object) -> str | None:
    return None if value is None else text(value)


def texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Wrong("must be an array of strings")
    return tuple(value)
