"""`$filter`, `$orderby` and `$expand` as they are written. Source: "Query data using the Web API"."""

import re
from typing import NamedTuple, TypeAlias

from app.sandbox.dynamics.wire import query_fault

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*')
    | (?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))
    | (?P<guid>[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<word>@?[A-Za-z_][A-Za-z0-9_.]*(?:/[A-Za-z_][A-Za-z0-9_]*)*)
    | (?P<sign>[(),=\[\]])
    )""",
    re.VERBOSE | re.ASCII,
)
_SIGNS = ("eq", "ne", "gt", "ge", "lt", "le")
_FUNCTIONS = ("contains", "startswith", "endswith")
_AMONG = "Microsoft.Dynamics.CRM.In"
_DEEPEST = 50


class Literal(NamedTuple):
    kind: str
    """text, instant, guid, date, number, boolean, null"""
    text: str


class Compare(NamedTuple):
    path: str
    """`modifiedon`, or `sdkmessageid/name`."""
    sign: str
    value: Literal


class Match(NamedTuple):
    """`contains`, `startswith` or `endswith`."""

    function: str
    path: str
    text: str


class Among(NamedTuple):
    path: str
    values: tuple[str, ...]


class Both(NamedTuple):
    parts: tuple["Condition", ...]


class Either(NamedTuple):
    parts: tuple["Condition", ...]


class Not(NamedTuple):
    part: "Condition"


Condition: TypeAlias = Compare | Match | Among | Both | Either | Not


class By(NamedTuple):
    """One part of `$orderby`."""

    path: str
    is_descending: bool


class Branch(NamedTuple):
    """One part of `$expand`, with its own options."""

    name: str
    options: dict[str, str]


def parse_filter(text: str, aliases: dict[str, str]) -> Condition:
    """`aliases` are the parameters that begin with `@`. Raises Refusal."""
    return _Parser(text, aliases).filter()


def parse_order(text: str) -> list[By]:
    """Raises Refusal."""
    found = []
    for one in text.split(","):
        words = one.split()
        if not words or len(words) > 2 or words[1:] not in ([], ["asc"], ["desc"]):
            raise query_fault(f"Syntax error in the $orderby expression '{text}'.")
        found.append(By(words[0], words[1:] == ["desc"]))
    return found


def parse_expand(text: str) -> list[Branch]:
    """Raises Refusal."""
    found = []
    for one in split(text, ","):
        name, bracket, rest = one.strip().partition("(")
        if bracket and not rest.endswith(")"):
            raise query_fault(f"Syntax error in the $expand expression '{text}'.")
        pairs = [option.partition("=") for option in split(rest[:-1], ";") if option] if bracket else []
        found.append(Branch(name.strip(), {key.strip(): value for key, _, value in pairs}))
    return found


def parse_key(text: str) -> dict[str, Literal]:
    """Values by name, as in the brackets of `contacts(new_extid='42')`. Raises Refusal."""
    found = {}
    for one in split(text, ","):
        name, _, value = one.partition("=")
        found[name.strip()] = _Parser(value, {}).literal()
    return found


def split(text: str, sign: str) -> list[str]:
    """What is between the signs that stand in no brackets and no quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for at, letter in enumerate(text):
        if letter == "'":
            quoted = not quoted
        elif not quoted and letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == sign and not quoted and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


class _Parser:
    def __init__(self, text: str, aliases: dict[str, str]) -> None:
        self._text = text
        self._aliases = aliases
        self._tokens = self._cut(text)
        self._at = 0
        self._depth = 0

    def filter(self) -> Condition:
        found = self._either()
        if self._at < len(self._tokens):
            raise self._fault()
        return found

    def _cut(self, text: str) -> list[Literal]:
        tokens, at = [], 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise query_fault(f"Syntax error at position {at} in '{text}'.")
            assert match.lastgroup is not None
            tokens.append(Literal(match.lastgroup, match[match.lastgroup]))
            at = match.end()
        return tokens

    def _fault(self) -> Exception:
        return query_fault(f"Syntax error at token {self._at} in '{self._text}'.")

    def _peek(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def _next(self, kind: str = "") -> str:
        if self._at >= len(self._tokens) or (kind and self._tokens[self._at].kind != kind):
            raise self._fault()
        self._at += 1
        return self._tokens[self._at - 1].text

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            raise self._fault()
        self._at += 1

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._peek() == "or":
            self._at += 1
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._peek() == "and":
            self._at += 1
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._fault()
        found = self._bare()
        self._depth -= 1
        return found

    def _bare(self) -> Condition:
        if self._peek() == "not":
            self._at += 1
            return Not(self._one())
        if self._peek() == "(":
            self._at += 1
            found = self._either()
            self._expect(")")
            return found
        word = self._next("word")
        if self._peek() != "(":
            sign = self._next("word")
            if sign not in _SIGNS:
                raise self._fault()
            return Compare(word, sign, self.literal())
        if word == _AMONG:
            return self._among()
        if word not in _FUNCTIONS:
            raise query_fault(f"An unknown function with name '{word}' was found.")
        self._expect("(")
        path = self._next("word")
        self._expect(",")
        value = self.literal()
        self._expect(")")
        if value.kind != "text":
            raise query_fault(f"No function signature for the function with name '{word}' matches the arguments.")
        return Match(word, path, value.text)

    def _among(self) -> Among:
        self._expect("(")
        said: dict[str, list[str]] = {}
        while self._peek() != ")":
            name = self._next("word")
            self._expect("=")
            said[name] = self._texts()
            if self._peek() == ",":
                self._at += 1
        self._expect(")")
        if said.keys() != {"PropertyName", "PropertyValues"} or len(said["PropertyName"]) != 1:
            raise query_fault(f"'{_AMONG}' takes PropertyName and PropertyValues.")
        return Among(said["PropertyName"][0], tuple(said["PropertyValues"]))

    def _texts(self) -> list[str]:
        if self._peek() != "[":
            return [_unquoted(self._next("text"))]
        self._at += 1
        found = []
        while self._peek() != "]":
            # Strict JSON would have other quotes; both are taken.
            found.append(_unquoted(self._next("text")))
            if self._peek() == ",":
                self._at += 1
        self._expect("]")
        return found

    def literal(self) -> Literal:
        """The value that comes next. Raises Refusal."""
        if self._at >= len(self._tokens):
            raise self._fault()
        token = self._tokens[self._at]
        self._at += 1
        if token.kind == "text":
            return Literal("text", _unquoted(token.text))
        if token.kind != "word":
            return token
        if token.text.startswith("@"):
            if token.text not in self._aliases:
                raise query_fault(f"The parameter alias '{token.text}' has no value.")
            return _Parser(self._aliases[token.text], {}).literal()
        if token.text == "null":
            return Literal("null", "")
        if token.text in ("true", "false"):
            return Literal("boolean", token.text)
        if self._at < len(self._tokens) and self._tokens[self._at].kind == "text":
            # An enumeration: Microsoft.Dynamics.CRM.AttributeTypeCode'Integer'.
            return Literal("text", _unquoted(self._next("text")))
        raise self._fault()


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'")
