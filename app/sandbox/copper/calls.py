"""Which call there is. Source: the Postman collection and the operation lists made from the OpenAPI document."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from app.sandbox.copper import (
    activities,
    activity_searching,
    activity_types,
    companies,
    definitions,
    metadata,
    people_calls,
    webhooks,
)
from app.sandbox.copper.account import Account
from app.sandbox.copper.wire import Call, Reply

PREFIX = "/developer_api/v1"
Handler = Callable[[Account, Call], Reply]


class Endpoint(NamedTuple):
    method: str
    path: str
    handler: Handler
    is_bulk: bool = False


ENDPOINTS = [
    Endpoint("GET", "/account", metadata.about),
    Endpoint("GET", "/users/me", metadata.me),
    Endpoint("POST", "/users/search", metadata.search_users),
    Endpoint("GET", "/users/{id}", metadata.user),
    Endpoint("GET", "/contact_types", metadata.contact_types),
    Endpoint("GET", "/tags", metadata.tags),
    Endpoint("GET", "/lead_statuses", metadata.lead_statuses),
    Endpoint("GET", "/customer_sources", metadata.customer_sources),
    Endpoint("GET", "/loss_reasons", metadata.loss_reasons),
    Endpoint("GET", "/pipelines", metadata.pipelines),
    Endpoint("GET", "/pipeline_stages", metadata.pipeline_stages),
    Endpoint("POST", "/people/search", people_calls.search_people),
    Endpoint("POST", "/people/fetch_by_email", people_calls.fetch_by_email),
    Endpoint("POST", "/people/bulk_create", people_calls.add_people, is_bulk=True),
    Endpoint("POST", "/people/bulk_update", people_calls.change_people, is_bulk=True),
    Endpoint("POST", "/people", people_calls.add_person),
    Endpoint("GET", "/people/{id}", people_calls.get_person),
    Endpoint("PUT", "/people/{id}", people_calls.change_person),
    Endpoint("DELETE", "/people/{id}", people_calls.delete_person),
    Endpoint("POST", "/people/{id}/activities", partial(activity_searching.of_record, kind="person")),
    Endpoint("POST", "/leads/search", people_calls.search_leads),
    Endpoint("PUT", "/leads/upsert", people_calls.upsert_lead),
    Endpoint("POST", "/leads/bulk_create", people_calls.add_leads, is_bulk=True),
    Endpoint("POST", "/leads/bulk_update", people_calls.change_leads, is_bulk=True),
    Endpoint("POST", "/leads", people_calls.add_lead),
    Endpoint("GET", "/leads/{id}", people_calls.get_lead),
    Endpoint("PUT", "/leads/{id}", people_calls.change_lead),
    Endpoint("DELETE", "/leads/{id}", people_calls.delete_lead),
    Endpoint("POST", "/leads/{id}/convert", people_calls.convert_lead),
    Endpoint("POST", "/leads/{id}/activities", partial(activity_searching.of_record, kind="lead")),
    Endpoint("GET", "/custom_field_definitions", definitions.index),
    Endpoint("POST", "/custom_field_definitions", definitions.add),
    Endpoint("GET", "/custom_field_definitions/{id}", definitions.get),
    Endpoint("PUT", "/custom_field_definitions/{id}", definitions.change),
    Endpoint("DELETE", "/custom_field_definitions/{id}", definitions.delete),
    Endpoint("POST", "/activities/search", activity_searching.search),
    Endpoint("POST", "/activities/bulk_create", activities.add_many, is_bulk=True),
    Endpoint("POST", "/activities", activities.add),
    Endpoint("GET", "/activities/{id}", activities.get),
    Endpoint("PUT", "/activities/{id}", activities.change),
    Endpoint("DELETE", "/activities/{id}", activities.delete),
    Endpoint("GET", "/activity_types", activity_types.index),
    Endpoint("GET", "/custom_activity_types", activity_types.custom),
    Endpoint("POST", "/custom_activity_types", activity_types.add),
    Endpoint("GET", "/custom_activity_types/{id}", activity_types.get),
    Endpoint("POST", "/companies/search", companies.search_companies),
    Endpoint("GET", "/companies/{id}", companies.company),
    Endpoint("POST", "/opportunities/search", companies.search_opportunities),
    Endpoint("GET", "/opportunities/{id}", companies.opportunity),
    Endpoint("GET", "/webhooks", webhooks.index),
    Endpoint("POST", "/webhooks", webhooks.add),
    Endpoint("GET", "/webhooks/{id}", webhooks.get),
    Endpoint("DELETE", "/webhooks/{id}", webhooks.delete),
    Endpoint("GET", "/{entity}/{id}/related", companies.related),
    Endpoint("GET", "/{entity}/{id}/related/{other}", companies.related),
]
