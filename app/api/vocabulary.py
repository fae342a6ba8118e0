"""The event types that mean something to the product itself, as the documentation shows them."""

TYPES: dict[str, tuple[str, str]] = {
    "email.delivered": ("a message was taken by the receiving server", "`message_id`, `campaign`"),
    "email.opened": ("a message was opened", "`message_id`, `campaign`, `subject`"),
    "email.clicked": ("a link in a message was followed", "`message_id`, `campaign`, `url`"),
    "email.bounced": (
        "a message came back: `hard` sets *bounced*, `soft` counts",
        (
            "`bounce` (`hard` or `soft`, required), `status` (RFC 3463), `code`, `reason`, `diagnostic`, `message_id` "
            "(soft bounces of one message count once), `suppressed` (true: it was not even tried, and does not count)"
        ),
    ),
    "email.unsubscribed": ("the person opted out: sets *opted_out*", "`campaign`, `reason`"),
    "email.resubscribed": ("the person opted in again: clears *opted_out*", "`campaign`"),
    "email.complained": ("the person reported spam: sets *opted_out*", "`campaign`"),
    "page.viewed": ("a page of your site was seen", "`url`, `path`, `title`, `referrer`"),
    "form.submitted": ("a form was sent", "`form`, and its fields"),
    "contact.updated": (
        "what it is: `name` (or `firstName`, `lastName`), `email`, else properties; the latest to occur holds",
        '`traits`, an object such as `{"name": "Ada", "plan": "pro"}`',
    ),
    "contact.email_changed": (
        "the contact has a new address; if that is another contact's, `/v1/contacts/duplicates` tells of both",
        "`old_email`, `new_email`",
    ),
    "contact.tag_added": ("the contact has a tag more", "`tag`"),
    "contact.tag_removed": ("the contact has a tag less", "`tag`"),
    "contact.aliased": (
        "an older `user_id` or `anonymous_id` of the contact: whoever has it becomes part of it",
        "`previous_id`",
    ),
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
