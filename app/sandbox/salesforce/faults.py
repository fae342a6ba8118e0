"""The switches for what goes wrong with a real org. All are off by default."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Faults:
    fail_next: list[str] = field(default_factory=list)
    """The next calls of the REST API fail, one each: html_502, unavailable, query_timeout, busy, no_rest, lost_reply
    (the work is done, and the answer is an HTML 502); any other name lets one call pass."""
    delay_s: float = 0.0
    """Each call of the REST API takes so much longer, in real time."""

    login: str = ""
    """The token endpoint refuses with this `error_description`, as `no client credentials user enabled`."""
    token_calls: int = 0
    """A token is good for so many calls; 0: for two hours without use."""
    rotate_refresh_tokens: bool = False
    instance_url: str = ""
    """Token replies name this address as the org's."""

    daily_limit: int = 5_000_000
    """Calls in 24 hours, of all clients together."""
    hide_limit_info: bool = False

    page_rows: int = 0
    """Pages of a query hold no more than this, whatever was asked for; 0: as asked."""
    lose_cursors: bool = False
    late_s: int = 0
    """What is written is stamped so many seconds in the past, as by a transaction that was committed late."""
    hidden_fields: list[str] = field(default_factory=list)
    """`Contact.HasOptedOutOfEmail`: no access by field-level security."""
    read_only_fields: list[str] = field(default_factory=list)
    no_history: bool = False
    """Field history is not tracked: its objects do not exist."""
    no_customize: bool = False
    """The user may not make fields."""
    describe_lag: int = 0
    """A new field is absent from so many describes of its object."""

    locked_ids: list[str] = field(default_factory=list)
    lock_every: int = 0
    """Each so-manieth record written is locked by somebody else; the next try at it may succeed."""
    refused_ids: list[str] = field(default_factory=list)
    """An admin's validation rule refuses changes of these."""
    duplicate_rule: bool = False
    """A new person whose address is there already is refused, but for those who ask to save it all the same."""
    email_change_clears_bounce: bool = False

    flow_sets: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    """A Flow that sets these fields in the same transaction, as the user who wrote: `{"Title": "Checked"}`."""
    opt_out_flips_back: bool = False
    """A second tool turns `HasOptedOutOfEmail` back after each of our changes of it."""

    bulk_fails_after: int = 0
    """Bulk jobs end as Failed after so many records, the rest unprocessed; 0: they do not."""
    bulk_stalls: bool = False
    """Bulk jobs wait and stay UploadComplete for as long as this is on."""
    bulk_polls: int = 0
    """A bulk query is InProgress for so many polls."""
    locators_null: bool = False
    """Bulk query results come on one page, whatever was asked for."""

    outbound_url: str = ""
    """Where changes of people are told as outbound messages, http; nowhere if empty."""
    outbound_fields: list[str] = field(default_factory=lambda: ["Id", "Email", "HasOptedOutOfEmail"])
    outbound_mutes_us: bool = False
    """Changes by the user of the API are not told."""
    outbound_twice: bool = False
    outbound_backwards: bool = False
    """The messages of one transaction go out last first, one in each call."""
