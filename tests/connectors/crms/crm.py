"""A CRM as the contract needs it: its stand-in, what people there do and see, its clock, and its switches."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import httpx

from app import clock
from app.connectors.provider import Setup
from app.connectors.shapes import Kind, Value
from app.sandbox import controls
from app.sandbox.shapes import Clock
from tests.connectors.given import Purse, Shelf
from tests.connectors.stage import HOOK, Stage

Json = dict[str, Any]  # Any: JSON


class Crm(ABC):
    """One stand-in on the stage. Ids are as connectors have them: text."""

    kind: ClassVar[str]
    object: ClassVar[str]
    """Of which `add` makes people."""
    address: ClassVar[str]
    """The field of the primary address."""
    called: ClassVar[str]
    """The field of the whole name."""
    note: str
    """A text field that people there write."""
    unknown: ClassVar[str]
    """An id that no record has."""
    flow: ClassVar[str]
    """To sign in by, with tokens that end."""
    flows: ClassVar[Sequence[str]]
    """All that need no browser, or no more."""
    tokens_end: ClassVar[bool] = True
    """Whether access tokens end, and are renewed by credentials or a refresh token."""
    has_more_addresses: ClassVar[bool] = False
    addresses_are_unique: ClassVar[bool] = False
    """Whether an address is of one record of `object` at most."""
    longest_text: ClassVar[int] = 255
    """Characters in a text field that an administrator makes."""
    says_mergers: ClassVar[bool] = True
    """Whether anything there says what a merged record became part of."""
    page: ClassVar[int]
    """Records on a full page."""
    late_s: ClassVar[int]
    """How long after its stamp a change may show, at most."""
    looked_up: ClassVar[int] = 12
    """So many addresses that one call cannot find them all."""
    many: ClassVar[int]
    """So many writes that the CRM's way for very many is taken, if it has one."""
    says_deleted_calls: ClassVar[bool] = True
    """Whether activities that were deleted can be seen to be."""
    kinds: ClassVar[Mapping[str, Kind]]
    """Of some fields that are there from the beginning."""
    read_only: ClassVar[str]
    """A field that nobody can write."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.shifted = timedelta()
        self._is_held = False
        self._http = httpx.AsyncClient(base_url=stage.url, trust_env=False)

    async def aclose(self) -> None:
        await self._http.aclose()
        clock.shift(timedelta())

    # --- what a connector is given ------------------------------------------------------------------------------------

    @abstractmethod
    def setup(self, shelf: Shelf, purse: Purse, flow: str | None = None) -> Setup:
        """The right credentials, and on the shelf whatever the flow has before its first call."""

    @abstractmethod
    def wrong(self, setup: Setup) -> Setup:
        """The same with a credential that is wrong."""

    @property
    @abstractmethod
    def secrets(self) -> Sequence[str]:
        """What must not be told."""

    @abstractmethod
    async def expire_tokens(self) -> None:
        """All access tokens end."""

    async def browse(self, address: str) -> Mapping[str, str]:
        """What the browser brings back from signing in at `address`: the parameters of the redirect."""
        async with httpx.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(address)
        return dict(parse_qsl(httpx.URL(answer.headers["location"]).query.decode()))

    # --- what people there do and see ---------------------------------------------------------------------------------

    async def edit(self, **body: Any) -> Json:  # Any: JSON
        answer = await self._http.post("/_sandbox/edit", json=body)
        assert answer.status_code == 200, answer.text
        made: Json = answer.json()
        return made

    @abstractmethod
    async def add(self, *addresses: str, name: str = "Ann Lee", note: str | None = None, of: str | None = None) -> str:
        """Somebody new, of this object; the id."""

    @abstractmethod
    def crowd(self, count: int) -> list[str]:
        """So many people at once, of `object`; their ids."""

    @abstractmethod
    async def write(self, id_: str, note: str) -> None: ...

    @abstractmethod
    async def write_late(self, id_: str, note: str, seconds: int) -> None:
        """A change that shows only now, though it is stamped so many seconds ago."""

    @abstractmethod
    async def move(self, id_: str, address: str) -> None:
        """A new primary address."""

    @abstractmethod
    async def delete(self, id_: str) -> None: ...

    async def restore(self, id_: str) -> bool:  # noqa: ARG002 - not every CRM has this
        """Somebody takes back that a record was deleted; whether there is such a thing."""
        return False

    @abstractmethod
    async def merge(self, loser: str, winner: str) -> None: ...

    async def convert(self) -> tuple[str, str, str, str] | None:
        """Somebody becomes another object: (object, id) before and after; None where there is no such thing."""
        return None

    @abstractmethod
    async def field(self, kind: Kind, *, of: str | None = None, name: str = "Kept", options: Sequence[str] = ()) -> str:
        """A custom field of this kind, made by an administrator; its name. Empty where the CRM has no such kind."""

    @abstractmethod
    def sees(self, id_: str, field: str) -> Value:
        """What people there see in a field, in the words of `connectors/shapes.py`."""

    @abstractmethod
    async def opt(self, id_: str, field: str, *, out: bool) -> None:
        """Somebody there says whether the person may be mailed, in the field that a connector maps by default."""

    @abstractmethod
    def is_opted_out(self, id_: str, field: str) -> bool:
        """Whether people there would say so, looking at that field."""

    # --- activities ---------------------------------------------------------------------------------------------------

    @abstractmethod
    async def call(self, *ids: str) -> str:
        """Somebody logs a call that was made with these people; the CRM's id of it."""

    @abstractmethod
    async def rename_call(self, call: str, subject: str) -> None: ...

    @abstractmethod
    async def undo_call(self, call: str) -> None:
        """It was not made after all, or not yet."""

    @abstractmethod
    async def delete_call(self, call: str) -> None: ...

    # --- the clock ----------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def clock(self) -> Clock: ...

    def later(self, seconds: float) -> None:
        """Time passes, here and there; also there where it is held."""
        self.shifted += timedelta(seconds=seconds)
        clock.shift(self.shifted)
        if self._is_held:
            self.clock.move(timedelta(seconds=seconds))

    def hold(self) -> None:
        """From now on all that is done there has one instant."""
        self.clock.hold()
        self._is_held = True

    def release(self) -> None:
        self.clock.release()
        self._is_held = False

    # --- switches -----------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def faults(self) -> Any:  # Any: each stand-in has its own
        ...

    def turn(self, **switches: Any) -> None:  # Any: JSON
        controls.turn(self.faults, switches)

    @abstractmethod
    def small_pages(self, rows: int) -> None: ...

    def lose_cursors(self) -> bool:
        """Every cursor that the CRM gave is forgotten, but for those to come; whether there is such a thing."""
        return False

    def find_cursors(self) -> None:  # noqa: B027 - not every CRM has this
        """Cursors that are given from now on are good again."""

    @property
    def quirks(self) -> Sequence[Mapping[str, Any]]:  # Any: JSON
        """Switches under which people must be read no less well."""
        return ()

    def hush(self) -> None:  # noqa: B027 - as above
        """Opting out moves no stamp any more, if there is such a thing."""

    def hide(self, field: str) -> bool:  # noqa: ARG002 - not every CRM has this
        """Our user may not see a field; whether there is such a thing."""
        return False

    def lock(self, field: str) -> bool:  # noqa: ARG002 - as above
        """Our user may not write a field; whether there is such a thing."""
        return False

    @abstractmethod
    def forbid_fields(self) -> None:
        """No field can be made any more."""

    def refuse(self, id_: str) -> bool:  # noqa: ARG002 - as above
        """An administrator's rule refuses changes of a record; whether there is such a thing."""
        return False

    def hold_row(self, id_: str) -> bool:  # noqa: ARG002 - as above
        """Somebody else has a record locked; whether there is such a thing."""
        return False

    def rotate(self) -> bool:
        """Each refresh gives another refresh token; whether there is such a thing."""
        return False

    @abstractmethod
    def be_busy(self) -> None:
        """Calls are told to wait, in the CRM's own way."""

    @abstractmethod
    def be_free(self) -> None:
        """No more of this."""

    # --- what it counts -----------------------------------------------------------------------------------------------

    @abstractmethod
    def spent(self) -> int:
        """What was spent of the CRM's budget."""

    @abstractmethod
    def least(self, writes: int) -> int:
        """What so many writes cost, at the very least."""

    @abstractmethod
    def count(self, table: str) -> int:
        """How many `people`, `fields` or `hooks` there are."""

    # --- notices ------------------------------------------------------------------------------------------------------

    @property
    def hook(self) -> str:
        return f"{self.stage.url}{HOOK}/{self.kind}"

    def hook_by_hand(self) -> None:  # noqa: B027 - as above
        """What an administrator does where `subscribe` only says how."""

    says_who_hooks: ClassVar[bool] = True
    """Whether a notice carries the user and the password that it was subscribed with."""
