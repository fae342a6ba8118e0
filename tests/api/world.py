"""What the tests of models and scores share: a model that counts, what happened to Ada, and what she is worth."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from app.engine.plan import Plans
from app.engine.sweep import sweep
from tests.api.client import Api, Json, event_rule, when
from tests.engine.worlds import NOON, set_clock

ADA = {"email": "ada@example.com"}
ALWAYS = {"name": "always", "kind": "profile", "points": 1}
SILENCE = {
    "name": "silent",
    "kind": "absence",
    "condition": when("event.type", "beginsWith", "email."),
    "points": -10,
    "after_days": 30,
}
IS_CUSTOMER = when("contact.stage", "=", "customer")
COLD_HOT = [{"name": "cold", "color": "#0000ff", "min": 0}, {"name": "hot", "color": "#ff0000", "min": 50}]
CLICK = event_rule("email.clicked", 5)


def happened(type_: str, days_ago: int = 0, **properties: Json) -> Json:
    at = (NOON - timedelta(days=days_ago)).isoformat()
    return {"id": str(uuid4()), "type": type_, "occurred_at": at, "contact": ADA, "properties": properties}


def unit(field: str, points: float, **bounds: Json) -> Json:
    return {"name": field, "kind": "profile", "points": points, "per_unit_of": {"field": field, **bounds}}


async def publish(api: Api, key: str, *rules: Json, **sheet: Json) -> None:
    """A published model that says this."""
    await api.post("/v1/models", {"key": key, "name": key, **sheet}, 201)
    for rule in rules:
        await api.post(f"/v1/models/{key}/rules", rule, 201)
    await again(api, key)


async def again(api: Api, key: str) -> None:
    """Publish the draft, and let whatever follows from that be done."""
    await api.publish(key)
    for job in reversed((await api.get("/v1/jobs"))["items"]):
        if job["status"] == "queued":
            assert "done" == (await api.work(job["id"]))["status"]


async def ada(api: Api, **fields: Json) -> str:
    reply = await api.http.post("/v1/contacts", json={**ADA, **fields})
    return str(reply.json()["id"])


async def explained(api: Api, model: str, email: str = "ada@example.com", **query: Any) -> Json:  # Any: as in Api.get
    """An explanation, whose contributions and cuts add up to what the rules come to, which is what is stored."""
    found = await api.get(f"/v1/contacts/{await api.id_of(email)}/scores/{model}/explanation", **query)
    if found["computed"] is not None:
        parts = [one["points"] for one in found["contributions"]] + [one["points"] for one in found["cuts"]]
        assert round(sum(parts), 2) == found["computed"]
    if not query:
        assert await api.score(email, model) == found["value"]
    return found


async def value(api: Api, model: str = "m", email: str = "ada@example.com") -> float | None:
    found: float | None = (await explained(api, model, email))["value"]
    return found


async def go_to(api: Api, days: int) -> None:
    """So many days after NOON, with everything that changes by itself changed."""
    set_clock(NOON + timedelta(days=days))
    await sweep(api.database, Plans())
