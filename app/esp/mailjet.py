"""Mailjet's Event API: a JSON list of one second's events, or one bare object where grouping is off.

Sources: Mailjet's event pages and API documentation repository, public handlers.
"""

from collections.abc import Iterator
from typing import Any

from app.esp import signing, wire
from app.esp.shapes import (
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DEFERRED,
    DELIVERED,
    HARD,
    OPENED,
    SOFT,
    UNSUBSCRIBED,
    Notice,
    Provider,
    Request,
    Said,
)

_EVENTS = {
    "sent": DELIVERED,  # the recipient's server took it
    "open": OPENED,
    "click": CLICKED,
    "bounce": BOUNCED,
    "blocked": BLOCKED,
    "spam": COMPLAINED,
    "unsub": UNSUBSCRIBED,
}
_HARDNESS: dict[bool | None, wire.Outcome] = {True: (BOUNCED, HARD), False: (BOUNCED, SOFT)}
_NOT_OF_THE_ADDRESS: dict[str, wire.Outcome] = {
    "greylisted": (DEFERRED, None),
    "sender blocked": (BLOCKED, None),
    "content blocked": (BLOCKED, None),
    "policy issue": (BLOCKED, None),
}
"""Errors of a bounce that Mailjet does not call hard, and that are no bounce of the address at all."""
_ERRORS: dict[str, wire.Outcome] = {
    "user unknown": (BOUNCED, HARD),
    "invalid domain": (BOUNCED, HARD),
    "no mail host": (BOUNCED, HARD),
    "typofix": (BOUNCED, HARD),
}
"""Errors that are hard where `hard_bounce` is missing; any other is soft."""
_ABOUT_THE_MESSAGE = {"duplicate in campaign", "content blocked", "sender blocked", "policy issue"}
"""Errors of a blocked message that say nothing of an older verdict on the address."""


class _Mailjet(signing.Unsigned):
    kind: str = "mailjet"
    title: str = "Mailjet"

    def read(self, request: Request) -> list[Said]:
        return wire.each(request.body, _event)


def _event(item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    name = wire.text(item.get("event"))
    if name not in _EVENTS:
        yield wire.unknown(pointer, "event", name)
        return
    email = wire.address(item.get("email"))
    if email is None:
        yield wire.nobody(pointer, "email")
        return
    error = wire.text(item.get("error"))
    type_, bounce = _EVENTS[name], None
    if name == "bounce":
        type_, bounce = _bounce((error or "").lower(), wire.truth(item.get("hard_bounce")))
    said = wire.text(item.get("comment")) or wire.text(item.get("smtp_reply"))
    code, status = wire.codes(said)
    at = wire.instant(item.get("time"))
    message_id = wire.text(item.get("MessageID"))
    url = wire.text(item.get("url"))
    yield Notice(
        type_,
        email,
        at,
        wire.event_id(None, name, email, at, message_id, url),
        wire.properties(
            bounce=bounce,
            status=status,
            code=code,
            reason=error or wire.text(item.get("error_related_to")),
            diagnostic=said,
            suppressed=(name == "blocked" and (error or "").lower() not in _ABOUT_THE_MESSAGE) or None,
            message_id=message_id,
            campaign=wire.text(item.get("customcampaign")) or wire.text(item.get("mj_campaign_id")),
            list=wire.text(item.get("mj_list_id")),
            url=url,
            user_agent=wire.text(item.get("agent")),
            ip=wire.text(item.get("ip")),
            custom=_custom(item),
        ),
    )


def _bounce(error: str, is_hard: bool | None) -> wire.Outcome:
    if not is_hard and error in _NOT_OF_THE_ADDRESS:
        return _NOT_OF_THE_ADDRESS[error]
    return _HARDNESS.get(is_hard) or _ERRORS.get(error, (BOUNCED, SOFT))


def _custom(item: dict[str, Any]) -> dict[str, Any]:
    """The payload's values if it is a JSON object, and the custom id beside them."""
    payload = wire.custom(item.get("Payload"))
    values = payload if isinstance(payload, dict) else {"Payload": payload}
    values = {**values, "CustomID": item.get("CustomID")}
    return {name: value for name, value in values.items() if value not in (None, "")}


PROVIDER: Provider = _Mailjet()
