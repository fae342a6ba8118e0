"""Metadata: tables, columns and keys, to read and to make. Source: "Query table definitions", "Create columns"."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from app.sandbox.dynamics import describing, making
from app.sandbox.dynamics.columns import Column, Table
from app.sandbox.dynamics.odata import Both, Compare, Condition, Either, Match, Not, parse_expand, parse_filter
from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.paths import Segment
from app.sandbox.dynamics.tables import metadata_id
from app.sandbox.dynamics.wire import Call, Json, Refusal, Reply, no_property, no_segment, query_fault

_CAST = "Microsoft.Dynamics.CRM."
_TYPELESS = (
    "OneToManyRelationships", "ManyToOneRelationships", "ManyToManyRelationships",
)  # fmt: skip


class Metadata:
    def __init__(self, org: Org) -> None:
        self._org = org

    def handle(self, call: Call, path: list[Segment]) -> Reply:
        """A call below `EntityDefinitions`."""
        if path[0].key is None:
            self._only(call, "GET")
            if len(path) > 1:
                raise no_segment(path[1].name)
            tables = [describing.described_table(self._org, one) for one in self._tables()]
            return self._list(call, "EntityDefinitions", tables, "EntityMetadata")
        of = self._table(path[0])
        if len(path) == 1:
            self._only(call, "GET")
            return self._one(call, of, describing.described_table(self._org, of), "EntityMetadata")
        match path[1].name:
            case "Attributes":
                return self._attributes(call, of, path[1], path[2:])
            case "Keys":
                return self._keys(call, of, path[1])
            case name if name in _TYPELESS:
                self._only(call, "GET")
                found: Iterable[Json] = ()
                if name != "ManyToManyRelationships":
                    find = describing.one_to_many if name == "OneToManyRelationships" else describing.many_to_one
                    found = find(self._org, of)
                return self._list(call, name, list(found), "OneToManyRelationshipMetadata")
        raise no_segment(path[1].name)

    # --- columns ------------------------------------------------------------------------------------------------------

    def _attributes(self, call: Call, of: Table, attributes: Segment, rest: list[Segment]) -> Reply:
        cast = rest[0].name.removeprefix(_CAST) if rest and rest[0].name.startswith(_CAST) else ""
        if attributes.key is None:
            if call.method == "POST" and not rest:
                made = making.make_column(self._org, of, call)
                where = f"{call.root}{call.path}({made.metadata_id})"
                return Reply(204, headers={"OData-EntityId": where})
            self._only(call, "GET")
            seen = [column for column in of.columns.values() if self._is_seen(call, of, column)]
            found = [describing.described_column(self._org, of, column) for column in seen]
            found += [one for column in seen for one in describing.described_shadows(self._org, of, column)]
            if cast:
                found = [one for one in found if one["@odata.type"] == f"#{_CAST}{cast}"]
            context = f"EntityDefinitions('{of.name}')/Attributes{f'/{_CAST}{cast}' if cast else ''}"
            return self._list(call, context, found, cast or "AttributeMetadata", of)
        column = self._column(call, of, attributes)
        if call.method == "DELETE" and not rest:
            making.remove_column(self._org, of, column, call.user_id)
            return Reply(204)
        self._only(call, "GET")
        one = describing.described_column(self._org, of, column)
        if cast and one["@odata.type"] != f"#{_CAST}{cast}":
            raise no_segment(rest[0].name)
        if rest and rest[-1].name == "OptionSet":
            return self._one(call, of, describing.option_set(self._org, of, column), "OptionSetMetadata")
        return self._one(call, of, one, cast or "AttributeMetadata")

    def _column(self, call: Call, of: Table, key: Segment) -> Column:
        for column in of.columns.values():
            own = {"LogicalName": column.name, "MetadataId": column.metadata_id or metadata_id(of.name, column.name)}
            if self._is_meant(key, own) and self._is_seen(call, of, column):
                return column
        raise Refusal(
            "0x80060888", f"Could not find an attribute with specified key: {key.text} for entity {of.name}", 404
        )

    def _is_seen(self, call: Call, of: Table, column: Column) -> bool:
        """Whether the caches know a column, or were passed by."""
        made_at = self._org.columns_made_at.get((of.name, column.name))
        lag = timedelta(seconds=self._org.faults.metadata_lag_s)
        is_fresh = made_at is not None and self._org.now() - made_at < lag
        return not is_fresh or call.headers.get("consistency", "").lower() == "strong"

    # --- keys ---------------------------------------------------------------------------------------------------------

    def _keys(self, call: Call, of: Table, key: Segment) -> Reply:
        if key.key is None:
            if call.method == "POST":
                made = making.make_key(self._org, of, call)
                where = f"{call.root}{call.path}({made.metadata_id})"
                return Reply(204, headers={"OData-EntityId": where})
            self._only(call, "GET")
            found = [describing.described_key(self._org, of, one) for one in of.keys.values()]
            return self._list(call, f"EntityDefinitions('{of.name}')/Keys", found, "EntityKeyMetadata")
        for one in of.keys.values():
            if self._is_meant(key, {"LogicalName": one.schema_name.lower(), "MetadataId": one.metadata_id}):
                if call.method == "DELETE":
                    del of.keys[one.schema_name]
                    return Reply(204)
                self._only(call, "GET")
                return self._one(call, of, describing.described_key(self._org, of, one), "EntityKeyMetadata")
        raise Refusal("0x80060888", f"Could not find an entity key with specified key: {key.text}", 404)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _tables(self) -> list[Table]:
        return [one for one in self._org.tables.values() if self._org.is_there(one)]

    def _table(self, key: Segment) -> Table:
        for one in self._tables():
            if self._is_meant(key, {"LogicalName": one.name, "MetadataId": metadata_id(one.name)}):
                return one
        raise Refusal("0x80060888", f"Could not find an entity with specified key: {key.text}", 404)

    def _is_meant(self, key: Segment, own: dict[str, str]) -> bool:
        if isinstance(key.key, dict):
            return all(own.get(name) == value.text for name, value in key.key.items())
        return key.key is not None and own["MetadataId"] == key.key.strip("'").lower()

    def _only(self, call: Call, method: str) -> None:
        if call.method != method:
            message = f"The requested resource does not support http method '{call.method}'."
            raise query_fault(message, 405)

    def _one(self, call: Call, of: Table, found: Json, type_: str) -> Reply:
        body = self._shown(call, found, type_, of)
        return Reply(body={"@odata.context": f"{call.root}$metadata#EntityDefinitions/$entity", **body})

    def _list(self, call: Call, name: str, found: list[Json], type_: str, of: Table | None = None) -> Reply:
        options = call.query
        for option in options:
            if option in ("$orderby", "$top", "$skip"):
                raise query_fault(f"The query parameter '{option}' is not supported.")
        if options.get("$filter", "").strip():
            holds = _holds(parse_filter(options["$filter"], options))
            found = [one for one in found if holds(one)]
        shown = [self._shown(call, one, type_, of) for one in found]
        return Reply(body={"@odata.context": f"{call.root}$metadata#{name}", "value": shown}, rows=len(shown))

    def _shown(self, call: Call, found: Json, type_: str, of: Table | None) -> Json:
        """With the properties that are selected; those of one type alone have to be asked for by that type."""
        options = call.query
        names = [name.strip() for name in options.get("$select", "").split(",") if name.strip()]
        shown = dict(found)
        if names:
            is_typed = type_ != "AttributeMetadata"
            known = {name for name in found if is_typed or name not in _OF_ONE_TYPE}
            absent = [name for name in names if name not in known]
            if absent:
                raise no_property(absent[0], type_)
            fixed = [name for name in ("@odata.type", "MetadataId") if name in found]
            shown = {name: found[name] for name in (*fixed, *names)}
        for branch in parse_expand(options["$expand"]) if "$expand" in options else []:
            shown[branch.name] = self._expanded(found, type_, of, branch.name, branch.options)
        return shown

    def _expanded(
        self, found: Json, type_: str, of: Table | None, name: str, options: dict[str, str]
    ) -> Any:  # Any: JSON
        if of is not None and name in describing.EXPANDED and type_ != "AttributeMetadata":
            column = of.columns.get(found["LogicalName"])
            if column is None or not column.options or name != "OptionSet":
                return None
            made = describing.option_set(self._org, of, column)
        elif name == "Attributes" and type_ == "EntityMetadata" and of is not None:
            columns = [describing.described_column(self._org, of, one) for one in of.columns.values()]
            wanted = [one.strip() for one in options.get("$select", "").split(",") if one.strip()]
            return [
                {key: one[key] for key in ("@odata.type", "MetadataId", *wanted)} if wanted else one for one in columns
            ]
        elif name == "Keys" and type_ == "EntityMetadata" and of is not None:
            return [describing.described_key(self._org, of, one) for one in of.keys.values()]
        else:
            raise no_property(name, type_)
        wanted = [one.strip() for one in options.get("$select", "").split(",") if one.strip()]
        return {key: made[key] for key in ("MetadataId", *wanted) if key in made} if wanted else made


def _holds(condition: Condition) -> Callable[[Json], bool]:
    """What a filter of metadata means: names are compared as they are."""
    match condition:
        case Both(parts):
            all_of = [_holds(part) for part in parts]
            return lambda one: all(holds(one) for holds in all_of)
        case Either(parts):
            any_of = [_holds(part) for part in parts]
            return lambda one: any(holds(one) for holds in any_of)
        case Not(part):
            inner = _holds(part)
            return lambda one: not inner(one)
        case Compare(path, "eq" | "ne" as sign, value):
            return lambda one: (_text(one, path) == value.text) == (sign == "eq")
        case Match(function, path, text):
            names = {"startswith": str.startswith, "endswith": str.endswith, "contains": str.__contains__}
            return lambda one: bool(names[function](_text(one, path) or "", text))
    raise query_fault("The filter is not supported for metadata.")


def _text(one: Json, path: str) -> str | None:
    """A property as a filter has it. Raises Refusal if there is none of the name."""
    value: Any = one  # Any: JSON
    for name in path.split("/"):
        if not isinstance(value, dict) or name not in value:
            raise no_property(path, "MetadataBase")
        value = value[name]
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


_OF_ONE_TYPE = {name for names in describing.TYPED.values() for name in names}
