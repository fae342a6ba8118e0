"""What every connector is, and the words that it and the sync share. Nothing here knows of scoring or the database.

A connector speaks to one account of one CRM. It turns that CRM's records into `Record`s and `Write`s into its calls;
it keeps no state but a token and what the CRM described, and decides nothing.

Values are plain JSON, so that two of them are equal if `==` says so: None, true and false, numbers, text; an instant is
text as `2026-10-20T10:00:00Z`, to the second; a day is `2026-10-20`; a choice is its label; several choices are a list
of labels in their alphabetical order. Addresses are as the CRM holds them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeAlias

Value: TypeAlias = bool | int | float | str | list[str] | None
Values: TypeAlias = Mapping[str, Value]
"""By the CRM's name of each field."""


class Key(NamedTuple):
    """A record in the CRM."""

    object: str
    """As the CRM calls it: `Contact`, `Lead`, `person`."""
    id: str


class Record(NamedTuple):
    """A person's record as the CRM holds it, or that it is gone."""

    key: Key
    values: Values = {}
    """The fields that were asked for. One that the CRM does not show is absent; one that is unset is None."""
    addresses: tuple[str, ...] = ()
    """All its e-mail addresses, the primary one first."""
    modified_at: datetime | None = None
    """By the CRM's clock; None where it does not say."""
    by_us: bool | None = None
    """Whether our own user changed it last; None where the CRM does not say."""
    is_gone: bool = False
    """It was deleted, merged into another, or converted: nothing can be written to it any more."""
    successor: Key | None = None
    """What it became by a merge or a conversion."""


class Page(NamedTuple):
    """Records, and where to go on."""

    records: Sequence[Record]
    cursor: str
    """Opaque to the sync, which keeps it with what the page brought; safe to go on from after a crash."""
    is_last: bool  # for now: the next call with this cursor is the next look for changes


class Activity(NamedTuple):
    """Something that was done with people in the CRM: a call, a meeting, a task, a campaign's response."""

    id: str
    """The same for ever, and among all activities of the connection."""
    type: str
    """In lower case, as the CRM's users know it: `call`, `meeting`, `email`, `webinar_attended`."""
    people: tuple[Key, ...]
    """Whom it was about; empty if it does not count (any more)."""
    at: datetime
    """When it happened."""
    properties: Mapping[str, Any] = {}  # Any: JSON
    """Whatever a rule may ask: subject, status, direction, outcome, duration_s."""


class ActivityPage(NamedTuple):
    """Activities that are new or were edited; one that was deleted or undone has no people."""

    activities: Sequence[Activity]
    cursor: str
    is_last: bool


class Write(NamedTuple):
    """Fields of a record to set; None clears one."""

    key: Key
    values: Values


class NewPerson(NamedTuple):
    """Somebody to create. The connector fills what the CRM demands beside."""

    object: str
    email: str
    name: str | None
    values: Values


class End(StrEnum):
    """What became of a write."""

    DONE = "done"
    AGAIN = "again"
    """Not this time, though nothing is wrong with it: a lock, a time-out, a part of a job that was not reached."""
    REFUSED = "refused"
    """Never, as it is: a validation rule, a field that is too short, a right that is missing."""
    GONE = "gone"
    """The record is deleted, merged or converted: it must be read again."""


class Outcome(NamedTuple):
    """What became of one write. `code` and `reason` are the CRM's own words, without anybody's data."""

    end: End
    id: str | None = None
    """Of the record; None where none was made."""
    kept: Values | None = None
    """The written fields as the CRM holds them now, where it says so: a CRM may pass over one in silence."""
    modified_at: datetime | None = None
    code: str | None = None
    reason: str | None = None
    fields: tuple[str, ...] = ()
    """Those that were refused, where the CRM names them."""


class Kind(StrEnum):
    """What a field holds."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    INSTANT = "instant"
    DAY = "day"
    CHOICE = "choice"
    CHOICES = "choices"
    OTHER = "other"
    """What cannot be mapped: a reference, an address in parts, a file."""


class CrmField(NamedTuple):
    """A field of an object, as the CRM describes it to our user."""

    name: str
    """By which it is written: `HasOptedOutOfEmail`, a hash of 40 digits."""
    label: str
    kind: Kind
    is_writable: bool
    is_custom: bool = False
    options: tuple[str, ...] = ()
    """The labels of a choice."""
    max_length: int | None = None
    places: int | None = None
    """Digits after the decimal point that a number keeps; None: as many as are sent."""


class WantedField(NamedTuple):
    """A field that should be there, to be made where it is not."""

    object: str
    name: str
    """A stable name of ours, of a-z, 0-9 and _: `score_engagement`. The CRM's own name may differ."""
    label: str
    kind: Kind
    description: str
    options: tuple[str, ...] = ()
    max_length: int | None = None
    places: int | None = None


class MadeField(NamedTuple):
    """What became of a wanted field: there, with the name by which it is written, or how to make it by hand."""

    wanted: WantedField
    field: CrmField | None
    was_there: bool = False
    recipe: str | None = None
    """For an administrator, step by step; None where the field is there."""


class DefaultPair(NamedTuple):
    """What a connector suggests to map, in the sync's words (`sync/mapping.py`)."""

    object: str
    here: str
    there: str | WantedField
    way: str
    """in, out or both."""
    yes: tuple[str, ...] = ()
    """Words of a choice there that mean true; the first is written. Empty: Yes."""
    no: tuple[str, ...] = ()


class Level(StrEnum):
    ERROR = "error"
    """The sync cannot work before it is mended."""
    WARNING = "warning"
    """A part of it does not work."""
    NOTE = "note"


class Finding(NamedTuple):
    """Something that a check of a connection found."""

    level: Level
    code: str
    """Stable, for programs: `missing_scope`, `field_hidden`."""
    what: str
    mend: str
    """What somebody can do about it, and where; a note may leave it empty."""


class Account(NamedTuple):
    """Whose account it is, and who we are in it."""

    organisation: str
    user: str
    """The id of the user that we are, by which our own changes are known."""
    user_name: str


class Checked(NamedTuple):
    """What `check` found: no account where it could not sign in."""

    account: Account | None
    findings: Sequence[Finding]


class Hint(NamedTuple):
    """That a record may have changed, says somebody who need not be believed: it is read."""

    key: Key
    successor: Key | None = None
    """What it is said to have become; believed once the record is gone and this one is there."""


class Call(NamedTuple):
    """A POST of the CRM's to us, as it came."""

    url: str
    """The whole address that the CRM was given to call."""
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes


class Notice(NamedTuple):
    """What a CRM's call to us says, and what to answer it."""

    hints: Sequence[Hint]
    is_activity: bool = False  # activities changed: look for them
    reply: bytes = b""
    media_type: str = "text/plain"


class Connector(Protocol):
    """One account of one CRM. All that goes over the wire may raise a `Fault` (`connectors/faults.py`)."""

    @property
    def objects(self) -> Sequence[str]:
        """The objects that hold people; the first is the one that `create` makes by default."""

    async def check(self) -> Checked:
        """Whether we can sign in and do what the sync needs; each finding says what is missing and how to mend it."""

    async def describe(self, object_: str) -> Sequence[CrmField]:
        """The fields that our user may see. Remembered for some minutes."""

    def defaults(self, object_: str, fields: Sequence[CrmField]) -> Sequence[DefaultPair]:
        """What to map if nobody says otherwise, by what is described."""

    async def ensure(self, wanted: Sequence[WantedField]) -> Sequence[MadeField]:
        """Make the fields that are not there, or say how; harmless to repeat."""

    async def changes(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        """A page of records changed since the cursor; None: all there are, from the beginning. No change is ever passed
        over: not where several records share an instant, not where one is committed late or edited while the pages are
        walked. A record may come more than once."""

    async def everybody(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        """A page of all records that are there, in an order that edits do not disturb, for the slow reconcile."""

    async def fetch(self, object_: str, ids: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:
        """These records as they are now, in any order; those that are not there are gone (`is_gone`)."""

    async def find(self, object_: str, addresses: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:
        """All records that have one of these addresses."""

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """Set fields, in the CRM's own bulk calls; one outcome for each write, in their order, whatever became of the
        others. A `Fault` says that it is not known which were done."""

    @property
    def batch(self) -> int:
        """How many writes at a time are best given to `write` while somebody waits for them."""

    @property
    def bulk(self) -> int:
        """How many at most, where very many wait."""

    def cost(self, writes: int) -> int:
        """What that many writes cost of the budget, at best."""

    async def create(self, people: Sequence[NewPerson]) -> Sequence[Outcome]:
        """Create records. Never repeated by itself: after a `Fault` some may be there."""

    async def activities(self, cursor: str | None) -> ActivityPage:
        """A page of activities that are new or were edited since the cursor; None: from the beginning."""

    def read_notice(self, call: Call) -> Notice:
        """What the CRM tells us by a call of its own; the caller has checked the secret in its address, and a connector
        whose CRM signs its calls checks that too. Raises ValueError."""

    async def subscribe(self, url: str, user: str, password: str) -> str | None:
        """Have the CRM call this address when people change, unless it does; None, or how to set it up by hand."""

    async def aclose(self) -> None: ...
