"""What addresses said of e-mail: subscription types, and all mail. In its third and fourth version.

Source: the guide of each version, the official clients' models of the third, the OpenAPI document of the fourth. The
third never subscribes who has opted out; the fourth does, says its guide, but that is a switch here. The third has no
word for somebody who said nothing: they are NOT_SUBSCRIBED. An opt-out from all mail is told of each type.
"""

from app.sandbox.hubspot import writing
from app.sandbox.hubspot.batch_calls import answer
from app.sandbox.hubspot.object_calls import author
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.records import Author, Consent, Standing, Topic
from app.sandbox.hubspot.values import is_address
from app.sandbox.hubspot.wire import Call, Json, Reply, invalid, iso, not_json, number_of, text_of

_BASES = ("LEGITIMATE_INTEREST_PQL", "LEGITIMATE_INTEREST_CLIENT", "PERFORMANCE_OF_CONTRACT", "CONSENT_WITH_NOTICE",
          "NON_GDPR", "PROCESS_AND_STORE", "LEGITIMATE_INTEREST_OTHER")  # fmt: skip
_STATES = ("SUBSCRIBED", "UNSUBSCRIBED", "NOT_SPECIFIED")
_NOBODY = Consent()


def is_out(portal: Portal, address: str, topic: int) -> bool:
    consent = portal.consents.get(address, _NOBODY)
    return (consent.of_all is not None and consent.of_all.is_out) or _is_out_of(consent, topic)


def _is_out_of(consent: Consent, topic: int) -> bool:
    standing = consent.by_topic.get(topic)
    return standing is not None and standing.is_out


def say(portal: Portal, address: str, topic: int | None, standing: Standing | None, by: Author) -> None:
    """Keep what an address says of a type, or of all mail (`topic` None); None: that it says nothing any more."""
    consent = portal.consents.setdefault(address, Consent())
    if topic is None:
        consent.of_all = standing
    elif standing is None:
        consent.by_topic.pop(topic, None)
    else:
        consent.by_topic[topic] = standing
    if standing is not None and not standing.is_out:
        # Who wants mail of one type has not opted out of all any more.
        if consent.of_all is not None and consent.of_all.is_out:
            consent.of_all = standing
        if topic is None:
            consent.by_topic = dict.fromkeys(consent.by_topic, standing)
    writing.follow_consent(portal, address, by)


# --- The third version ------------------------------------------------------------------------------------------------


def definitions_v3(portal: Portal, _: Call) -> Reply:
    return Reply({"subscriptionDefinitions": [_definition(one) for one in portal.topics.values()]})


def status_v3(portal: Portal, call: Call) -> Reply:
    address = _address(call.path["address"])
    return Reply(
        {"recipient": address, "subscriptionStatuses": [_status(portal, address, one) for one in _all(portal)]}
    )


def subscribe_v3(portal: Portal, call: Call) -> Reply:
    address, topic, basis, why = _asked_v3(portal, call)
    if is_out(portal, address, topic.id):
        raise invalid("You cannot subscribe an unsubscribed address.")
    _write(portal, call, address, topic.id, Standing(False, portal.stamp(), _source(portal, call), basis, why))
    return Reply(_status(portal, address, topic))


def unsubscribe_v3(portal: Portal, call: Call) -> Reply:
    address, topic, basis, why = _asked_v3(portal, call)
    if not _is_out_of(portal.consents.get(address, _NOBODY), topic.id):
        _write(portal, call, address, topic.id, Standing(True, portal.stamp(), _source(portal, call), basis, why))
    return Reply(_status(portal, address, topic))


def _asked_v3(portal: Portal, call: Call) -> tuple[str, Topic, str | None, str | None]:
    body = call.object(("emailAddress", "subscriptionId", "legalBasis", "legalBasisExplanation"))
    address = _address(text_of(body, "emailAddress"))
    return address, _topic(portal, number_of(text_of(body, "subscriptionId"))), _basis(body), _explanation(body)


def _status(portal: Portal, address: str, topic: Topic) -> Json:
    consent = portal.consents.get(address, _NOBODY)
    is_of_all = consent.of_all is not None and consent.of_all.is_out
    standing = consent.of_all if is_of_all else consent.by_topic.get(topic.id)
    return {
        "id": str(topic.id),
        "name": topic.name,
        "description": topic.description,
        "status": "SUBSCRIBED" if standing is not None and not standing.is_out else "NOT_SUBSCRIBED",
        "sourceOfStatus": "PORTAL_WIDE_STATUS" if is_of_all else "SUBSCRIPTION_STATUS",
        "brandId": None,
        "preferenceGroupName": None,
        "legalBasis": None if standing is None else standing.legal_basis,
        "legalBasisExplanation": None if standing is None else standing.explanation,
    }


# --- The fourth version -----------------------------------------------------------------------------------------------


def definitions_v4(portal: Portal, _: Call) -> Reply:
    return answer(portal, [{**_definition(one), "businessUnitId": 0} for one in portal.topics.values()], [])


def statuses_v4(portal: Portal, call: Call) -> Reply:
    address = _address(call.path["address"])
    _check_channel(call.query.text("channel"))
    return answer(portal, [_public(portal, address, one) for one in _all(portal)], [])


def set_status_v4(portal: Portal, call: Call) -> Reply:
    address = _address(call.path["address"])
    body = call.object(("subscriptionId", "statusState", "channel", "legalBasis", "legalBasisExplanation"))
    _check_channel(body.get("channel"))
    state = body.get("statusState")
    if state not in _STATES:
        raise not_json("some of required attributes are not set [statusState]")
    topic = _topic(portal, number_of(text_of(body, "subscriptionId")))
    was, is_opted_out = _state(portal, address, topic), is_out(portal, address, topic.id)
    reason = "NO_STATUS_CHANGE"
    if state != was:
        if is_opted_out and not portal.faults.resubscribe_allowed:
            raise invalid("You cannot subscribe an unsubscribed address.")
        at, source = portal.stamp(), _source(portal, call)
        standing = Standing(state == "UNSUBSCRIBED", at, source, _basis(body), _explanation(body))
        _write(portal, call, address, topic.id, None if state == "NOT_SPECIFIED" else standing)
        reason = "RESUBSCRIBE_OCCURRED" if is_opted_out else "REQUESTED_CHANGE_OCCURRED"
    return answer(portal, [{**_public(portal, address, topic), "setStatusSuccessReason": reason}], [])


def unsubscribed_v4(portal: Portal, call: Call) -> Reply:
    """Whether an address opted out of all mail; nothing if it did not."""
    address = _address(call.path["address"])
    _check_channel(call.query.text("channel"))
    standing = portal.consents.get(address, _NOBODY).of_all
    if standing is None or not standing.is_out:
        return answer(portal, [], [])
    wide = {
        "subscriberIdString": address, "channel": "EMAIL", "status": "UNSUBSCRIBED", "wideStatusType": "PORTAL_WIDE",
        "businessUnitId": 0, "timestamp": iso(standing.at),
    }  # fmt: skip
    return answer(portal, [wide], [])


def unsubscribe_all_v4(portal: Portal, call: Call) -> Reply:
    address = _address(call.path["address"])
    _check_channel(call.query.text("channel"))
    standing = portal.consents.get(address, _NOBODY).of_all
    reason = "NO_STATUS_CHANGE"
    if standing is None or not standing.is_out:
        _write(portal, call, address, None, Standing(True, portal.stamp(), _source(portal, call)))
        reason = "UNSUBSCRIBE_FROM_ALL_OCCURRED"
    rows = [{**_public(portal, address, one), "setStatusSuccessReason": reason} for one in _all(portal)]
    return answer(portal, rows, [])


def _state(portal: Portal, address: str, topic: Topic) -> str:
    if is_out(portal, address, topic.id):
        return "UNSUBSCRIBED"
    return "SUBSCRIBED" if topic.id in portal.consents.get(address, _NOBODY).by_topic else "NOT_SPECIFIED"


def _public(portal: Portal, address: str, topic: Topic) -> Json:
    consent = portal.consents.get(address, _NOBODY)
    is_of_all = consent.of_all is not None and consent.of_all.is_out
    standing = consent.of_all if is_of_all else consent.by_topic.get(topic.id)
    said: Json = {
        "channel": "EMAIL",
        "subscriberIdString": address,
        "subscriptionId": topic.id,
        "subscriptionName": topic.name,
        "status": _state(portal, address, topic),
        "source": "" if standing is None else standing.source,
        "timestamp": iso(topic.made_at if standing is None else standing.at),
        "businessUnitId": 0,
    }
    if standing is not None and standing.legal_basis is not None:
        said |= {"legalBasis": standing.legal_basis, "legalBasisExplanation": standing.explanation}
    return said


# --- Both -------------------------------------------------------------------------------------------------------------


def _write(portal: Portal, call: Call, address: str, topic: int | None, standing: Standing | None) -> None:
    say(portal, address, topic, standing, author(portal, call))
    record = portal.contact_of(address)
    if record is not None:
        portal.writes["contacts"][record.id] += 1


def _definition(topic: Topic) -> Json:
    return {
        "id": str(topic.id),
        "name": topic.name,
        "description": topic.description,
        "purpose": topic.purpose,
        "communicationMethod": "Email",
        "isActive": topic.is_active,
        "isDefault": topic.purpose == "One-to-One",
        "isInternal": topic.purpose == "One-to-One",
        "createdAt": iso(topic.made_at),
        "updatedAt": iso(topic.made_at),
    }


def _all(portal: Portal) -> list[Topic]:
    return [one for one in portal.topics.values() if one.is_active]


def _topic(portal: Portal, number: int | None) -> Topic:
    topic = portal.topics.get(number or 0)
    if topic is None or not topic.is_active:
        raise invalid(f"Subscription {number} does not exist or is not active")
    return topic


def _address(given: str) -> str:
    if not is_address(given):
        raise invalid("Invalid email address")
    return given.lower()


def _check_channel(given: object) -> None:
    if given != "EMAIL":
        raise invalid("The channel must be EMAIL")


def _basis(body: Json) -> str | None:
    given = body.get("legalBasis")
    if given is not None and given not in _BASES:
        raise not_json("Cannot deserialize value of 'legalBasis'")
    return given


def _explanation(body: Json) -> str | None:
    given = body.get("legalBasisExplanation")
    if not isinstance(given, str | None):
        raise not_json("Cannot deserialize value of 'legalBasisExplanation'")
    return given


def _source(portal: Portal, call: Call) -> str:
    return portal.apps[call.caller.app_id].name
