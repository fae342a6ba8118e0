"""YAML in and out, so that what is read is what was written.

Reading takes for a boolean only `true` and `false`: `on`, `no` and `2026-01-01` are text, as in JSON. Numbers are
exact, keys are text and stand once, and there are no aliases and no tags of anybody's. Writing puts quotes around
whatever some reader of YAML, old or new, would take for something else than text.
"""

import re
import textwrap
from collections.abc import Iterator
from decimal import Decimal
from typing import TypeAlias

import yaml

from app.api.problems import pointer as place
from app.errors import Fault, InvalidInput

Said: TypeAlias = "bool | int | Decimal | str | list[Said] | dict[str, Said] | None"

WIDTH = 110
_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT, _STR = (f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str"))
_MAP, _SEQ = f"{_TAG}map", f"{_TAG}seq"
_PLAIN = [
    (_NULL, re.compile(r"^(?:~|null|)$"), ["~", "n", ""]),
    (_BOOL, re.compile(r"^(?:true|false)$"), ["t", "f"]),
    (_INT, re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789")),
    (_FLOAT, re.compile(r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"), list("-0123456789")),
]
"""What is no text though it has no quotes: JSON's own words and numbers, and nothing."""
_LONGEST_NUMBER = 400
_ODD = re.compile("[\r\x85\u2028\u2029\ufeff]")
"""What a reader takes for the end of a line, or leaves out, unless it is escaped."""


class Rows(list[Said]):
    """A list that is written with a line or more for each item, however short it is."""


class Entry(dict[str, Said]):
    """A mapping that is written with a line or more for each name, however short it is."""


class _Reader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # untyped in the stubs
            raise yaml.composer.ComposerError(None, None, "an alias (*name) is not read here; say it in full", mark)
        return super().compose_node(parent, index)


class _Writer(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's
        super().increase_indent(flow, indentless=False)

    def choose_scalar_style(self) -> str:
        style: str = super().choose_scalar_style()
        assert isinstance(self.event, yaml.ScalarEvent)
        text = self.event.value
        return '"' if _ODD.search(text) or ("\n" in text and style != "|") else style


for _tag, _pattern, _first in _PLAIN:
    _Reader.add_implicit_resolver(_tag, _pattern, _first)
    _Writer.add_implicit_resolver(_tag, _pattern, _first)
_Writer.add_implicit_resolver(_INT, re.compile(r"^[-+]?0o[0-7]+$"), list("-+0"))  # an integer in YAML 1.2


def read(text: str) -> Iterator[tuple[Said, list[Fault]]]:
    """Each document that says anything, with what is wrong in it. Raises InvalidInput for what is no YAML at all."""
    try:
        for node in list(yaml.compose_all(text, Loader=_Reader)):
            if node.tag != _NULL:
                walk = _Walk()
                yield walk.value(node, ""), walk.faults
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidInput(Fault("", f"{line}{fault.problem or fault.context}")) from None
    except yaml.reader.ReaderError as fault:
        raise InvalidInput(Fault("", f"character {fault.position + 1}: {fault.reason}")) from None
    except RecursionError:
        raise InvalidInput(Fault("", "nested too deeply")) from None


class _Walk:
    """From YAML's nodes to values, noting every fault."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def value(self, node: yaml.Node, pointer: str) -> Said:
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, pointer)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self.value(one, f"{pointer}/{index}") for index, one in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, pointer)
        self._fault(pointer, f"{node.tag} is not read here")
        return None

    def _mapping(self, node: yaml.MappingNode, pointer: str) -> dict[str, Said]:
        found: dict[str, Said] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(pointer, f"line {key.start_mark.line + 1}: a name is a single word or text")
                continue
            here = pointer + place((key.value,))
            if key.value in found:
                self._fault(here, f"line {key.start_mark.line + 1}: this name stands here twice")
            found[key.value] = self.value(value, here)
        return found

    def _scalar(self, node: yaml.ScalarNode, pointer: str) -> Said:
        text: str = node.value
        if node.tag == _STR:
            if not _is_text(text):
                self._fault(pointer, "a character that text cannot hold")
            return text
        if node.tag == _BOOL and text in ("true", "false"):
            return text == "true"
        if node.tag in (_INT, _FLOAT) and _PLAIN[-1][1].match(text):
            return self._number(text, pointer)
        if node.tag != _NULL:
            self._fault(pointer, f"{node.tag.removeprefix(_TAG)} {text!r:.40} is not read here")
        return None

    def _number(self, text: str, pointer: str) -> Said:
        number = Decimal(text)
        if len(text) > _LONGEST_NUMBER or abs(number.adjusted()) > _LONGEST_NUMBER:
            self._fault(pointer, "a number beyond all measure")
            return None
        return whole(number)

    def _fault(self, pointer: str, detail: str) -> None:
        self.faults.append(Fault(pointer, detail))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def whole(number: Decimal) -> int | Decimal:
    """The one way to hold a number: an integer if it is one."""
    return int(number) if number == number.to_integral_value() else number


def write(value: Rows | Entry, indent: int = 0) -> str:
    """A value as YAML; what is below `Rows` and `Entry` goes on one line where that is short."""
    return textwrap.indent(_text(_node(value, indent, indent)), " " * indent)


def line(value: Said) -> str:
    """A value on one line, whatever its length."""
    whole_line = yaml.MappingNode(_MAP, [(_scalar("x"), _flow(value))], flow_style=False)
    return _text(whole_line, width=1_000_000).removeprefix("x: ").removesuffix("\n")


def _text(node: yaml.Node, width: int = WIDTH) -> str:
    text: str = yaml.serialize(node, Dumper=_Writer, allow_unicode=True, width=width)
    return text


def _node(value: Said, indent: int, before: int) -> yaml.Node:
    """`before` says how much stands before it on its line, `indent` how far in its own lines begin."""
    if not isinstance(value, dict | list):
        return _scalar(value, _style(value) if isinstance(value, str) else None)
    if not isinstance(value, Rows | Entry) and before + len(line(value)) <= WIDTH:
        return _flow(value)
    if isinstance(value, list):
        return yaml.SequenceNode(_SEQ, [_node(one, indent + 2, indent + 2) for one in value], flow_style=False)
    entries = [(_scalar(name), _node(one, indent + 2, indent + len(line(name)) + 2)) for name, one in value.items()]
    return yaml.MappingNode(_MAP, entries, flow_style=False)


def _flow(value: Said) -> yaml.Node:
    if isinstance(value, dict):
        return yaml.MappingNode(_MAP, [(_scalar(name), _flow(one)) for name, one in value.items()], flow_style=True)
    if isinstance(value, list):
        return yaml.SequenceNode(_SEQ, [_flow(one) for one in value], flow_style=True)
    return _scalar(value)


def _scalar(value: bool | int | Decimal | str | None, style: str | None = None) -> yaml.ScalarNode:
    if value is None:
        return yaml.ScalarNode(_NULL, "null")
    if isinstance(value, bool):
        return yaml.ScalarNode(_BOOL, "true" if value else "false")
    if isinstance(value, str):
        return yaml.ScalarNode(_STR, value, style=style)
    digits = format(value, "f") if isinstance(value, Decimal) else str(value)
    if "." in digits:
        digits = digits.rstrip("0").removesuffix(".")
    return yaml.ScalarNode(_FLOAT if "." in digits else _INT, digits)


def _style(text: str) -> str | None:
    """Several lines as they are, long prose folded, anything else as it fits."""
    if "\n" in text:
        return None if text.endswith("\n\n") or text == "\n" else "|"  # a block would keep those by ending the document
    is_prose = len(text) > WIDTH - 30 and " ".join(text.split()) == text
    return ">" if is_prose else None
