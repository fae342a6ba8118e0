"""The switches of the stand-in: what goes wrong at the real HubSpot, and what the documentation leaves open."""

from dataclasses import dataclass, field


@dataclass
class Faults:
    """All off, it is an account without limits, whose search knows all at once. Docs: docs/sandbox-hubspot.md."""

    # Signing in.
    unauthorized_next: int = 0
    """So many calls from now on are answered 401, whatever their token."""
    token_calls: int = 0
    """An OAuth access token is good for so many calls; 0: for 1,800 seconds."""
    rotate_refresh_tokens: bool = False
    """Each refresh answers a new refresh token, and the old one is spent."""
    withheld_scopes: list[str] = field(default_factory=list)
    """Scopes that no token has, although the app asked for them."""

    # Limits.
    burst_limit: int = 0
    """Calls of an app in ten seconds: 100 or 190 at the real one, by plan. 0: any number."""
    search_limit: int = 0
    """Searches of the account in a second: 5 at the real one. 0: any number."""
    daily_limit: int = 0
    """Calls of private apps in a day: 250,000 to a million at the real one, by plan. 0: any number."""
    busy_next: int = 0
    """So many calls from now on are 429."""
    busy_policy: str = "TEN_SECONDLY_ROLLING"
    """Their `policyName`: that, `SECONDLY`, or `DAILY`."""
    busy_retry_after_s: int = 10
    no_retry_after: bool = False
    """No 429 has the header, not that of a short window either."""
    daily_exhausted: bool = False
    """Each call is 429 for the day."""
    fail_next: list[str] = field(default_factory=list)
    """The next calls fail, one each: unavailable, locked, migrating, html_502, timeout, lost_reply (the work is done,
    and the answer is an HTML 502); any other name lets one call pass."""
    delay_s: float = 0.0
    """Each call waits so long, in real seconds, before it is carried out."""

    # Reading.
    search_window: int = 10_000
    """A query shows no more rows than this: who pages beyond is answered 400."""
    search_lag_s: float = 0.0
    """Search sees a change only after so long, by the stand-in's clock."""
    shuffle_ties: bool = False
    """Search sorts rows of one value in another order at each call."""
    page_rows: int = 0
    """Pages of lists and of searches hold no more than this, whatever was asked for; 0: as asked."""
    late_s: int = 0
    """What is written is stamped so many seconds in the past."""
    id_property_primary_only: bool = False
    """`idProperty=email` finds no contact by one of its additional addresses."""

    # Writing.
    idle_writes_move_time: bool = False
    """A write that changes nothing moves the time of the last change all the same."""
    partial_conflicts: bool = False
    """A batch update or upsert with an address that another contact has fails for that row only."""
    locked_ids: list[str] = field(default_factory=list)
    """Batches that name one of these contacts are 423; so are single writes to them."""
    property_cap: int = 0
    """No more custom properties of contacts than this can be made; 0: any number."""
    property_lag_calls: int = 0
    """A new property is unknown to so many writes after it was made."""
    merge_makes_new_record: bool = False
    """A merge archives both contacts and makes a third, as the real one does since January 2025."""
    merged_are_archived: bool = False
    """Lists with `archived=true` show contacts that were merged into others."""
    forget_merged: bool = False
    """The id of a contact that was merged into another is as unknown as any."""
    refuse_merged_writes: bool = False
    """It can be read, and answers as the surviving contact, but not written."""

    # Subscriptions.
    resubscribe_allowed: bool = False
    """The fourth version of the API may subscribe an address that has opted out."""
    quiet_opt_out: bool = False
    """An opt-out neither moves the contact's time of the last change nor is told to webhooks."""

    # Webhooks.
    hold_webhooks: bool = False
    """Nothing is delivered while it is on."""
    lose_webhooks: bool = False
    duplicate_webhooks: bool = False
    """Each event is sent twice, with one `eventId`."""
    reverse_webhooks: bool = False
    """What waits is sent newest first. With `hold_webhooks`, turn that off to send it."""
    wrong_signatures: bool = False
    stale_signatures: bool = False
    """Requests are stamped ten minutes ago, and signed so."""
    no_v3_signature: bool = False
    """Only the older signature is there."""
