"""What an app wants to be told, and the messages that tell it.

Source: the documentation of webhooks, the official clients' models and signatures. Settings of public apps are set by
the API with a developer's key, those of private apps by hand: see `edits`.
"""

import base64
import hashlib
import hmac
import re

from app.sandbox.hubspot import catalog
from app.sandbox.hubspot.portal import PORTAL_ID, Portal
from app.sandbox.hubspot.records import App, Event, Subscription
from app.sandbox.hubspot.wire import Call, Json, Refused, Reply, as_object, invalid, iso, not_found, number_of

_EVENT_TYPE = re.compile(
    r"(contact|company|deal|ticket|product|line_item|object)"
    r"\.(creation|deletion|privacyDeletion|propertyChange|merge|restore|associationChange)"
)
_MOST = 1_000
_STALE_MS = 600_000


def settings(portal: Portal, call: Call) -> Reply:
    app = _app(portal, call)
    if app.target_url is None:
        raise not_found()
    return Reply(_settings(app))


def configure(portal: Portal, call: Call) -> Reply:
    return Reply(_settings(set_up(portal, _app(portal, call), call.body)))


def clear(portal: Portal, call: Call) -> Reply:
    _app(portal, call).target_url = None
    return Reply(None, 204)


def index(portal: Portal, call: Call) -> Reply:
    return Reply({"results": [_shown(one) for one in _app(portal, call).subscriptions.values()]})


def get(portal: Portal, call: Call) -> Reply:
    return Reply(_shown(_one(portal, call)))


def create(portal: Portal, call: Call) -> Reply:
    return Reply(_shown(subscribe(portal, _app(portal, call), call.body)), 201)


def change(portal: Portal, call: Call) -> Reply:
    one, body = _one(portal, call), call.object(("active",))
    if not isinstance(body.get("active", True), bool):
        raise invalid("active is a boolean")
    one.is_active, one.changed_at = body.get("active", True), portal.millis()
    return Reply(_shown(one))


def delete(portal: Portal, call: Call) -> Reply:
    del _app(portal, call).subscriptions[_one(portal, call).id]
    return Reply(None, 204)


def set_up(portal: Portal, app: App, given: object) -> App:
    """Where an app is told. Any http or https address is taken, also of this machine. Raises Refused (400)."""
    body = as_object(given, ("targetUrl", "throttling"))
    url, throttling = body.get("targetUrl"), as_object(body.get("throttling") or {})
    most = throttling.get("maxConcurrentRequests", app.most_at_once)
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise invalid("targetUrl is not a valid URL")
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise invalid("maxConcurrentRequests is a positive number")
    app.target_url, app.most_at_once, app.settings_at = url, most, portal.millis()
    return app


def subscribe(portal: Portal, app: App, given: object) -> Subscription:
    """Raises Refused (400)."""
    body = as_object(given, ("eventType", "propertyName", "active", "objectTypeId"))
    event_type, name, object_type = body.get("eventType"), body.get("propertyName"), body.get("objectTypeId")
    if not isinstance(event_type, str) or not _EVENT_TYPE.fullmatch(event_type):
        raise invalid("eventType is not known")
    if event_type.endswith(".propertyChange") != (isinstance(name, str) and name != ""):
        raise invalid("propertyName is given with propertyChange, and only with it")
    if event_type.startswith("object.") != isinstance(object_type, str):
        raise invalid("objectTypeId is given with events of objects, and only with them")
    asked = (event_type, name, object_type)
    if asked in ((one.event_type, one.name, one.object_type_id) for one in app.subscriptions.values()):
        raise invalid("There is such a subscription already")
    if len(app.subscriptions) >= _MOST:
        raise invalid(f"An app has at most {_MOST} subscriptions")
    at = portal.millis()
    is_active = body.get("active") is True
    made = Subscription(portal.next_id("subscription"), *asked, is_active, at, at)
    app.subscriptions[made.id] = made
    return made


def wanted(event: Event, app: App) -> list[Subscription]:
    """Which of an app's subscriptions an event is for."""
    of = catalog.BY_NAME[event.object_type]
    names = {f"{of.singular}.{event.kind}", f"object.{event.kind}"}
    return [
        one
        for one in app.subscriptions.values()
        if one.is_active
        and one.event_type in names
        and one.name == event.name
        and one.object_type_id in (None, of.id, of.name)
    ]


def message(portal: Portal, app: App, subscription: Subscription, event: Event) -> Json:
    """One element of a delivery; the attempt is filled in when it is sent."""
    of_object = {} if subscription.object_type_id is None else {"objectTypeId": subscription.object_type_id}
    return {
        "eventId": 99 + portal.next_id("event"),
        "subscriptionId": subscription.id,
        "portalId": PORTAL_ID,
        "appId": app.id,
        "occurredAt": event.at,
        "subscriptionType": subscription.event_type,
        "attemptNumber": 0,
        "objectId": event.object_id,
        **of_object,
        **event.more,
        "changeSource": event.author.source,
        "sourceId": event.author.source_id,
    }


def headers(portal: Portal, app: App, body: bytes) -> dict[str, str]:
    """How a delivery is signed. v1 is of the secret and the body; v3 also of the method, the address and the time."""
    faults = portal.faults
    at = str(portal.millis() - (_STALE_MS if faults.stale_signatures else 0))
    secret = b"not the secret" if faults.wrong_signatures else app.client_secret.encode()
    told = {
        "Content-Type": "application/json;charset=UTF-8",
        "User-Agent": "HubSpot Connect 2.0 (http://dev.hubspot.com/) - Webhooks",
        "X-HubSpot-Signature-Version": "v1",
        "X-HubSpot-Signature": hashlib.sha256(secret + body).hexdigest(),
        "X-HubSpot-Request-Timestamp": at,
    }
    if not faults.no_v3_signature:
        signed = b"POST" + (app.target_url or "").encode() + body + at.encode()
        told["X-HubSpot-Signature-v3"] = base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
    return told


def _app(portal: Portal, call: Call) -> App:
    app = portal.apps.get(number_of(call.path["app"]) or 0)
    if app is None or app.is_private:
        raise Refused(404, "The app is not known", "OBJECT_NOT_FOUND")
    return app


def _one(portal: Portal, call: Call) -> Subscription:
    one = _app(portal, call).subscriptions.get(number_of(call.path["id"]) or 0)
    if one is None:
        raise not_found()
    return one


def _settings(app: App) -> Json:
    return {
        "targetUrl": app.target_url,
        "throttling": {"period": "SECONDLY", "maxConcurrentRequests": app.most_at_once},
        "createdAt": iso(app.settings_at),
        "updatedAt": iso(app.settings_at),
    }


def _shown(one: Subscription) -> Json:
    return {
        "id": str(one.id),
        "eventType": one.event_type,
        "propertyName": one.name,
        "objectTypeId": one.object_type_id,
        "active": one.is_active,
        "createdAt": iso(one.made_at),
        "updatedAt": iso(one.changed_at),
    }
