"""Which call there is, what it costs in tokens, and which OAuth scope it needs. Source: both OpenAPI documents."""

from collections.abc import Callable
from typing import NamedTuple

from app.sandbox.pipedrive import accounts, activities, leads, person_calls, webhooks
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.fields import Fields
from app.sandbox.pipedrive.limits import Cost
from app.sandbox.pipedrive.wire import Call, Refused, Reply

Handler = Callable[[Company, Call], Reply]

V1 = ("/v1", "/api/v1")
"""Many clients still use the short prefix; the second version has none."""
V2 = ("/api/v2",)


class Endpoint(NamedTuple):
    prefixes: tuple[str, ...]
    method: str
    path: str
    cost: Cost
    scopes: tuple[str, ...]
    """One of these is enough."""
    handler: Handler


_PEOPLE = ("contacts:full", "contacts:read")
_PERSON_FIELDS = ("contact-fields:full", "admin")
_DEAL_FIELDS = ("deals:full", "admin")


def _gone(_: Company, __: Call) -> Reply:
    raise Refused(410, "This endpoint is retired", "Use the second version.")


def _fields(name: str, entity: str, scopes: tuple[str, ...]) -> list[Endpoint]:
    calls = Fields(entity)
    one, options = f"/{name}/{{code}}", f"/{name}/{{code}}/options"
    return [
        Endpoint(V2, "GET", f"/{name}", Cost(10), (*scopes, *_PEOPLE), calls.index),
        Endpoint(V2, "POST", f"/{name}", Cost(5), scopes, calls.add),
        Endpoint(V2, "GET", one, Cost(1), (*scopes, *_PEOPLE), calls.get),
        Endpoint(V2, "PATCH", one, Cost(5), scopes, calls.change),
        Endpoint(V2, "DELETE", one, Cost(3), scopes, calls.delete),
        Endpoint(V2, "POST", options, Cost(5), scopes, calls.add_options),
        Endpoint(V2, "PATCH", options, Cost(5), scopes, calls.change_options),
        Endpoint(V2, "DELETE", options, Cost(3), scopes, calls.delete_options),
        Endpoint(V1, "GET", f"/{name}", Cost(20), (*scopes, *_PEOPLE), calls.first_index),
        Endpoint(V1, "POST", f"/{name}", Cost(10), scopes, calls.first_add),
    ]


ENDPOINTS = [
    Endpoint(V2, "GET", "/persons/search", Cost(20, is_search=True), (*_PEOPLE, "search:read"), person_calls.search),
    Endpoint(V2, "GET", "/persons", Cost(10), _PEOPLE, person_calls.index),
    Endpoint(V2, "POST", "/persons", Cost(5), _PEOPLE[:1], person_calls.add),
    Endpoint(V2, "GET", "/persons/{id}", Cost(1), _PEOPLE, person_calls.get),
    Endpoint(V2, "PATCH", "/persons/{id}", Cost(5), _PEOPLE[:1], person_calls.change),
    Endpoint(V2, "DELETE", "/persons/{id}", Cost(3), _PEOPLE[:1], person_calls.delete),
    Endpoint(V1, "PUT", "/persons/{id}/merge", Cost(40), _PEOPLE[:1], person_calls.merge),
    Endpoint(V1, "GET", "/persons/{id}/changelog", Cost(20), ("recents:read",), person_calls.change_log),
    Endpoint(V1, "GET", "/persons/{id}/flow", Cost(40), ("recents:read",), person_calls.flow),
    *(Endpoint(V1, method, "/persons", Cost(20), _PEOPLE, _gone) for method in ("GET", "POST", "DELETE")),
    *(Endpoint(V1, method, "/persons/{id}", Cost(2), _PEOPLE, _gone) for method in ("GET", "PUT", "DELETE")),
    *_fields("personFields", "person", _PERSON_FIELDS),
    *_fields("dealFields", "deal", _DEAL_FIELDS),
    *(
        Endpoint(version, "GET", f"/{kind}Fields", Cost(tokens), ("admin", *_PEOPLE), call)
        for kind in ("activity", "organization", "product", "note")
        for version, tokens, call in ((V1, 20, Fields(kind).first_index), (V2, 10, Fields(kind).index))
    ),
    Endpoint(V1, "GET", "/leadFields", Cost(20), ("leads:full", "leads:read", "admin"), Fields("deal").first_index),
    Endpoint(V2, "GET", "/activities", Cost(10), ("activities:full", "activities:read"), activities.index),
    Endpoint(V2, "POST", "/activities", Cost(5), ("activities:full",), activities.add),
    Endpoint(V2, "GET", "/activities/{id}", Cost(1), ("activities:full", "activities:read"), activities.get),
    Endpoint(V2, "PATCH", "/activities/{id}", Cost(5), ("activities:full",), activities.change),
    Endpoint(V2, "DELETE", "/activities/{id}", Cost(3), ("activities:full",), activities.delete),
    Endpoint(V1, "GET", "/activityTypes", Cost(20), ("activities:full", "activities:read", "admin"), activities.kinds),
    Endpoint(V1, "POST", "/activityTypes", Cost(10), ("admin",), activities.add_kind),
    Endpoint(V1, "PUT", "/activityTypes/{id}", Cost(10), ("admin",), activities.change_kind),
    Endpoint(V1, "DELETE", "/activityTypes/{id}", Cost(6), ("admin",), activities.delete_kind),
    Endpoint(V1, "GET", "/leads", Cost(20), ("leads:full", "leads:read"), leads.index),
    Endpoint(V1, "POST", "/leads", Cost(10), ("leads:full",), leads.add),
    Endpoint(V1, "GET", "/leads/archived", Cost(40), ("leads:full", "leads:read"), leads.archived),
    Endpoint(V1, "GET", "/leads/{id}", Cost(2), ("leads:full", "leads:read"), leads.get),
    Endpoint(V1, "PATCH", "/leads/{id}", Cost(10), ("leads:full",), leads.change),
    Endpoint(V1, "DELETE", "/leads/{id}", Cost(6), ("leads:full",), leads.delete),
    Endpoint(V2, "GET", "/leads/search", Cost(20, is_search=True), ("leads:full", "leads:read"), leads.search),
    Endpoint(V2, "POST", "/leads/{id}/convert/deal", Cost(40), ("leads:full",), leads.convert),
    Endpoint(V2, "GET", "/leads/{id}/convert/status/{conversion}", Cost(1), ("leads:full",), leads.conversion),
    Endpoint(V2, "GET", "/organizations", Cost(10), _PEOPLE, accounts.organizations),
    Endpoint(V2, "GET", "/organizations/{id}", Cost(1), _PEOPLE, accounts.organization),
    Endpoint(V1, "GET", "/users/me", Cost(2), ("base",), accounts.me),
    Endpoint(V1, "GET", "/users", Cost(20), ("users:read",), accounts.users),
    Endpoint(V1, "GET", "/users/{id}", Cost(2), ("users:read",), accounts.user),
    Endpoint(V1, "GET", "/recents", Cost(20), ("recents:read",), accounts.recents),
    Endpoint(V1, "GET", "/webhooks", Cost(10), ("admin",), webhooks.index),
    Endpoint(V1, "POST", "/webhooks", Cost(10), ("admin",), webhooks.add),
    Endpoint(V1, "DELETE", "/webhooks/{id}", Cost(6), ("admin",), webhooks.delete),
]
