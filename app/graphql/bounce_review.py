"""The clean-up list: contacts whose address bounced hard, the latest first."""

from app.graphql.contacts import ContactConnection, page_of, wanted_of
from app.graphql.context import Info
from app.graphql.filter_inputs import FilterArgument
from app.graphql.limits import page_size
from app.graphql.orders import Order
from app.graphql.relay import After, Before, First, Last
from app.store.contact_filter import Filter
from app.store.contact_pages import By, Key

_LATEST = Order((Key(By.BOUNCED, descending=True),), "bouncedAt:desc")


async def bounce_review(
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter: FilterArgument = None,  # noqa: A002 - its name in the schema
) -> ContactConnection:
    """By the partial index on suppressed contacts. Raises InvalidInput for what makes no sense."""
    kept, _ = await wanted_of(info, filter)
    wanted = Filter(bounced=True, bounce_status="hard", every=(kept,))
    return await page_of(info, wanted, _LATEST, page_size(first, last), (after, before))
