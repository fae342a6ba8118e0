"""Mailchimp's audience webhooks: a form with PHP's names, one event each. No openings, clicks or soft bounces.

Webhooks made since 2026 are signed; older ones never will be, and their source has no secret.
Sources: Mailchimp's guide to audience webhooks and its page on webhooks in the Marketing API, public captures.
"""

from collections.abc import Sequence
from datetime import timedelta

from app.esp import signing, wire
from app.esp.shapes import (
    BOUNCED,
    COMPLAINED,
    EMAIL_CHANGED,
    HARD,
    SUBSCRIBED,
    UNSUBSCRIBED,
    UPDATED,
    Fetch,
    Notice,
    Provider,
    Request,
    Said,
)

_EVENTS: dict[str, wire.Outcome] = {
    "subscribe": (SUBSCRIBED, None),
    "unsubscribe": (UNSUBSCRIBED, None),
    "cleaned": (BOUNCED, HARD),
    "profile": (UPDATED, None),
    "upemail": (EMAIL_CHANGED, None),
}
_FOR_REASON: dict[tuple[str, str], wire.Outcome] = {
    ("unsubscribe", "abuse"): (COMPLAINED, None),
    ("cleaned", "abuse"): (COMPLAINED, None),
}
"""Where `data[reason]` makes another event of it."""
_LEFT_OUT = {"campaign"}

_SIGNATURE = "X-Mailchimp-Signature"
# As Mailchimp asks. It tries for 75 minutes, so that each try must be signed anew.
_WINDOW = timedelta(minutes=5)


class _Mailchimp:
    kind: str = "mailchimp"
    title: str = "Mailchimp"
    secret: str | None = "the webhook's signing secret, shown when it was made; none if it is not signed"  # noqa: S105

    async def verify(self, request: Request, secrets: Sequence[str], fetch: Fetch) -> None:  # noqa: ARG002 - no need to
        """HMAC-SHA256 over the time of signing, a full stop and the body: `t=1718000000,v1=<hex>`.

        While secrets change there may be a second `v1`.
        """
        if not secrets:
            return
        parts = [part.strip().partition("=") for part in signing.header(request, _SIGNATURE).split(",")]
        stamp = next((value for name, _, value in parts if name == "t"), "")
        signatures = [value for name, _, value in parts if name == "v1"]
        signing.check_age(wire.instant(stamp), request, f"the time in {_SIGNATURE}", window=_WINDOW)
        message = stamp.encode(errors="replace") + b"." + request.body
        signing.require(secrets, lambda secret: _fits(secret, signatures, message), _SIGNATURE)

    def read(self, request: Request) -> list[Said]:
        said = wire.form(request.body)
        name = wire.text(said.get("type"))
        if name in _LEFT_OUT:
            return []
        if name not in _EVENTS:
            return [wire.unknown("", "type", name)]
        data = wire.part(said.get("data"))
        old_email, new_email = wire.address(data.get("old_email")), wire.address(data.get("new_email"))
        # After a change of address, the one by which the person is known here.
        email = wire.address(data.get("email")) or old_email or new_email
        if email is None:
            return [wire.nobody("/data", "email")]
        reason = wire.text(data.get("reason"))
        type_, bounce = _FOR_REASON.get((name, reason or "")) or _EVENTS[name]
        at = wire.instant(said.get("fired_at"))
        list_ = wire.text(data.get("list_id"))
        fields = wire.part(data.get("merges"))
        return [
            Notice(
                type_,
                email,
                at,
                wire.event_id(None, name, email, at, list_, wire.text(data.get("id")), new_email),
                wire.properties(
                    bounce=bounce,
                    old_email=old_email,
                    new_email=new_email,
                    reason=reason or wire.text(data.get("action")),
                    campaign=wire.text(data.get("campaign_id")),
                    list=list_,
                    traits=fields if type_ == UPDATED else None,
                    custom=fields if type_ != UPDATED else None,
                ),
            )
        ]


def _fits(secret: str, signatures: Sequence[str], message: bytes) -> bool:
    return any(signing.is_signed(signature, message, [secret.encode()]) for signature in signatures)


PROVIDER: Provider = _Mailchimp()
