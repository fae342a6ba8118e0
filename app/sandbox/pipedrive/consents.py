"""The marketing status: of an address, with the changes that Pipedrive allows; it ignores the others in silence.

Source: the documentation of campaigns in the API. It does not give the whole table of changes; `_ALLOWED` is the
strictest that its sentences leave.
"""

from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.records import Consent, Person

STATUSES = ("no_consent", "unsubscribed", "subscribed", "archived")
"""What the API takes; people in Pipedrive also see others, such as `bounced`."""
_ALLOWED = {
    ("no_consent", "subscribed"),
    ("no_consent", "unsubscribed"),
    ("subscribed", "unsubscribed"),
    ("subscribed", "archived"),
    ("archived", "subscribed"),
}


def status(company: Company, person: Person) -> str:
    """Of the person's primary address."""
    consent = company.consents.get((person.email or "").lower())
    return "no_consent" if consent is None else consent.status


def ask(company: Company, person: Person, wish: str) -> bool:
    """Change the status if that is allowed, and has not been done to this address before; whether it was changed."""
    step = (status(company, person), wish)
    if person.email is None or step not in _ALLOWED:
        return False
    consent = company.consents.setdefault(person.email.lower(), Consent("no_consent"))
    if step in consent.spent:
        return False
    consent.spent.add(step)
    consent.status = wish
    return True


def force(company: Company, person: Person, wish: str) -> bool:
    """What people in Pipedrive, and its own mail, may do: any status, any number of times."""
    if person.email is None or status(company, person) == wish:
        return False
    company.consents.setdefault(person.email.lower(), Consent("no_consent")).status = wish
    return True
