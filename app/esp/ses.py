"""Amazon SES through SNS: a JSON envelope, sent as text/plain, with SES' event as text inside; or that event alone.

Two dialects tell the same: feedback on an identity says `notificationType`, a configuration set says `eventType`.
Sources: SES and SNS developer guides, public handlers.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from app.esp import sns, wire
from app.esp.shapes import (
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DEFERRED,
    DELIVERED,
    FAILED,
    HARD,
    OPENED,
    RESUBSCRIBED,
    SENT,
    SOFT,
    UNSUBSCRIBED,
    Fetch,
    Notice,
    Provider,
    Request,
    Said,
    Unread,
    Visit,
)


class _Kind(NamedTuple):
    """How SES tells one kind of event."""

    type: str
    details: str
    """The name of the object that tells of it."""
    recipients: str | None = None
    """Where in it they are; None: the message's addressees."""


_EVENTS = {
    "Send": _Kind(SENT, "send"),
    "Delivery": _Kind(DELIVERED, "delivery", "recipients"),
    "DeliveryDelay": _Kind(DEFERRED, "deliveryDelay", "delayedRecipients"),
    "Open": _Kind(OPENED, "open"),
    "Click": _Kind(CLICKED, "click"),
    "Bounce": _Kind(BOUNCED, "bounce", "bouncedRecipients"),
    "Complaint": _Kind(COMPLAINED, "complaint", "complainedRecipients"),
    "Reject": _Kind(BLOCKED, "reject"),
    "Rendering Failure": _Kind(FAILED, "failure"),
    "Subscription": _Kind(UNSUBSCRIBED, "subscription"),
}
_LEFT_OUT = {"AmazonSnsSubscriptionSucceeded", "Received"}
_GREETING = "Successfully validated SNS topic"  # plain text, sent once when a configuration set is made

_BOUNCES: dict[str, wire.Outcome] = {
    "Permanent": (BOUNCED, HARD),
    "Transient": (BOUNCED, SOFT),
    "Undetermined": (BOUNCED, SOFT),
}
_SUBTYPES: dict[str, wire.Outcome] = {
    "Suppressed": (BLOCKED, None),
    "OnAccountSuppressionList": (BLOCKED, None),
    # About the message, not the address.
    "ContentRejected": (BLOCKED, None),
    "AttachmentRejected": (BLOCKED, None),
}
_SUPPRESSED = {"Suppressed", "OnAccountSuppressionList"}
_ACTIONS: dict[str, wire.Outcome | None] = {
    "delayed": (DEFERRED, None),
    "delivered": None,
    "relayed": None,
    "expanded": None,
}
"""What one recipient of a bounce may be besides failed; None: nothing that counts."""
_NOT_SPAM = "not-spam"


class _Ses:
    kind: str = "ses"
    title: str = "Amazon SES"
    secret: str | None = (
        "optional: the ARNs of the SNS topics that may send, separated by spaces; without them any topic"  # noqa: S105
        " that knows the source's address may"
    )

    def __init__(self) -> None:
        self._checker = sns.Checker()

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:
        """As `sns.Checker.check`, for the topics that all of the secrets name."""
        await self._checker.check(request, [topic for secret in secrets for topic in secret.split()], fetch)

    def read(self, request: Request) -> list[Said]:
        return wire.each(request.body, partial(_item, request.headers.get("x-amz-sns-message-id")))


def _item(raw_id: str | None, item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    if "eventType" in item or "notificationType" in item:
        yield from _event(item, pointer, {"MessageId": raw_id})
        return
    match wire.text(item.get("Type")):
        case sns.NOTIFICATION:
            yield from _notification(item, pointer)
        case sns.CONFIRMATION:
            url = sns.confirm_url(item)
            yield Visit(url) if url else Unread(f"{pointer}/SubscribeURL", "not an address of SNS")
        case sns.FAREWELL:
            return
        case other:
            yield wire.unknown(pointer, "Type", other)


def _notification(envelope: dict[str, Any], pointer: str) -> Iterator[Said]:
    pointer = f"{pointer}/Message"
    message = envelope.get("Message")
    if isinstance(message, str):
        if message.startswith(_GREETING):
            return
        try:
            message = wire.json_of(message)
        except ValueError as fault:
            yield Unread(pointer, str(fault))
            return
    if isinstance(message, dict):
        yield from _event(message, pointer, envelope)
    else:
        yield Unread(pointer, "expected an object")


def _event(event: dict[str, Any], pointer: str, envelope: dict[str, Any]) -> Iterator[Said]:
    field = "eventType" if "eventType" in event else "notificationType"
    name = wire.text(event.get(field))
    if name in _LEFT_OUT:
        return
    kind = _EVENTS.get(name or "")
    if name is None or kind is None:
        yield wire.unknown(pointer, field, name)
        return
    details, mail = wire.part(event.get(kind.details)), wire.part(event.get("mail"))
    place = f"{pointer}/mail/destination"
    recipients = wire.listed(mail.get("destination"))
    if kind.recipients:
        place = f"{pointer}/{kind.details}/{kind.recipients}"
        recipients = wire.listed(details.get(kind.recipients))
    elif kind.type in (OPENED, CLICKED, UNSUBSCRIBED) and len(recipients) > 1:
        # One link and one pixel for all of them: to say that each one opened it would be a guess.
        yield Unread(place, f"SES does not say which of {len(recipients)} addressees it was")
        return
    if not recipients:
        yield Unread(place, "the address is missing")
    # Sending, rejecting and rendering have no time of their own.
    times = (details.get("timestamp"), envelope.get("Timestamp"), mail.get("timestamp"))
    at = next(filter(None, map(wire.instant, times)), None)
    own = wire.text(details.get("feedbackId")) or wire.text(envelope.get("MessageId"))
    for index, recipient in enumerate(recipients):
        person = recipient if isinstance(recipient, dict) else {"emailAddress": recipient}
        email = wire.address(person.get("emailAddress"))
        if email is None:
            yield Unread(f"{place}/{index}", "the address is missing")
            continue
        outcome = _outcome(kind.type, details, person)
        if outcome is None:
            continue
        message_id, url = wire.text(mail.get("messageId")), wire.text(details.get("link"))
        id_ = wire.event_id(own, name, email, at, message_id, url)
        yield Notice(outcome[0], email, at, id_, _properties(outcome[1], details, mail, person))


def _outcome(type_: str, details: dict[str, Any], person: dict[str, Any]) -> wire.Outcome | None:
    """What it is for one recipient; None if nothing that counts."""
    if type_ == BOUNCED:
        action = (wire.text(person.get("action")) or "").lower()
        if action in _ACTIONS:
            return _ACTIONS[action]
        judged = _SUBTYPES.get(wire.text(details.get("bounceSubType")) or "")
        return judged or _BOUNCES.get(wire.text(details.get("bounceType")) or "", (BOUNCED, SOFT))
    if type_ == COMPLAINED:
        if wire.text(details.get("complaintFeedbackType")) == _NOT_SPAM:
            return None
        is_suppressed = wire.text(details.get("complaintSubType")) in _SUPPRESSED
        return (BLOCKED if is_suppressed else COMPLAINED), None
    if type_ == UNSUBSCRIBED:
        return _preference(details)
    return type_, None


def _preference(details: dict[str, Any]) -> wire.Outcome | None:
    """Out if the person left all topics or one more than before, in if they came back to one."""
    old, new = _topics(details.get("oldTopicPreferences")), _topics(details.get("newTopicPreferences"))
    if new - old:
        return UNSUBSCRIBED, None
    return (RESUBSCRIBED, None) if old - new else None


def _topics(preferences: object) -> set[str]:
    """The topics that a person is out of; the empty name stands for all."""
    said = wire.part(preferences)
    out = {""} if wire.truth(said.get("unsubscribeAll")) else set()
    for topic in map(wire.part, wire.listed(said.get("topicSubscriptionStatus"))):
        if (wire.text(topic.get("subscriptionStatus")) or "").replace("_", "").lower() == "optout":
            out.add(wire.text(topic.get("topicName")) or "?")
    return out


def _properties(
    bounce: str | None, details: dict[str, Any], mail: dict[str, Any], person: dict[str, Any]
) -> dict[str, Any]:
    diagnostic = (
        wire.text(person.get("diagnosticCode"))
        or wire.text(details.get("smtpResponse"))
        or wire.text(details.get("errorMessage"))
    )
    code, status = wire.codes(diagnostic)
    reason = next(filter(None, (wire.text(details.get(name)) for name in _REASONS)), None)
    subtype = {wire.text(details.get("bounceSubType")), wire.text(details.get("complaintSubType"))}
    return wire.properties(
        bounce=bounce,
        status=wire.text(person.get("status")) or status,
        code=code,
        reason=reason,
        diagnostic=diagnostic,
        suppressed=bool(subtype & _SUPPRESSED) or None,
        message_id=wire.text(mail.get("messageId")),
        list=wire.text(details.get("contactList")),
        subject=wire.text(wire.part(mail.get("commonHeaders")).get("subject")),
        url=wire.text(details.get("link")),
        user_agent=wire.text(details.get("userAgent")),
        ip=wire.text(details.get("ipAddress")),
        custom=_custom(mail.get("tags")),
    )


_REASONS = (
    "bounceSubType", "complaintSubType", "complaintFeedbackType", "delayType", "reason", "source", "bounceType",
)  # fmt: skip


def _custom(tags: object) -> dict[str, Any]:
    """The sender's message tags; each comes as a list, of one value but for repeated names."""
    said = {name: value for name, value in wire.part(tags).items() if not name.startswith("ses:")}
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in said.items()}


PROVIDER: Provider = _Ses()
