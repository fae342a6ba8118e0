"""What every stand-in CRM is, the people it is filled with, and the clock that it reads."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from starlette.types import ASGIApp

from app import clock


class Person(NamedTuple):
    """Somebody made up, whom a CRM may know."""

    first_name: str
    last_name: str
    email: str
    """Different for each person, at example.com, .org or .net; no mail can reach it."""
    company: str
    title: str
    phone: str
    """In the international form: `+1 202 555 0143`; from the numbers kept for fiction."""
    opted_out: bool


class Clock:
    """The time inside a stand-in: the real one, moved by an offset, or held still. Never runs backwards."""

    def __init__(self, now: Callable[[], datetime] = clock.now) -> None:
        self._now = now
        self._offset = timedelta()
        self._held: datetime | None = None
        self._last: datetime | None = None

    def __call__(self) -> datetime:
        """The present instant in the CRM, aware, in UTC."""
        at = self._held if self._held is not None else self._now() + self._offset
        self._last = at if self._last is None else max(self._last, at)
        return self._last

    def move(self, by: timedelta) -> None:
        """Let time pass; also while it is held."""
        if self._held is not None:
            self._held += by
        else:
            self._offset += by

    def hold(self) -> None:
        """Stop the clock, so that everything that is written now gets the same instant."""
        self._held = self()

    def release(self) -> None:
        """Let the clock run on from where it stands."""
        if self._held is not None:
            self._offset = self._held - self._now()
            self._held = None


class StandIn(Protocol):
    """One CRM, in memory. Several of one kind may live in one process; they share nothing."""

    @property
    def name(self) -> str:
        """`salesforce`: the prefix of its paths where several are served side by side."""

    @property
    def app(self) -> ASGIApp:
        """Serves it, below a prefix or at the root of a server of its own."""

    def fill(self, people: Iterable[Person]) -> None:
        """Add these people, as if they had been there for some time."""

    def credentials(self, base_url: str) -> dict[str, Any]:  # Any: JSON
        """What a connector or another client needs, as JSON. `base_url`, where `app` is served, ends without a `/`."""
