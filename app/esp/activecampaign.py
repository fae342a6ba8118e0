"""ActiveCampaign: a form with PHP's names, one event each, sent once and never again.

Sources: ActiveCampaign's page on webhooks and its help on bounces, public captures. The words of `bounce[type]` are
guessed from the help's, so that without them the code and the description decide.
"""

from typing import Any

from app.esp import signing, wire
from app.esp.shapes import (
    BOUNCED,
    CLICKED,
    HARD,
    OPENED,
    SOFT,
    SUBSCRIBED,
    TAG_ADDED,
    TAG_REMOVED,
    UNSUBSCRIBED,
    UPDATED,
    Notice,
    Provider,
    Request,
    Said,
)

_EVENTS = {
    "open": OPENED,
    "click": CLICKED,
    "bounce": BOUNCED,
    "subscribe": SUBSCRIBED,
    "unsubscribe": UNSUBSCRIBED,
    "update": UPDATED,
    "contact_tag_added": TAG_ADDED,
    "contact_tag_removed": TAG_REMOVED,
}
_BOUNCES: dict[str, wire.Outcome] = {"hard": (BOUNCED, HARD), "soft": (BOUNCED, SOFT)}
_LEFT_OUT = {"sent", "reply", "forward", "share", "subscriber_note"}
_FAMILIES_LEFT_OUT = ("account_", "contact_task_", "deal_", "list_", "sms_")
_NOT_TRAITS = {"id", "email", "tags"}


class _ActiveCampaign(signing.Unsigned):
    kind: str = "activecampaign"
    title: str = "ActiveCampaign"

    def read(self, request: Request) -> list[Said]:
        said = wire.form(request.body)
        name = wire.text(said.get("type"))
        if name in _LEFT_OUT or (name or "").startswith(_FAMILIES_LEFT_OUT):
            return []
        if name not in _EVENTS:
            return [wire.unknown("", "type", name)]
        contact = wire.part(said.get("contact"))
        email = wire.address(contact.get("email"))
        if email is None:
            return [wire.nobody("/contact", "email")]
        campaign = wire.part(said.get("campaign"))
        refusal = wire.part(said.get("bounce"))
        words = wire.text(refusal.get("description"))
        code, status = wire.number(refusal.get("code")), wire.codes(wire.text(refusal.get("code")))[1]
        type_, bounce = _EVENTS[name], None
        if type_ == BOUNCED:
            judgement = (wire.text(refusal.get("type")) or "").lower()
            type_, bounce = _BOUNCES.get(judgement) or wire.judged(status, code, words, action="failed")
        at = wire.instant(said.get("date_time"))
        list_ = wire.text(said.get("list"))
        url = wire.text(wire.part(said.get("link")).get("url"))
        tag = wire.text(said.get("tag"))
        return [
            Notice(
                type_,
                email,
                at,
                wire.event_id(None, name, email, at, wire.text(campaign.get("id")), list_, url, tag),
                wire.properties(
                    bounce=bounce,
                    status=status,
                    code=code,
                    reason=wire.text(wire.part(said.get("unsubscribe")).get("reason")),
                    diagnostic=words,
                    campaign=wire.text(campaign.get("name")) or wire.text(campaign.get("id")),
                    list=list_,
                    subject=wire.text(wire.part(campaign.get("message")).get("subject")),
                    tag=tag,
                    url=url,
                    user_agent=wire.text(said.get("User-Agent")),
                    traits=_traits(contact) if type_ == UPDATED else None,
                ),
            )
        ]


def _traits(contact: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """The contact's fields by their names, custom ones under `fields` by their numbers, and `tags` as a list."""
    traits = {name: value for name, value in contact.items() if name not in _NOT_TRAITS}
    if "fields" in traits:
        traits["fields"] = {number: _choices(value) for number, value in wire.part(traits["fields"]).items()}
    tags = [tag.strip() for tag in (wire.text(contact.get("tags")) or "").split(",") if tag.strip()]
    return {**traits, "tags": tags} if "tags" in contact else traits


def _choices(value: object) -> object:
    """A custom field: several choices, which stand between double bars, as a list."""
    if isinstance(value, str) and value.startswith("||") and value.endswith("||"):
        return [choice for choice in value.split("||") if choice]
    return value


PROVIDER: Provider = _ActiveCampaign()
