"""The switches for what goes wrong with a real environment. All are off by default."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Faults:
    fail_next: list[str] = field(default_factory=list)
    """The next calls of the Web API fail, one each: throttled (429), html_502, unavailable (503), sql_timeout,
    lost_reply (the work is done, and the answer is an HTML 502); any other name lets one call pass."""
    fail_parts: list[str] = field(default_factory=list)
    """The next operations inside of batches fail, one each: throttled, deadlock; any other name lets one pass."""
    delay_s: float = 0.0
    """Each call of the Web API takes so much longer, in real time."""

    secret_expired: bool = False
    """The client secret is past its end: AADSTS7000222."""
    token_calls: int = 0
    """A token is good for so many calls; 0: for an hour."""
    rotate_refresh_tokens: bool = False
    """A refresh token that was used is dead."""
    not_a_member: bool = False
    """The app is not an application user of the environment: each call is 403."""
    missing_privileges: list[str] = field(default_factory=list)
    """What our role lacks: `prvWriteContact`, `prvReadActivity`, `prvCreateAttribute`."""
    own_rows_only: bool = False
    """Our role reads below organisation level: change tracking is refused."""
    secured_columns: list[str] = field(default_factory=list)
    """`contact.donotbulkemail`: column security. Reads as null, and cannot be written."""
    read_only_columns: list[str] = field(default_factory=list)
    """The same, but we may read it."""

    no_leads: bool = False
    """Dynamics 365 Sales is not installed: there are no leads and opportunities."""
    consents: bool = False
    """Customer Insights - Journeys is installed: there is a table of consents."""
    language: int = 1033
    """The base language of the organisation."""
    prefix: str = "new"
    """Of the default publisher's columns."""

    page_rows: int = 0
    """Pages hold no more than this, whatever was asked for; 0: as asked."""
    late_s: int = 0
    """What is written is stamped so many seconds in the past, as by a transaction that was committed late."""
    untracked: list[str] = field(default_factory=list)
    """Tables without change tracking: `contact`."""
    tracking_days: float = 7.0
    """How long a delta token is good."""
    lose_deltas: bool = False
    """Every delta token has expired."""
    columns_end_deltas: bool = False
    """A delta token has expired if its table got or lost a column since."""
    expired_status: int = 400
    """The HTTP status of an expired delta token."""
    lose_cookies: bool = False
    """Every link to a further page is refused."""
    metadata_lag_s: int = 0
    """A new column is absent from metadata for so long, but for calls with `Consistency: Strong`."""
    keys_wait: bool = False
    """The index of a new alternate key stays Pending."""

    locked_ids: list[str] = field(default_factory=list)
    """Rows that somebody else has locked: a write of them ends in a deadlock."""
    lock_every: int = 0
    """Each so-manieth row written is locked by somebody else; the next try at it may succeed."""
    refused_ids: list[str] = field(default_factory=list)
    """A plug-in refuses changes of these."""
    closed_leads_writable: bool = False
    """Qualified and disqualified leads can be changed."""
    no_multiple: list[str] = field(default_factory=list)
    """Tables without CreateMultiple, UpdateMultiple and UpsertMultiple: `lead`."""
    duplicate_rule: bool = False
    """A second person with an address is refused, if the call asks for the detection of duplicates."""
    plugin_sets: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    """A plug-in sets these columns right after each of our writes: `{"jobtitle": "Checked"}`."""
    plugin_is_us: bool = False
    """It runs as our user, not as SYSTEM on our behalf."""

    throttle_next: int = 0
    """The next calls are 429. One that comes before the wait is over that it was told is told to wait twice as long."""
    throttle_s: int = 12
    """The first wait."""
    limit_requests: int = 0
    """Calls in 300 seconds, 6000 with a real one; 0: any number."""
    limit_time_s: int = 0
    """Their execution time together, 1200 with a real one; 0: any."""
    limit_concurrent: int = 0
    """Calls at the same time, 52 with a real one; 0: any number."""

    hold_webhooks: bool = False
    """Nothing is delivered as long as this is on."""
    reverse_webhooks: bool = False
    """What waits goes out newest first."""
    duplicate_webhooks: bool = False
    lose_webhooks: bool = False
    oversized_webhooks: bool = False
    """Each is over the limit of 256 KB, so that it lacks what was written."""
