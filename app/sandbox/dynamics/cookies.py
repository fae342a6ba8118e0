"""The links to further pages. They are to be followed as they are: a token that was encoded anew is refused.

Source: "Page results using OData".
"""

import base64
import hashlib
import hmac
import re
import secrets
from typing import Any
from urllib.parse import quote, unquote

import orjson

from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.faults import Faults
from app.sandbox.dynamics.wire import Call, Json, Refusal, query_fault

_COOKIE = re.compile(r'<cookie pagenumber="(\d+)" pagingcookie="([^"]*)" istracking="(True|False)" />')
_INNER = re.compile(r'<cookie page="(\d+)"><place last="([\w-]*)" check="(\w*)" /></cookie>', re.ASCII)
_SKIPTOKEN = re.compile(r"(?:^|&)(?:\$|%24)skiptoken=([^&]*)")


class Cookies:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._secret = secrets.token_bytes(16)

    def link(self, call: Call, of: Table, place: Json, *, is_tracking: bool = False) -> str:
        """The address of the page after this call's, which begins behind `place`."""
        kept = [
            one
            for one in call.raw_query.split("&")
            if one and not re.match(r"(?:\$|%24)(?:skiptoken|deltatoken)=", one)
        ]
        token = self._token(place, is_tracking=is_tracking)
        return f"{call.root}{of.set_name}?{'&'.join([*kept, f'$skiptoken={token}'])}"

    def read(self, call: Call, *, is_tracking: bool) -> Json | None:
        """Where the page begins; None: at the beginning. Raises Refusal for what is not as it was given."""
        found = _SKIPTOKEN.search(call.raw_query)
        if found is None:
            return None
        place = self._place(found[1])
        if place is None or place[1] is not is_tracking or self._faults.lose_cookies:
            raise _malformed()
        return place[0]

    def is_tracking(self, call: Call) -> bool:
        """Whether the call is for a further page of change tracking."""
        found = _SKIPTOKEN.search(call.raw_query)
        place = None if found is None else self._place(found[1])
        return place is not None and place[1]

    def _token(self, place: Json, *, is_tracking: bool) -> str:
        last = base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")
        inner = f'<cookie page="{place["page"] - 1}"><place last="{last}" check="{self._check(last)}" /></cookie>'
        # Lower case inside, upper case outside, and twice: so a real one has them.
        escaped = re.sub(r"%..", lambda match: match[0].lower(), quote(inner, safe=""))
        outer = f'<cookie pagenumber="{place["page"]}" pagingcookie="{escaped}" istracking="{is_tracking}" />'
        return quote(outer, safe="=/")

    def _place(self, token: str) -> tuple[Json, bool] | None:
        outer = _COOKIE.fullmatch(unquote(token))
        inner = None if outer is None else _INNER.fullmatch(unquote(outer[2]))
        if outer is None or inner is None or not hmac.compare_digest(self._check(inner[2]), inner[3]):
            return None
        place: Any = orjson.loads(base64.urlsafe_b64decode(inner[2] + "=" * (-len(inner[2]) % 4)))  # Any: JSON
        is_tracking = outer[3] == "True"
        return (place, is_tracking) if self._token(place, is_tracking=is_tracking) == token else None

    def _check(self, text: str) -> str:
        return hashlib.blake2b(text.encode(), key=self._secret, digest_size=8).hexdigest()


def _malformed() -> Refusal:
    return query_fault("Malformed XML in the Paging Cookie. Use the link to the next page as it was given.")
