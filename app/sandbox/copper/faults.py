"""The switches of the stand-in: what goes wrong at the real Copper, and what the documentation leaves open."""

from dataclasses import dataclass

MOST_ROWS = 100_000
"""Of a search that can be reached, whatever the paging."""


@dataclass
class Faults:
    """All as here, it is an account without limits. Docs: docs/sandbox-copper.md."""

    # Signing in and limits.
    unauthorized_next: int = 0
    """So many calls from now on are answered 401, whatever their key."""
    forbidden_next: int = 0
    """So many calls from now on are answered 403."""
    failing_next: int = 0
    """So many calls from now on are answered 500."""
    busy_next: int = 0
    """So many calls from now on are answered 429."""
    limit_per_minute: int = 0
    """Calls in a rolling minute; Copper's is 180. 0: any number."""
    bulk_per_second: int = 0
    """Calls of bulk endpoints in a second, beside; Copper's is 3. 0: any number."""
    retry_after_s: int = 0
    """A 429 says so; 0, as at Copper: it has no header that tells anything."""
    delay_s: float = 0.0
    """Each call waits so long, in real seconds, before it is carried out."""

    # Reading.
    search_lag_s: float = 0.0
    """Search shows what was written only after so long, by the stand-in's clock; a record read by its id is fresh."""
    fetch_by_email_lags: bool = False
    """`fetch_by_email` lags as search does."""
    case_matters: bool = False
    """An address is found, and taken, only as it is written."""
    total_over: int = 0
    """`X-PW-TOTAL` is so much more than the truth."""
    reachable_rows: int = MOST_ROWS
    refuse_beyond: bool = False
    """A page beyond the rows that can be reached is 422, not empty."""
    deaf_query: bool = False
    """`page_number` and `page_size` in the query are passed over."""
    without_lead_ids: bool = False
    """The search of leads knows no `ids`."""
    list_deleted_activities: bool = False
    """Deleted activities are stubs in lists, too."""
    empty_lists: bool = False
    """A MultiSelect without a value is an empty list, not null."""
    bare_account: bool = False
    """`GET /account` says its id and name only."""
    zone_offset_h: int = 0
    """Where the account is, in hours east of UTC: its midnights are what date fields hold."""

    # Writing.
    idle_writes_move_date: bool = False
    """A write that changes nothing moves `date_modified`, and is told to webhooks."""
    activities_move_date: bool = False
    """An activity moves the `date_modified` of the record it is about."""
    activity_dates_are_true: bool = False
    """The `date_modified` of an activity is when it was changed, not its `activity_date`."""
    property_activities: bool = False
    """Each property that changes is logged as an activity of type system/1."""
    vague_bulk_errors: bool = False
    """An item of a bulk call that failed says no more than that."""
    field_refusal: int = 0
    """Custom fields cannot be made: the call is answered with this status, such as 403 or 422."""
    unique_field_names: bool = False
    """A second custom field of one name is 422."""
    unfilterable_fields: bool = False
    """Custom fields that are made from now on can be neither searched nor matched by."""
    other_type_ids: bool = False
    """A custom activity type is made under another id than `/activity_types` lists."""
    converted_leads_gone: bool = False
    """A converted lead is 404."""
    converted_leads_locked: bool = False
    """A converted lead cannot be changed: 422."""

    # Webhooks.
    hold_webhooks: bool = False
    """Nothing is delivered while it is on."""
    lose_webhooks: bool = False
    webhook_delay_s: float = 0.0
    """Each notification is late by so much, by the stand-in's clock; Copper's may be by 15 minutes."""
    notifications_per_minute: int = 600
    """What is beyond is lost; so is what is beyond 1,800 in ten minutes."""
    secure_hooks_only: bool = False
    """The target of a webhook must be `https://`, as Copper's must."""
    hooks_of_new_activities_only: bool = False
    """`activity_log` has only the event `new`, as the help centre says."""
