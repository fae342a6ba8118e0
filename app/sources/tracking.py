"""Calls of tracking SDKs: Segment's, RudderStack's and our own snippet, from a body to events in our vocabulary.

Pure, and nothing in a body makes `read` raise: what cannot be read comes out as `Unread` beside the rest. What becomes
of each call is in docs/tracking.md.

Sources: Segment's documentation (HTTP API, common fields, e-mail events), the source of both companies' SDKs and of
RudderStack's server, read 2026-11-22.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from app.engine.identity import normal_email
from app.esp import wire
from app.esp.shapes import UPDATED
from app.sources.names import event_type, mail_properties, mail_type
from app.sources.shapes import Item, Reading, Request, Unread

ALIASED, GROUPED, PAGE, SCREEN = "contact.aliased", "group.joined", "page.viewed", "screen.viewed"

MAX_BODY = 500 * 1024
MAX_CALL = 32 * 1024
MAX_BATCH = 2_500
"""What Segment takes, in bytes of JSON and calls. A call beyond is rejected alone, a body beyond as a whole."""

_CALLS = ("identify", "track", "page", "screen", "group", "alias", "merge")
# Browser SDKs name a call by its first letter.
_PATHS = {name: name for name in _CALLS} | {name[0]: name for name in _CALLS if name != "merge"}

_NOBODY = {"null", "undefined", "none", "nan", "0", "-1", "true", "false", "anonymous", "guest", "[object object]"}
"""Ids that faulty pages send for everybody. Taken as they are, they would make all visitors one person."""
_LONGEST_ID = 200

_CONTEXT = {
    "campaign": "campaign",
    "userAgent": "user_agent",
    "ip": "ip",
    "locale": "locale",
    "timezone": "timezone",
    "groupId": "group_id",
    "library": "library",
}
_BY = {"userAgent": "user_agent", "ip": "ip"}
_PAGE = ("url", "path", "title", "referrer", "search")


class _Wrong(Exception):
    """What is wrong with one call, and where in it."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer, self.detail = pointer, detail


@dataclass(frozen=True)
class _Call:
    """One call, with what it shares with its batch."""

    said: dict[str, Any]  # Any: JSON
    context: dict[str, Any]  # Any: JSON
    name: str
    pointer: str
    sent_at: datetime | None
    received_at: datetime

    def item(
        self,
        type_: str,
        properties: dict[str, Any],  # Any: JSON
        who: dict[str, str | None],
        part: str = "",
    ) -> Item:
        """An event of this call. `part` tells a second one from the first."""
        return Item(type_, self._id(part), self._happened_at(), properties, pointer=self.pointer, **who)

    def _id(self, part: str) -> str | None:
        given = wire.text(self.said.get("messageId"))
        if given is None:
            if _given_time(self.said) is None:
                return None
            # Sent again, the same call has the same words, but for when it was sent.
            content = {key: value for key, value in self.said.items() if key not in ("sentAt", "writeKey")}
            given = hashlib.sha256(orjson.dumps([self.name, content], option=orjson.OPT_SORT_KEYS)).hexdigest()[:40]
        return given + part

    def _happened_at(self) -> datetime | None:
        """By the server's clock: as long before the call came in as it was made before it was sent."""
        given = _given_time(self.said)
        if given is None:
            return None
        name, value = given
        at = wire.instant(value)
        if at is None:
            raise _Wrong(f"/{name}", "expected an ISO 8601 instant of the years 1990 to 2200")
        return at if self.sent_at is None else self.received_at - (self.sent_at - at)


def parse(body: bytes) -> Any:  # Any: JSON
    """A body as values. Raises ValueError, with a sentence, if it is not JSON.

    Browsers cut texts in the middle of a character, and Python writes NaN: neither costs a batch.
    """
    if b"\\u0000" not in body:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    loose = json.dumps(wire.json_of(body), ensure_ascii=False).encode("utf-8", "replace")
    return orjson.loads(loose.replace(b"\\u0000", b"\\ufffd"))


def named(path: str) -> str | None:
    """The call that a path stands for; None: a batch."""
    return _PATHS.get(path.rstrip("/").rpartition("/")[2])


def read(request: Request) -> list[Reading]:
    """The events of a request of Segment's SDKs, or of our snippet."""
    return read_within(request, max_call=MAX_CALL, max_batch=MAX_BATCH)


def read_within(request: Request, *, max_call: int, max_batch: int) -> list[Reading]:
    """The events of a request, whose URL says which call it is. Of the headers, User-Agent plays a part."""
    try:
        said = parse(request.body)
    except ValueError as fault:
        return [Unread("", str(fault))]
    if not isinstance(said, dict):
        return [Unread("", "expected an object")]
    readings: list[Reading] = []
    for index, (pointer, one, name) in enumerate(_each(said, named(request.url.partition("?")[0]))):
        if index == max_batch:
            readings.append(Unread(pointer, f"a batch holds {max_batch} calls at most; the rest is left out"))
            break
        try:
            readings += _read(_call(one, name, said, pointer, request), max_call)
        except _Wrong as wrong:
            readings.append(Unread(pointer + wrong.pointer, wrong.detail))
    return readings


def _each(said: dict[str, Any], name: str | None) -> Iterator[tuple[str, Any, str | None]]:  # Any: JSON
    """The calls of a body with their places, and their names where the path says it."""
    if name is not None:
        yield "", said, name
        return
    calls = said.get("batch")
    if not isinstance(calls, list):
        yield "/batch", None, None
        return
    for index, call in enumerate(calls):
        yield f"/batch/{index}", call, None


def _call(one: Any, name: str | None, batch: dict[str, Any], pointer: str, request: Request) -> _Call:  # Any: JSON
    if not isinstance(one, dict):
        raise _Wrong("", "expected a list of calls" if pointer == "/batch" else "expected an object")
    kind = name or wire.text(one.get("type"))
    if kind is None or kind.lower() not in _CALLS:
        raise _Wrong("/type", f"expected one of {', '.join(_CALLS)}")
    context = wire.part(batch.get("context")) | wire.part(one.get("context"))
    browser = request.headers.get("user-agent", "")
    # A server's SDK names itself here, which says nothing of the person.
    if "userAgent" not in context and browser.startswith("Mozilla/"):
        context["userAgent"] = browser
    sent_at = wire.instant(one.get("sentAt")) or wire.instant(batch.get("sentAt"))
    return _Call(one, context, kind.lower(), pointer, sent_at, request.received_at)


def _read(call: _Call, max_call: int) -> list[Reading]:
    size = len(orjson.dumps(call.said))
    if size > max_call:
        raise _Wrong("", f"the call takes {size} bytes; {max_call} are the most")
    match call.name:
        case "identify":
            traits = wire.part(call.context.get("traits")) | wire.part(call.said.get("traits"))
            return [call.item(UPDATED, {"traits": traits} | _context(call), _who(call, traits.get("email")))]
        case "track":
            return [_track(call)]
        case "page" | "screen":
            return [call.item(PAGE if call.name == "page" else SCREEN, _view(call), _who(call))]
        case "group":
            return _group(call)
        case "alias":
            return [_alias(call)]
    return [_merge(call)]


# --- who --------------------------------------------------------------------------------------------------------------


def _who(call: _Call, *addresses: Any) -> dict[str, str | None]:  # Any: JSON
    """Of whom a call speaks: by its ids, and the first of the addresses that is one."""
    traits = wire.part(call.context.get("traits"))
    email = next(filter(None, (_email(one) for one in (*addresses, traits.get("email")))), None)
    user, visitor = _person(call.said, "userId"), _person(call.said, "anonymousId")
    if email is None and user is None and visitor is None:
        raise _Wrong("", "nobody is named: expected userId, anonymousId or an address")
    return {"email": email, "user_id": user, "anonymous_id": visitor}


def _person(said: dict[str, Any], name: str) -> str | None:  # Any: JSON
    value = said.get(name)
    given = wire.text(value)
    if given is None or given.lower() in _NOBODY:
        return None
    if len(given) > _LONGEST_ID:
        raise _Wrong(f"/{name}", f"an id has at most {_LONGEST_ID} characters")
    return given


def _email(value: Any) -> str | None:  # Any: JSON
    given = wire.address(value)
    if given is None:
        return None
    try:
        return normal_email(given)
    except ValueError:
        return None


# --- what -------------------------------------------------------------------------------------------------------------


def _track(call: _Call) -> Item:
    name = wire.text(call.said.get("event"))
    if name is None:
        raise _Wrong("/event", "the name of the event is missing")
    given = wire.part(call.said.get("properties"))
    more = {"event": name} | _context(call)
    mail = mail_type(name)
    if mail is None:
        return call.item(event_type(name), given | more, _who(call))
    who = _who(call, wire.part(call.said.get("traits")).get("email"), given.get("email"))
    if who["email"] is not None or who["user_id"] is not None:
        who["anonymous_id"] = None  # the tool's own: each call has another
    # Who opened, a human or a machine, is judged by these.
    by = {ours: call.context[theirs] for theirs, ours in _BY.items() if call.context.get(theirs)}
    return call.item(mail, by | mail_properties(mail, given) | more, who)


def _view(call: _Call) -> dict[str, Any]:  # Any: JSON
    seen = _place(call) if call.name == "page" else {}
    named = {name: call.said[name] for name in ("name", "category") if wire.text(call.said.get(name)) is not None}
    return seen | named | wire.part(call.said.get("properties")) | _context(call)


def _group(call: _Call) -> list[Reading]:
    group = wire.text(call.said.get("groupId"))
    if group is None:
        raise _Wrong("/groupId", "the id of the group is missing")
    traits = wire.part(call.said.get("traits"))
    who = _who(call)
    # To whoever scores, a group is the person's company.
    company = {"traits": {"company": {"id": group} | traits}}
    return [
        call.item(GROUPED, {"group_id": group, "traits": traits} | _context(call), who),
        call.item(UPDATED, company, who, "/company"),
    ]


def _alias(call: _Call) -> Item:
    user, previous = _person(call.said, "userId"), _person(call.said, "previousId")
    if user is None:
        raise _Wrong("/userId", "the id that holds from now on is missing")
    if previous is None:
        raise _Wrong("/previousId", "the id that held before is missing")
    return call.item(ALIASED, {"previous_id": previous} | _context(call), {"user_id": user})


def _merge(call: _Call) -> Item:
    """RudderStack's own: two ids of one person, each with its kind. We know three kinds."""
    kinds = {"email": "email", "user_id": "user_id", "userid": "user_id"}
    kinds |= {"anonymous_id": "anonymous_id", "anonymousid": "anonymous_id"}
    who: dict[str, str | None] = {}
    for one in wire.listed(call.said.get("mergeProperties")):
        pair = wire.part(one)
        kind = kinds.get((wire.text(pair.get("type")) or "").lower())
        if kind is not None:
            who[kind] = _email(pair.get("value")) if kind == "email" else _person(pair, "value")
    if len(list(filter(None, who.values()))) < 2:
        raise _Wrong("/mergeProperties", "expected two of email, user_id and anonymous_id, as type and value")
    return call.item(UPDATED, {"traits": {}}, who)


def _context(call: _Call) -> dict[str, Any]:  # Any: JSON
    """What rules may ask of where and how: `context`, if there is anything."""
    kept = {ours: call.context[theirs] for theirs, ours in _CONTEXT.items() if call.context.get(theirs)}
    page = _place(call)
    if page and call.name != "page":  # of a page, it is the event
        kept["page"] = page
    return {"context": kept} if kept else {}


def _place(call: _Call) -> dict[str, Any]:  # Any: JSON
    page = wire.part(call.context.get("page"))
    return {name: page[name] for name in _PAGE if name in page}


def _given_time(said: dict[str, Any]) -> tuple[str, Any] | None:  # Any: JSON
    """When the client says it happened, by its own clock, with the member's name."""
    for name in ("originalTimestamp", "timestamp"):
        if said.get(name) is not None:
            return name, said[name]
    return None
