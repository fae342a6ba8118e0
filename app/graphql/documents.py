"""Documents that were parsed, measured and validated, kept by their text: a front end sends the same few.

By automatic persisted queries (Apollo's protocol) a client sends a document once with its SHA-256, and from then on the
hash alone. With an allow-list no document is executed but those of a manifest, by their ids or by their text.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import NoSchemaIntrospectionCustomRule
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from app.graphql import limits
from app.graphql.compiling import Plan
from app.graphql.errors import Refused, refused
from app.graphql.selections import Fragments

_MOST = 1_000
_MOST_CHARACTERS = 2_000_000
"""Of all documents together, and of all that is known of them: some thirty times as many bytes."""
_LONGEST = 100_000
"""Characters of a document that is kept."""

_RULES = [*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule]
"""As Strawberry validates."""

Compile = Callable[[OperationDefinitionNode, Fragments], Plan | None]


@dataclass(frozen=True, eq=False)
class Operation:
    node: OperationDefinitionNode
    plan: Plan | None
    """As far as it is compiled; None if it cannot be."""


@dataclass(frozen=True, eq=False)
class Document:
    text: str
    ast: DocumentNode
    fragments: Fragments
    operations: tuple[Operation, ...]

    def operation(self, name: str | None) -> Operation:
        """Raises Refused if there is none of that name, or no name and several."""
        if name is None and len(self.operations) == 1:
            return self.operations[0]
        for one in self.operations:
            if name is not None and one.node.name is not None and one.node.name.value == name:
                return one
        if name is None:
            raise refused(f"'operationName' must say which of the {len(self.operations)} operations is meant")
        raise refused(f"there is no operation {name!r:.80}")


class ListRefused(ValueError):
    """The file of the only operations that are executed cannot be used. The message says why."""


class Documents:
    def __init__(
        self,
        schema: GraphQLSchema,
        compile: Compile,  # noqa: A002 - what it does
        *,
        introspection: bool = True,
        allowed: Mapping[str, str] | None = None,
    ) -> None:
        """`allowed` are the documents of an allow-list by their ids; None: every document is.

        Raises ListRefused that names a document of the list that the schema does not allow.
        """
        self._schema = schema
        self._compile = compile
        self._rules = [*_RULES, *([] if introspection else [NoSchemaIntrospectionCustomRule])]
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._texts: dict[str, str] = {}
        """The texts of kept documents by their hash, where a client has told it."""
        self._hashes: dict[str, str] = {}
        self._characters = 0
        self._listed = None if allowed is None else {key: self._permitted(key, text) for key, text in allowed.items()}
        self._listed_texts = {one.text: one for one in (self._listed or {}).values()}

    def find(self, text: str | None, persisted: object = None) -> Document:
        """The document of a text, or of `extensions.persistedQuery`: one of them is given. Raises Refused."""
        digest = None if persisted is None else _digest(persisted)
        if self._listed is not None:
            return self._of_list(self._listed, text, digest)
        if text is None:
            assert digest is not None
            known = self._texts.get(digest)
            if known is None:
                raise refused("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
            return self._by_text(known)
        if digest is not None and hashlib.sha256(text.encode()).hexdigest() != digest:
            raise refused("'sha256Hash' is not the SHA-256 of 'query'")
        found = self._by_text(text)
        if digest is not None and text in self._kept and text not in self._hashes:
            self._texts[digest], self._hashes[text] = text, digest
        return found

    def _of_list(self, listed: Mapping[str, Document], text: str | None, digest: str | None) -> Document:
        if text is None:
            assert digest is not None
            if digest not in listed:
                raise refused("this id is not in the list of operations", "PERSISTED_QUERY_NOT_IN_LIST", 403)
            return listed[digest]
        if text not in self._listed_texts:
            raise refused("this query is not in the list of operations", "QUERY_NOT_IN_SAFELIST", 403)
        return self._listed_texts[text]

    def _by_text(self, text: str) -> Document:
        kept = self._kept.get(text)
        if kept is not None:
            self._kept.move_to_end(text)
            return kept
        made = self._read(text)
        if len(text) <= _LONGEST:
            self._kept[text] = made
            self._characters += len(text)
            while len(self._kept) > _MOST or self._characters > _MOST_CHARACTERS:
                old, _ = self._kept.popitem(last=False)
                self._characters -= len(old)
                self._texts.pop(self._hashes.pop(old, ""), None)
        return made

    def _read(self, text: str) -> Document:
        """Raises Refused."""
        try:
            ast = parse(text, max_tokens=limits.MAX_TOKENS)
            limits.measure(ast)
            faults = validate(self._schema, ast, self._rules)
        except GraphQLError as fault:
            raise Refused([fault]) from None
        if faults:
            raise Refused(faults)
        fragments = {one.name.value: one for one in ast.definitions if isinstance(one, FragmentDefinitionNode)}
        nodes = [one for one in ast.definitions if isinstance(one, OperationDefinitionNode)]
        return Document(text, ast, fragments, tuple(Operation(node, self._compile(node, fragments)) for node in nodes))

    def _permitted(self, name: str, text: str) -> Document:
        try:
            return self._read(text)
        except Refused as fault:
            raise ListRefused(f"operation {name!r:.80} of the allow-list: {fault.errors[0].message}") from None


def manifest(path: Path) -> dict[str, str]:
    """The documents of a file by their ids: Apollo's persisted query manifest, or an object of texts by their hashes.

    Raises ListRefused for anything else, and if it cannot be read.
    """
    try:
        said: Any = orjson.loads(path.read_bytes())  # Any: JSON
        if isinstance(said, dict) and said.get("format") == "apollo-persisted-query-manifest":
            said = {one["id"]: one["body"] for one in said["operations"]}
        if isinstance(said, dict) and all(isinstance(text, str) for text in said.values()):
            return said
    except OSError as fault:
        raise ListRefused(f"{path}: {fault.strerror}") from None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise ListRefused(f"{path}: neither a persisted query manifest nor an object of queries by their hashes")


def _digest(said: object) -> str:
    match said:
        case {"version": 1, "sha256Hash": str(digest)}:
            return digest
        case {"version": _, "sha256Hash": _}:
            raise refused("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
    raise refused("'persistedQuery' must have 'version' 1 and 'sha256Hash'")
