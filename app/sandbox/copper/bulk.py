"""Bulk calls (beta): up to ten records, each done or failed by itself; the answer is 200 whatever became of them.

Source: "Bulk Create People", "Bulk Update People".
"""

from collections.abc import Callable

from app.sandbox.copper.account import Account
from app.sandbox.copper.wire import Invalid, Json, Problem, Refused, unrecognized

MOST = 10


def each(account: Account, body: Json, name: str, act: Callable[[Json], Json]) -> list[Json]:
    """What became of each item of the list `name`, in their order. Raises Refused (422)."""
    items = body.get(name)
    problems = unrecognized(body, (name,))
    if not isinstance(items, list):
        raise Invalid(*problems, Problem(name, "can't be blank", "blank"))
    if problems:
        raise Invalid(*problems)
    if len(items) > MOST:
        message = f"Request size too large, limit is {MOST}"
        raise Refused(422, message, {"error": message})
    return [_one(account, item, act) for item in items]


def _one(account: Account, item: object, act: Callable[[Json], Json]) -> Json:
    body: Json = item if isinstance(item, dict) else {}
    try:
        return act(body)
    except Invalid as fault:
        problems = fault.problems
    except Refused:
        problems = (Problem("id", "is not known", "not_found"),)
    if account.faults.vague_bulk_errors:
        problems = (Problem("base", ""),)
    message: dict[str, list[Json]] = {}
    for one in problems:
        message.setdefault(one.attribute, []).append({"error": one.code})
    return {"success": False, "message": message, **({"id": body["id"]} if "id" in body else {})}
