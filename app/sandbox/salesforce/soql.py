"""SOQL, read: the part of the language that reads one object and its parents. Source: the SOQL and SOSL Reference."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from app.sandbox.salesforce.wire import Refusal

_LONGEST = 100_000
_DEEPEST = 100
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.)*')
      | (?P<instant>\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:?\d\d))
      | (?P<date>\d{4}-\d\d-\d\d)
      | (?P<number>[+-]?\d+(?:\.\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
      | (?P<sign><>|!=|<=|>=|[=<>(),:])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_COMPARISONS = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">="}
_AGGREGATES = ("count", "min", "max", "count_distinct")


@dataclass(frozen=True)
class Literal:
    kind: str
    """text, instant, date, number, boolean, null, or relative (`LAST_N_DAYS:7`)."""
    text: str
    """Without quotes and escapes. Booleans and null in lower case, relative ones in upper."""


@dataclass(frozen=True)
class Column:
    path: str
    """`Email`, `Account.Name`."""
    at: int
    """Where it stands in the query, from 0."""


@dataclass(frozen=True)
class Compare:
    column: Column
    sign: str
    """=, !=, <, >, <=, >=, like, in, not in."""
    values: tuple[Literal, ...]
    """Several for in and not in, else one."""


@dataclass(frozen=True)
class Both:
    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class Either:
    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class Not:
    part: "Condition"


Condition: TypeAlias = Compare | Both | Either | Not


@dataclass(frozen=True)
class Aggregate:
    function: str
    """count, min, max or count_distinct."""
    column: Column
    name: str
    """In the result: as the query says, or `expr0`."""


@dataclass(frozen=True)
class Order:
    column: Column
    descending: bool
    nulls_last: bool


@dataclass(frozen=True)
class Query:
    text: str
    columns: tuple[Column, ...]
    aggregates: tuple[Aggregate, ...]
    """Either these or columns; neither for `COUNT()`."""
    object: Column
    where: Condition | None = None
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    all_rows: bool = False


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Query:
    """Raises Refusal: MALFORMED_QUERY."""
    if len(text) > _LONGEST:
        raise Refusal("MALFORMED_QUERY", f"SOQL statements cannot be longer than {_LONGEST} characters.")
    return _Parser(text).query()


def fault(text: str, at: int, code: str, message: str) -> Refusal:
    """An error that shows where in the query it is."""
    row = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    begin = max(0, at - 40, text.rfind("\n", 0, at) + 1)
    line = text[begin : at + 40].split("\n")[0]
    return Refusal(code, f"\n{line}\n{' ' * (at - begin)}^\nERROR at Row:{row}:Column:{column}\n{message}")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._cut())
        self._next = 0
        self._depth = 0

    def query(self) -> Query:
        self._expect("select")
        columns, aggregates = self._selected()
        self._expect("from")
        of = Column(self._name().text, self._tokens[self._next - 1].at)
        where = self._either() if self._take("where") else None
        order = self._orders() if self._take("order") else ()
        limit = self._whole() if self._take("limit") else None
        offset = self._whole() if self._take("offset") else 0
        all_rows = self._take("all")
        if all_rows:
            self._expect("rows")
        if self._peek().kind != "end":
            raise self._unexpected(self._peek())
        return Query(self._text, columns, aggregates, of, where, order, limit, offset, all_rows)

    # --- tokens -------------------------------------------------------------------------------------------------------

    def _cut(self) -> list[_Token]:
        tokens, at, end = [], 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                raise fault(self._text, at, "MALFORMED_QUERY", f"unexpected token: '{self._text[at]}'")
            tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return [*tokens, _Token("end", "<EOF>", end)]

    def _peek(self, ahead: int = 0) -> _Token:
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def _is(self, word: str, ahead: int = 0) -> bool:
        token = self._peek(ahead)
        return token.kind in ("name", "sign") and token.text.lower() == word

    def _take(self, word: str) -> bool:
        if self._is(word):
            self._next += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._unexpected(self._peek())

    def _name(self) -> _Token:
        token = self._peek()
        if token.kind != "name":
            raise self._unexpected(token)
        self._next += 1
        return token

    def _whole(self) -> int:
        token = self._peek()
        if token.kind != "number" or not token.text.isdigit() or len(token.text) > 9:
            raise self._unexpected(token)
        self._next += 1
        return int(token.text)

    def _unexpected(self, token: _Token) -> Refusal:
        what = "unexpected end of query" if token.kind == "end" else f"unexpected token: '{token.text}'"
        return fault(self._text, token.at, "MALFORMED_QUERY", what)

    # --- clauses ------------------------------------------------------------------------------------------------------

    def _selected(self) -> tuple[tuple[Column, ...], tuple[Aggregate, ...]]:
        if self._is("count") and self._is("(", 1) and self._is(")", 2):
            self._next += 3
            return (), ()
        columns: list[Column] = []
        aggregates: list[Aggregate] = []
        while True:
            token = self._name()
            if token.text.lower() in _AGGREGATES and self._take("("):
                column = self._column()
                self._expect(")")
                aggregates.append(
                    Aggregate(
                        token.text.lower(), column, self._alias(sum(one.name.startswith("expr") for one in aggregates))
                    )
                )
            else:
                columns.append(Column(token.text, token.at))
            if not self._take(","):
                break
        if columns and aggregates:
            what = f"Field must be grouped or aggregated: {columns[0].path}"
            raise fault(self._text, columns[0].at, "MALFORMED_QUERY", what)
        return tuple(columns), tuple(aggregates)

    def _alias(self, number: int) -> str:
        token = self._peek()
        if token.kind == "name" and token.text.lower() != "from":
            self._next += 1
            return token.text
        return f"expr{number}"

    def _column(self) -> Column:
        token = self._name()
        return Column(token.text, token.at)

    def _orders(self) -> tuple[Order, ...]:
        self._expect("by")
        orders = []
        while True:
            column = self._column()
            descending = not self._take("asc") and self._take("desc")
            nulls_last = False
            if self._take("nulls"):
                nulls_last = not self._take("first")
                if nulls_last:
                    self._expect("last")
            orders.append(Order(column, descending, nulls_last))
            if not self._take(","):
                return tuple(orders)

    def _either(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._unexpected(self._peek())
        parts = [self._unit()]
        joins = set()
        while self._is("and") or self._is("or"):
            joins.add(self._peek().text.lower())
            # The language has no order of precedence: a mixture needs brackets.
            if len(joins) > 1:
                raise self._unexpected(self._peek())
            self._next += 1
            parts.append(self._unit())
        self._depth -= 1
        if not joins:
            return parts[0]
        return Both(tuple(parts)) if joins == {"and"} else Either(tuple(parts))

    def _unit(self) -> Condition:
        if self._take("not"):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._unexpected(self._peek())
            made = Not(self._unit())
            self._depth -= 1
            return made
        if self._take("("):
            inner = self._either()
            self._expect(")")
            return inner
        return self._compare()

    def _compare(self) -> Compare:
        column = self._column()
        token = self._peek()
        word = token.text.lower()
        self._next += 1
        if token.kind == "sign" and word in _COMPARISONS:
            return Compare(column, _COMPARISONS[word], (self._literal(),))
        if token.kind == "name" and word == "like":
            return Compare(column, "like", (self._literal(),))
        if token.kind == "name" and word == "not":
            self._expect("in")
            return Compare(column, "not in", self._list())
        if token.kind == "name" and word == "in":
            return Compare(column, "in", self._list())
        raise self._unexpected(token)

    def _list(self) -> tuple[Literal, ...]:
        self._expect("(")
        values = [self._literal()]
        while self._take(","):
            values.append(self._literal())
        self._expect(")")
        return tuple(values)

    def _literal(self) -> Literal:
        token = self._peek()
        self._next += 1
        if token.kind == "text":
            return Literal("text", _unquoted(token.text))
        if token.kind in ("instant", "date", "number"):
            return Literal(token.kind, token.text)
        if token.kind == "name":
            word = token.text.lower()
            if word in ("true", "false"):
                return Literal("boolean", word)
            if word == "null":
                return Literal("null", word)
            if self._take(":"):
                return Literal("relative", f"{word.upper()}:{self._whole()}")
            return Literal("relative", word.upper())
        raise self._unexpected(token)


def _unquoted(text: str) -> str:
    # A backslash before % and _ is kept: LIKE needs to see it.
    def plain(match: re.Match[str]) -> str:
        letter = match[1]
        return match[0] if letter in "%_" else _ESCAPES.get(letter.lower(), letter)

    return re.sub(r"\\(.)", plain, text[1:-1], flags=re.DOTALL)
