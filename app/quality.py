"""What an address shows by itself: that it is a role's, or that it was made to be thrown away. Nothing is refused."""

from enum import StrEnum
from functools import cache


class Quality(StrEnum):
    ROLE = "role"
    """Read by whoever holds a post, and by several: nobody there asked for mail."""
    DISPOSABLE = "disposable"
    """Of a service that lends addresses for minutes."""


# The names of RFC 2142, and others that organisations use for a post or a department.
_ROLES = frozenset({
    "abuse", "ftp", "hostmaster", "info", "marketing", "news", "noc", "postmaster", "root", "sales", "security",
    "support", "usenet", "uucp", "webmaster", "www", "accounting", "accounts", "admin", "administrator",
    "billing", "careers", "compliance", "contact", "customerservice", "dev", "devops", "dns", "donotreply",
    "enquiries", "feedback", "finance", "hello", "help", "helpdesk", "hr", "inquiries", "invoice", "invoices",
    "it", "jobs", "legal", "mail", "mailer-daemon", "media", "newsletter", "no-reply", "nobody", "noreply",
    "office", "orders", "payroll", "press", "privacy", "procurement", "purchasing", "recruiting", "recruitment",
    "reception", "registrar", "sysadmin", "team", "tech", "undisclosed-recipients", "unsubscribe", "webadmin",
})  # fmt: skip


def of(address: str | None) -> list[Quality]:
    """What a normal address shows. A part after `+` is left out of its name."""
    if address is None:
        return []
    local, _, domain = address.rpartition("@")
    name = local.partition("+")[0]
    found = [Quality.ROLE] if name in _ROLES or name.endswith("-request") else []
    if not _disposable().isdisjoint(domains(domain)):
        found.append(Quality.DISPOSABLE)
    return found


def domains(domain: str) -> list[str]:
    """A domain and those above it, but for the topmost: a.b.example → a.b.example, b.example."""
    labels = domain.split(".")
    return [".".join(labels[at:]) for at in range(max(len(labels) - 1, 1))]


@cache
def _disposable() -> frozenset[str]:
    """Loaded when first asked: ten thousand names."""
    from disposable_email_domains import blocklist

    return frozenset(blocklist)
