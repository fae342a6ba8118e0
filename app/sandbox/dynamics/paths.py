"""The parts of an address: a name, and the key in its brackets."""

from typing import NamedTuple
from urllib.parse import unquote

from app.sandbox.dynamics.odata import Literal, parse_key, split
from app.sandbox.dynamics.wire import query_fault


class Segment(NamedTuple):
    name: str
    key: str | dict[str, Literal] | None = None
    """What is in the brackets: one value without a name, or values by name; None: there are none."""
    text: str = ""
    """The same, as it was written."""


def segments(path: str) -> list[Segment]:
    """Of a path below the service root. Raises Refusal."""
    return [_segment(unquote(one)) for one in split(path.strip("/"), "/")]


def _segment(text: str) -> Segment:
    name, bracket, rest = text.partition("(")
    if not bracket:
        return Segment(text)
    if not rest.endswith(")"):
        raise query_fault(f"Bad Request - Error in query syntax: '{text}'.")
    inner = rest[:-1]
    if "=" not in inner:
        return Segment(name, inner, inner)
    return Segment(name, parse_key(inner), inner)
