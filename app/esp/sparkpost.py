"""SparkPost: a JSON list of `{"msys": {<class>: {...}}}`, one event each; an empty `msys` is a ping.

Whether a bounce is hard or soft says `bounce_class`. A recipient on SparkPost's suppression list comes as a bounce of
class 25, formerly as a policy rejection: nothing was tried.
Sources: SparkPost's support articles on webhook events and bounce codes, its event samples, public handlers.
"""

from collections.abc import Iterator
from typing import Any

from app.esp import signing, wire
from app.esp.shapes import (
    AUTO_REPLIED,
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DEFERRED,
    DELIVERED,
    FAILED,
    HARD,
    OPENED,
    SENT,
    SOFT,
    SUBSCRIBED,
    UNSUBSCRIBED,
    Notice,
    Provider,
    Request,
    Said,
    Unread,
)

_EVENTS = {
    "injection": SENT,
    "delivery": DELIVERED,
    "delay": DEFERRED,
    "bounce": BOUNCED,
    "out_of_band": BOUNCED,
    "policy_rejection": BLOCKED,
    "generation_rejection": BLOCKED,
    "generation_failure": FAILED,
    "spam_complaint": COMPLAINED,
    "open": OPENED,
    "amp_open": OPENED,
    "click": CLICKED,
    "amp_click": CLICKED,
    "list_unsubscribe": UNSUBSCRIBED,
    "link_unsubscribe": UNSUBSCRIBED,
}
# An initial opening is the `open` beside it, seen by a pixel further up.
_LEFT_OUT = {"initial_open", "amp_initial_open", "ab_test_completed", "ab_test_cancelled", "sms_status"}
_CLASSES_LEFT_OUT = {"relay_message", "relay_event", "ab_test_event", "ingest_event"}

_BOUNCES: dict[str, wire.Outcome] = {
    "10": (BOUNCED, HARD),  # invalid recipient
    "20": (BOUNCED, SOFT),
    "21": (BOUNCED, SOFT),  # DNS
    "22": (BOUNCED, SOFT),  # mailbox full
    "23": (BOUNCED, SOFT),  # too large
    "24": (BOUNCED, SOFT),  # timeout
    "25": (BLOCKED, None),  # SparkPost's suppression and policies
    "30": (BOUNCED, HARD),  # no recipient
    "40": (BOUNCED, SOFT),
    "50": (BLOCKED, None),
    "51": (BLOCKED, None),  # spam
    "52": (BLOCKED, None),  # spam, by content
    "53": (BLOCKED, None),  # attachment
    "54": (BLOCKED, None),  # relaying
    "60": (AUTO_REPLIED, None),
    "70": (BOUNCED, SOFT),
    "80": (SUBSCRIBED, None),
    "90": (UNSUBSCRIBED, None),
    "100": (AUTO_REPLIED, None),  # challenge and response
}
"""What its `bounce_class` makes of a bounce. Class 1, undetermined, is not among them: the words decide."""
_SUPPRESSED = {("bounce", "25"), ("out_of_band", "25"), ("policy_rejection", "25"), ("policy_rejection", None)}
"""Type and class of what was not tried."""


class _SparkPost(signing.Unsigned):
    kind: str = "sparkpost"
    title: str = "SparkPost"

    def read(self, request: Request) -> list[Said]:
        return wire.each(request.body, _classes)


def _classes(item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    if not isinstance(item.get("msys"), dict):
        yield Unread(f"{pointer}/msys", "expected an object")
        return
    for class_, event in item["msys"].items():
        if class_ not in _CLASSES_LEFT_OUT:
            yield from _event(wire.part(event), f"{pointer}/msys")


def _event(event: dict[str, Any], pointer: str) -> Iterator[Said]:
    name = wire.text(event.get("type"))
    if name in _LEFT_OUT:
        return
    if name not in _EVENTS:
        yield wire.unknown(pointer, "type", name)
        return
    email = wire.address(event.get("raw_rcpt_to")) or wire.address(event.get("rcpt_to"))
    if email is None:
        yield wire.nobody(pointer, "raw_rcpt_to")
        return
    class_ = wire.text(event.get("bounce_class"))
    code = wire.number(event.get("error_code"))
    words = wire.text(event.get("raw_reason")) or wire.text(event.get("reason"))
    type_, bounce = _EVENTS[name], None
    if type_ == BOUNCED:
        type_, bounce = _BOUNCES.get(class_ or "") or wire.judged(None, code, words, action="failed")
    at = wire.instant(event.get("timestamp"))
    message_id = wire.text(event.get("message_id"))
    url = wire.text(event.get("target_link_url"))
    yield Notice(
        type_,
        email,
        at,
        wire.event_id(wire.text(event.get("event_id")), name, email, at, message_id, url),
        wire.properties(
            bounce=bounce,
            status=wire.codes(words)[1],
            code=code,
            reason=class_,
            diagnostic=words,
            suppressed=(name, class_) in _SUPPRESSED or None,
            message_id=message_id,
            campaign=wire.text(event.get("campaign_id")),
            subject=wire.text(event.get("subject")),
            tags=wire.listed(event.get("rcpt_tags")),
            url=url,
            user_agent=wire.text(event.get("user_agent")),
            # Of any other event it is a server's.
            ip=wire.text(event.get("ip_address")) if type_ in (OPENED, CLICKED) else None,
            machine=wire.truth(wire.part(event.get("user_agent_parsed")).get("is_prefetched")) or None,
            custom=event.get("rcpt_meta"),
        ),
    )


PROVIDER: Provider = _SparkPost()
