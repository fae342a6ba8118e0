"""Which call there is, and which scope it needs. Source: the official clients, and the documentation of scopes."""

from collections.abc import Callable
from typing import NamedTuple

from app.sandbox.hubspot import (
    accounts,
    associations,
    batch_calls,
    consents,
    object_calls,
    properties,
    search,
    webhooks,
)
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.wire import Call, Reply

Handler = Callable[[Portal, Call], Reply]


class Endpoint(NamedTuple):
    method: str
    path: str
    scopes: tuple[str, ...]
    """One of these is enough."""
    handler: Handler
    is_search: bool = False
    is_developers: bool = False
    """It takes a developer's key, not an app's token."""


_READ, _WRITE = ("crm.objects.contacts.read",), ("crm.objects.contacts.write",)
_SCHEMA_READ = ("crm.schemas.contacts.read", "crm.objects.contacts.read")
_SCHEMA_WRITE = ("crm.schemas.contacts.write",)
_ANY_APP = ("oauth",)
_CONSENT_READ = ("communication_preferences.read", "communication_preferences.read_write")
_CONSENT_WRITE = ("communication_preferences.write", "communication_preferences.read_write")
_LINKS = "/crm/v4/objects/{type}/{id}/associations"
_APP = "/webhooks/v3/{app}"


def _objects(root: str) -> list[Endpoint]:
    """Of all types: the old names and the new ones are below different roots."""
    return [
        Endpoint("POST", f"{root}/search", _READ, search.search, is_search=True),
        Endpoint("POST", f"{root}/batch/read", _READ, batch_calls.read),
        Endpoint("POST", f"{root}/batch/update", _WRITE, batch_calls.update),
        Endpoint("POST", f"{root}/batch/create", _WRITE, batch_calls.create),
        Endpoint("POST", f"{root}/batch/upsert", _WRITE, batch_calls.upsert),
        Endpoint("POST", f"{root}/batch/archive", _WRITE, batch_calls.archive),
        Endpoint("POST", f"{root}/merge", _WRITE, object_calls.merge),
        Endpoint("POST", f"{root}/gdpr-delete", _WRITE, object_calls.purge),
        Endpoint("GET", root, _READ, object_calls.index),
        Endpoint("POST", root, _WRITE, object_calls.create),
        Endpoint("GET", f"{root}/{{id}}", _READ, object_calls.get),
        Endpoint("PATCH", f"{root}/{{id}}", _WRITE, object_calls.change),
        Endpoint("DELETE", f"{root}/{{id}}", _WRITE, object_calls.archive),
    ]


def _consents(root: str) -> list[Endpoint]:
    return [
        Endpoint("GET", f"{root}/definitions", _CONSENT_READ, consents.definitions_v4),
        Endpoint("GET", f"{root}/statuses/{{address}}/unsubscribe-all", _CONSENT_READ, consents.unsubscribed_v4),
        Endpoint("POST", f"{root}/statuses/{{address}}/unsubscribe-all", _CONSENT_WRITE, consents.unsubscribe_all_v4),
        Endpoint("GET", f"{root}/statuses/{{address}}", _CONSENT_READ, consents.statuses_v4),
        Endpoint("POST", f"{root}/statuses/{{address}}", _CONSENT_WRITE, consents.set_status_v4),
    ]


def _properties(root: str) -> list[Endpoint]:
    return [
        Endpoint("POST", f"{root}/batch/create", _SCHEMA_WRITE, properties.create_many),
        Endpoint("POST", f"{root}/batch/read", _SCHEMA_READ, properties.read_many),
        Endpoint("POST", f"{root}/batch/archive", _SCHEMA_WRITE, properties.archive_many),
        Endpoint("GET", f"{root}/groups", _SCHEMA_READ, properties.groups),
        Endpoint("POST", f"{root}/groups", _SCHEMA_WRITE, properties.create_group),
        Endpoint("GET", f"{root}/groups/{{name}}", _SCHEMA_READ, properties.get_group),
        Endpoint("PATCH", f"{root}/groups/{{name}}", _SCHEMA_WRITE, properties.change_group),
        Endpoint("DELETE", f"{root}/groups/{{name}}", _SCHEMA_WRITE, properties.archive_group),
        Endpoint("GET", root, _SCHEMA_READ, properties.index),
        Endpoint("POST", root, _SCHEMA_WRITE, properties.create),
        Endpoint("GET", f"{root}/{{name}}", _SCHEMA_READ, properties.get),
        Endpoint("PATCH", f"{root}/{{name}}", _SCHEMA_WRITE, properties.change),
        Endpoint("DELETE", f"{root}/{{name}}", _SCHEMA_WRITE, properties.archive),
    ]


ENDPOINTS = [
    *_objects("/crm/v3/objects/{type}"),
    *_objects("/crm/objects/2026-03/{type}"),
    *_properties("/crm/v3/properties/{type}"),
    Endpoint("POST", "/crm/v4/associations/{type}/{other}/batch/read", _READ, associations.read_many),
    Endpoint("GET", f"{_LINKS}/{{other}}", _READ, associations.index),
    Endpoint("PUT", f"{_LINKS}/default/{{other}}/{{other_id}}", _WRITE, associations.create_default),
    Endpoint("DELETE", f"{_LINKS}/{{other}}/{{other_id}}", _WRITE, associations.archive),
    Endpoint("GET", "/communication-preferences/v3/definitions", _CONSENT_READ, consents.definitions_v3),
    Endpoint("GET", "/communication-preferences/v3/status/email/{address}", _CONSENT_READ, consents.status_v3),
    Endpoint("POST", "/communication-preferences/v3/subscribe", _CONSENT_WRITE, consents.subscribe_v3),
    Endpoint("POST", "/communication-preferences/v3/unsubscribe", _CONSENT_WRITE, consents.unsubscribe_v3),
    *_consents("/communication-preferences/v4"),
    *_consents("/communication-preferences/2026-03"),
    *(
        Endpoint("GET", path, ("crm.objects.owners.read",), accounts.owners)
        for path in ("/crm/v3/owners/", "/crm/v3/owners")
    ),
    Endpoint("GET", "/crm/v3/owners/{id}", ("crm.objects.owners.read",), accounts.owner),
    Endpoint("GET", "/account-info/v3/details", _ANY_APP, accounts.details),
    Endpoint("GET", "/account-info/2026-03/details", _ANY_APP, accounts.details),
    Endpoint("GET", f"{_APP}/settings", (), webhooks.settings, is_developers=True),
    Endpoint("PUT", f"{_APP}/settings", (), webhooks.configure, is_developers=True),
    Endpoint("DELETE", f"{_APP}/settings", (), webhooks.clear, is_developers=True),
    Endpoint("GET", f"{_APP}/subscriptions", (), webhooks.index, is_developers=True),
    Endpoint("POST", f"{_APP}/subscriptions", (), webhooks.create, is_developers=True),
    Endpoint("GET", f"{_APP}/subscriptions/{{id}}", (), webhooks.get, is_developers=True),
    Endpoint("PATCH", f"{_APP}/subscriptions/{{id}}", (), webhooks.change, is_developers=True),
    Endpoint("DELETE", f"{_APP}/subscriptions/{{id}}", (), webhooks.delete, is_developers=True),
]
