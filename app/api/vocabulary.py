"""The event types that mean something to the product itself, as the documentation shows them."""

TYPES: dict[str, tuple[str, str]] = {
    "email.delivered": ("a message was taken by the receiving server", "`message_id`, `campaign`"),
    "email.opened": ("a message was opened", "`message_id`, `campaign`, `subject`"),
    "email.clicked": ("a link in a message was followed", "`message_id`, `campaign`, `url`"),
    "email.bounced": (
        "a message came back: `hard` sets *bounced*, `soft` counts",
        "`bounce` (`hard` or `soft`, required), `code`, `reason`",
    ),
    "email.unsubscribed": ("the person opted out: sets *opted_out*", "`campaign`, `reason`"),
    "email.resubscribed": ("the person opted in again: clears *opted_out*", "`campaign`"),
    "email.complained": ("the person reported spam: sets *opted_out*", "`campaign`"),
    "page.viewed": ("a page of your site was seen", "`url`, `path`, `title`, `referrer`"),
    "form.submitted": ("a form was sent", "`form`, and its fields"),
    "crm.activity": (
        "somebody in sales did something with them",
        "`activity` (its type in the CRM), `subject`, `outcome`",
    ),
}
"""Type → what it means, and the properties it usually carries. Any other dotted name is one of your own."""

VOCABULARY = "\n".join(
    [
        "| type | meaning | properties |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {meaning} | {carries} |" for name, (meaning, carries) in TYPES.items()),
        "| any dotted name | an event of your own, such as `trial.started` | whatever you like |",
    ]
)
