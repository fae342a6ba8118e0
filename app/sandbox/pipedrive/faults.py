"""The switches of the stand-in: what goes wrong at the real Pipedrive, and what the documentation leaves open."""

from dataclasses import dataclass, field


@dataclass
class Faults:
    """All off, it is a company with the Campaigns add-on and no limits. Docs: docs/sandbox-pipedrive.md."""

    # Signing in.
    unauthorized_next: int = 0
    """So many calls from now on are answered 401, whatever their token."""
    rotate_refresh_tokens: bool = False
    """Each refresh answers a new refresh token, and the old one is spent."""
    withheld_scopes: list[str] = field(default_factory=list)
    """OAuth scopes that no token has, although its answer lists them."""

    # Limits.
    plan: str = ""
    """`lite`, `growth`, `premium` or `ultimate`: its burst and daily limits are enforced. Empty: none is."""
    seats: int = 1
    daily_tokens: int = 0
    """A daily budget in place of the plan's; 0: the plan's."""
    busy_next: int = 0
    """So many calls from now on are over the burst limit."""
    busy_reset_s: int = 1
    daily_exhausted: bool = False
    daily_retry_after_s: int = 3_939
    block_after: int = 0
    """After so many 429s to an API token, it is answered 403 with a page of HTML; 0: never."""
    blocked: bool = False
    """Every call is answered 403 with a page of HTML."""
    unavailable_next: int = 0
    """So many calls from now on are answered 503."""
    closed: bool = False
    """The company's account is closed: 402."""
    delay_s: float = 0.0
    """Each call waits so long, in real seconds, before it is carried out."""

    # Reading and writing.
    omit_unset_fields: bool = False
    """A custom field without a value is left out, not null."""
    list_deleted: bool = False
    """Lists show deleted records, with `is_deleted`, until they are purged."""
    search_lag_s: float = 0.0
    """A new person or address is found by search only after so long, by the stand-in's clock."""
    cursor_lifetime_s: float = 0.0
    """A cursor is refused after so long; 0: never."""
    custom_field_cap: int = 0
    """No more custom fields than this can be made; 0: any number."""
    contact_sync: bool = False
    """`job_title` and its like exist. Without it, writing them is forbidden."""
    without_campaigns: bool = False
    """No add-on: `marketing_status` is neither shown nor set."""
    quiet_marketing_status: bool = False
    """A changed `marketing_status` neither moves `update_time` nor is told to webhooks."""

    # Webhooks.
    hold_webhooks: bool = False
    """Nothing is delivered while it is on."""
    lose_webhooks: bool = False
    duplicate_webhooks: bool = False
    reverse_webhooks: bool = False
    """What waits is sent newest first. With `hold_webhooks`, turn that off to send it."""
