"""Whether a human opened or clicked, or a machine: scanners and privacy proxies fetch what nobody looked at.

Pure: from the mail events of one contact, the mark of each opening and click, and the signal that said so. The order of
arrival plays no part. What nothing speaks for or against is unknown, and has no mark.

Sources: the patterns of crawlers are the package crawler-user-agents'; a bare `Mozilla/5.0` is what Apple's Mail
Privacy Protection sends; the networks are those that Barracuda (64.235.144.0/20, 209.222.80.0/21), Proofpoint
(67.231.144.0/20, 148.163.128.0/19, 205.220.160.0/19), Mimecast (91.220.42.0/23, 207.211.30.0/23, 205.139.110.0/23,
170.10.128.0/21) and Microsoft (40.92.0.0/15, 40.107.0.0/16, 52.100.0.0/14, 104.47.0.0/17) publish as their mail
gateways'.
"""

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import crawleruseragents

from app.engine.hygiene import CLICKED, DELIVERED, OPENED

EDITION = 1
"""Counted up when this module judges otherwise: what is stored is then marked anew."""

SENT = "email.sent"
MARKED = frozenset({OPENED, CLICKED})
"""Events that have a mark."""
BESIDE = (SENT, DELIVERED, OPENED, CLICKED)
"""What such an event is judged beside."""

BURST = timedelta(seconds=1)
"""Nobody follows two links of one message within this."""
AT_ONCE = timedelta(seconds=60)
"""A click so soon after delivery, with no opening between, is a scanner's. So is any so near a hidden link's."""
NEAR = timedelta(hours=1)
"""How far apart events may be and still be judged together."""

TRAP = "leadtally-trap"
"""A link whose address has this in its path or query is hidden from human eyes."""

_PREFETCHED = "Mozilla/5.0"
_PROXIES = re.compile(r"GoogleImageProxy|YahooMailProxy|ggpht\.com", re.IGNORECASE)
_SCANNERS = re.compile(
    r"barracuda|proofpoint|mimecast|safelinks|ciscosecure|ironport|forti(?:mail|guard)|trend ?micro|sophos|symantec"
    r"|messagelabs|checkpoint|microsoft office existence|msoffice|urlpreview|link ?preview|python|curl/|wget|java/"
    r"|libwww|go-http|apache-http|okhttp|axios|headless|phantomjs",
    re.IGNORECASE,
)
_READERS = re.compile(
    r"outlook|thunderbird|lotus-notes|airmail|postbox|emclient|k-9|(?=.*applewebkit)(?!.*(?:safari|chrome|version)/)",
    re.IGNORECASE,
)
_BROWSERS = re.compile(r"\b(?:chrome|crios|firefox|fxios|safari|edg[ea]?|opr|samsungbrowser)/\d", re.IGNORECASE)
_NETWORKS = [
    ipaddress.ip_network(network)
    for network in (
        *("64.235.144.0/20", "209.222.80.0/21"),
        *("67.231.144.0/20", "148.163.128.0/19", "205.220.160.0/19"),
        *("91.220.42.0/23", "207.211.30.0/23", "205.139.110.0/23", "170.10.128.0/21"),
        *("40.92.0.0/15", "40.107.0.0/16", "52.100.0.0/14", "104.47.0.0/17"),
    )
]


class Seen(NamedTuple):
    """One of `BESIDE`, and what it says of whoever did it."""

    id: UUID
    type: str
    occurred_at: datetime
    message: str
    """Which message: its id, else its campaign, else empty."""
    url: str = ""
    user_agent: str = ""
    ip: str = ""
    machine: bool = False
    """The provider says that it was one."""
    hidden: bool = False
    """The sender says that no human can see the link."""


class Mark(NamedTuple):
    """`human` is None where it is unknown; `by` is the signal, None where there was none."""

    human: bool | None = None
    by: str | None = None


UNKNOWN = Mark()


def seen(id_: UUID, type_: str, occurred_at: datetime, said: dict[str, Any]) -> Seen:  # Any: JSON
    """An event as it is judged, from its properties."""

    def text(name: str) -> str:
        value = said.get(name)
        return value if isinstance(value, str) else ""

    message = text("message_id") or text("campaign")
    address = text("url"), text("user_agent"), text("ip")
    return Seen(id_, type_, occurred_at, message, *address, said.get("machine") is True, said.get("hidden") is True)


def judge(mail: Iterable[Seen]) -> dict[UUID, Mark]:
    """The marks of one contact's openings and clicks, each beside what happened to the same message near it."""
    messages: dict[str, list[Seen]] = defaultdict(list)
    for one in mail:
        messages[one.message].append(one)
    marks: dict[UUID, Mark] = {}
    for together in messages.values():
        together.sort(key=lambda one: (one.occurred_at, one.id))
        clicks = [one for one in together if one.type == CLICKED]
        for one in together:
            if one.type in MARKED:
                mark = _alone(one)
                if one.type == CLICKED and mark.human is not False:
                    mark = _beside(one, together, clicks) or mark
                marks[one.id] = mark
    return marks


def _alone(one: Seen) -> Mark:
    """What an event says by itself."""
    if one.machine:
        return Mark(False, "provider")
    if one.type == CLICKED and _is_hidden(one):
        return Mark(False, "hidden_link")
    mark = _agent(one.user_agent)
    if mark.human is not False and one.ip and _is_scanners(one.ip):
        return Mark(False, "network")
    # A browser's name is a human's only beside other facts: scanners borrow it.
    return UNKNOWN if one.type == CLICKED and mark.human else mark


def _beside(click: Seen, together: Sequence[Seen], clicks: Sequence[Seen]) -> Mark | None:
    """What the events around a click say of it; None: nothing."""
    near = [other for other in clicks if abs(other.occurred_at - click.occurred_at) <= AT_ONCE and other is not click]
    if any(_is_hidden(other) for other in near):
        return Mark(False, "hidden_link")
    links = {other.url for other in near if other.url and abs(other.occurred_at - click.occurred_at) <= BURST}
    if click.url and links - {click.url}:
        return Mark(False, "burst")
    before = [other for other in together if timedelta(0) <= click.occurred_at - other.occurred_at <= NEAR]
    opened = [other for other in before if other.type == OPENED]
    if not opened:
        arrived = [other for other in before if other.type in (SENT, DELIVERED)]
        if any(click.occurred_at - other.occurred_at <= AT_ONCE for other in arrived):
            return Mark(False, "click_before_open")
        return None
    if _BROWSERS.search(click.user_agent) and any(_alone(other).human is not False for other in opened):
        return Mark(True, "opened_first")
    return None


def _is_hidden(click: Seen) -> bool:
    if click.hidden:
        return True
    if TRAP not in click.url:
        return False
    try:
        parts = urlsplit(click.url)
    except ValueError:
        return False
    return TRAP in parts.path or TRAP in parts.query


@lru_cache(maxsize=16_384)
def _agent(user_agent: str) -> Mark:
    """What a user agent says of an opening; a long one is judged by its beginning."""
    agent = user_agent.strip()[:512]
    if not agent:
        return UNKNOWN
    if agent == _PREFETCHED:
        return Mark(False, "privacy_proxy")
    if _PROXIES.search(agent):
        # They fetch when somebody looks, and now and then when nobody does.
        return Mark(None, "proxy")
    if _SCANNERS.search(agent) or crawleruseragents.is_crawler(agent):
        return Mark(False, "user_agent")
    if _READERS.search(agent):
        return Mark(True, "user_agent")
    return UNKNOWN


@lru_cache(maxsize=16_384)
def _is_scanners(ip: str) -> bool:
    try:
        address = ipaddress.ip_address(ip.strip())
    except ValueError:
        return False
    return any(address in network for network in _NETWORKS)
