"""How fast Copper may be called: 180 times in any minute, and bulk calls three times in any second beside.

No header says what is left, and a 429 does not say until when. So the pace is kept here, below the limit, for others
may spend of it too. Source: "Requests" and "Bulk Update" of Copper's developer documentation, August 2026.
"""

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from app.connectors.faults import Busy
from app.connectors.http import Reply, asked_to_wait
from app.connectors.pacing import EvenPace

A_MINUTE = 150
"""Calls that go out in a minute, if the connection's choices say nothing else."""
_AT_ONCE = 20
"""Calls that may follow at once after some quiet. With these and an even pace it is 170 in the worst minute."""
_BULK_A_SECOND = 2.9
_SILENT_S, _MORE_S = 60, 15


class Limits:
    """Of one connection."""

    def __init__(self, choices: Mapping[str, Any]) -> None:  # Any: JSON
        a_second = choices.get("requests_per_minute", A_MINUTE) / 60
        self._calls = EvenPace(a_second, _AT_ONCE)
        # Whom Copper allows more calls than anybody, it allows more of these too.
        self._bulk = EvenPace(max(a_second, _BULK_A_SECOND))

    async def turn(self, *, is_bulk: bool) -> None:
        """Waits until a call may go out."""
        if is_bulk:
            await self._bulk.turn()
        await self._calls.turn()


def silence(reply: Reply) -> Busy | None:
    """Whether, and until when, no call may go out. A minute after a 429 all calls of before are forgotten; a little
    later, so that several who were refused together do not come back together."""
    return asked_to_wait(reply, timedelta(seconds=_SILENT_S + random.uniform(0, _MORE_S)))  # noqa: S311 - no secret


def is_page(reply: Reply) -> bool:
    """Whether the answer is a page for people, and so not of the API."""
    return reply.headers.get("content-type", "").startswith("text/html") or reply.body.lstrip().startswith(b"<")
