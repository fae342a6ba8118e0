"""What the OpenAPI document says of `/graphql`, which FastAPI does not see."""

from typing import Any

from app.graphql.accepting import GRAPHQL, HTML, JSON

_ANSWER: dict[str, Any] = {  # Any: OpenAPI
    "type": "object",
    "properties": {
        "data": {"type": ["object", "null"], "description": "What was asked for; absent if nothing was executed."},
        "errors": {
            "type": "array",
            "items": {"type": "object"},
            "description": "Each with a `message`, and `extensions.code` for programs.",
        },
    },
}
_ANSWERS: dict[str, Any] = {  # Any: OpenAPI
    "200": {
        "description": "Executed, if need be with errors; to clients that accept but JSON also what was not.",
        "content": {JSON: {"schema": _ANSWER}, GRAPHQL: {"schema": _ANSWER}},
    },
    "400": {
        "description": "Not executed: no request, or a document or variables that the schema does not allow.",
        "content": {JSON: {"schema": _ANSWER}, GRAPHQL: {"schema": _ANSWER}},
    },
    "default": {
        "description": "A problem (RFC 9457)",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    },
}
_TEXT = {"type": "string"}
_PARAMETERS: dict[str, Any] = {  # Any: OpenAPI
    "query": {**_TEXT, "description": "A GraphQL document.", "examples": ["{ scoringModels { key name } }"]},
    "operationName": {**_TEXT, "description": "Which of the document's operations, if it has several."},
    "variables": {"type": "object", "description": "By their names."},
    "extensions": {
        "type": "object",
        "description": "`persistedQuery`, with `version` 1 and `sha256Hash`: Apollo's automatic persisted queries.",
    },
}

PATH: dict[str, Any] = {  # Any: OpenAPI
    "post": {
        "tags": ["GraphQL"],
        "summary": "Read by GraphQL",
        "operationId": "graphql_post",
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"type": "object", "properties": _PARAMETERS}}},
        },
        "responses": _ANSWERS,
    },
    "get": {
        "tags": ["GraphQL"],
        "summary": "Read by GraphQL, or the GraphiQL page",
        "operationId": "graphql_get",
        "parameters": [
            {
                "name": name,
                "in": "query",
                "description": schema["description"],
                **({"schema": _TEXT} if schema["type"] == "string" else {"content": {JSON: {"schema": schema}}}),
            }
            for name, schema in _PARAMETERS.items()
        ],
        "responses": {**_ANSWERS, "200": {**_ANSWERS["200"], "content": {**_ANSWERS["200"]["content"], HTML: {}}}},
    },
}
