"""Brevo's webhooks: a JSON object a call, or a list where the hook is batched; transactional and marketing alike.

Names are spelled `hard_bounce` in events and `hardBounce` where hooks are made; both are read.
Sources: Brevo's transactional, marketing and batching pages, public handlers.
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
    FAILED,
    HARD,
    OPENED,
    SENT,
    SOFT,
    SUBSCRIBED,
    UNSUBSCRIBED,
    UPDATED,
    Notice,
    Provider,
    Request,
    Said,
)

_EVENTS: dict[str, wire.Outcome] = {
    "request": (SENT, None),
    "sent": (SENT, None),
    "delivered": (DELIVERED, None),
    "deferred": (DEFERRED, None),
    "softbounce": (BOUNCED, SOFT),
    "hardbounce": (BOUNCED, HARD),
    "invalidemail": (BOUNCED, HARD),
    "invalid": (BOUNCED, HARD),
    "blocked": (BLOCKED, None),
    "error": (FAILED, None),
    "opened": (OPENED, None),
    "uniqueopened": (OPENED, None),
    "proxyopen": (OPENED, None),
    "uniqueproxyopen": (OPENED, None),
    "click": (CLICKED, None),
    "clicked": (CLICKED, None),
    "spam": (COMPLAINED, None),
    "complaint": (COMPLAINED, None),
    "unsubscribe": (UNSUBSCRIBED, None),
    "unsubscribed": (UNSUBSCRIBED, None),
    "listaddition": (SUBSCRIBED, None),
    "contactupdated": (UPDATED, None),
}
"""By the name in lower case, without underscores."""
_LEFT_OUT = {"contactdeleted"}
_BY_A_PROXY = {"proxyopen", "uniqueproxyopen"}
_SUPPRESSED = {"blocked"}
"""The address is on the account's own blocklist, and nothing was sent."""

# Only ts_epoch was seen to be UTC in every account; the others are said to be. Local times are not read.
_TIMES = ("ts_epoch", "ts_event", "ts")


class _Brevo(signing.Unsigned):
    kind: str = "brevo"
    title: str = "Brevo"

    def read(self, request: Request) -> list[Said]:
        return wire.each(request.body, _event)


def _event(item: dict[str, Any], pointer: str) -> Iterator[Said]:  # Any: JSON
    word = wire.text(item.get("event"))
    name = (word or "").replace("_", "").lower()
    if name in _LEFT_OUT or (word is None and "items" in item):  # the latter is inbound mail
        return
    if name not in _EVENTS:
        yield wire.unknown(pointer, "event", word)
        return
    # Several contacts may be added to a list at once.
    emails = [email for email in map(wire.address, wire.listed(item.get("email"))) if email is not None]
    if not emails:
        yield wire.nobody(pointer, "email")
    type_, bounce = _EVENTS[name]
    at = next((at for at in map(wire.instant, map(item.get, _TIMES)) if at is not None), None)
    message_id = wire.text(item.get("message-id"))
    campaign = wire.text(item.get("campaign name")) or wire.text(item.get("camp_id"))
    url = wire.text(item.get("link"))
    reason = wire.text(item.get("reason"))
    code, status = wire.codes(reason)
    properties = wire.properties(
        bounce=bounce,
        status=status,
        code=code,
        diagnostic=reason,
        suppressed=name in _SUPPRESSED or None,
        message_id=message_id,
        campaign=campaign,
        list=_list(item.get("list_id")),
        subject=wire.text(item.get("subject")),
        tags=_tags(item),
        url=url,
        user_agent=wire.text(item.get("user_agent")),
        machine=name in _BY_A_PROXY or None,
        traits=_traits(item) if type_ == UPDATED else None,
        custom=wire.custom(item.get("X-Mailin-custom")),
    )
    for email in emails:
        # By our name: a first opening is told twice, as opened and as unique_opened.
        id_ = wire.event_id(None, type_, email, at, message_id or campaign, url)
        yield Notice(type_, email, at, id_, dict(properties))


def _list(value: object) -> str | list[str] | None:
    ids = [one for one in map(wire.text, wire.listed(value)) if one is not None]
    return ids[0] if len(ids) == 1 else ids or None


def _tags(item: dict[str, Any]) -> list[Any]:
    """The tags as a list; `tag` is one of them, or all as JSON text."""
    tags = wire.listed(item.get("tags"))
    if tags:
        return tags
    tag = item.get("tag")
    if isinstance(tag, str) and tag.startswith("["):
        try:
            return wire.listed(wire.json_of(tag))
        except ValueError:
            return [tag]
    return wire.listed(tag)


def _traits(item: dict[str, Any]) -> dict[str, Any]:
    traits: dict[str, Any] = {}
    for part in wire.listed(item.get("content")):
        traits |= wire.part(part)
    return traits


PROVIDER: Provider = _Brevo()
