"""E-mail providers: what each one's webhook says, in one vocabulary. Knows nothing of contacts, scores or database."""

from app.esp import (
    activecampaign,
    brevo,
    hubspot,
    mailchimp,
    mailgun,
    mailjet,
    mandrill,
    postal,
    postmark,
    resend,
    sendgrid,
    ses,
    sparkpost,
)
from app.esp.shapes import Provider

_MODULES = (
    sendgrid,
    mailgun,
    postmark,
    ses,
    brevo,
    mailjet,
    mailchimp,
    mandrill,
    activecampaign,
    hubspot,
    resend,
    sparkpost,
    postal,
)


def providers() -> dict[str, Provider]:
    """Every provider that is read, by its kind."""
    return {module.PROVIDER.kind: module.PROVIDER for module in _MODULES}
