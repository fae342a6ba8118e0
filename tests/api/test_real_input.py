"""The main job, from a CSV of leads to who is hot and who must not be mailed, beside plain Python on the same file."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.api.client import Api, Json, event_rule, profile_rule, said, when

TINY = Path(__file__).parent.parent / "data" / "leads.csv"
REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "leads-train.csv"

KEPT = {
    "Lead Number": "user_id",
    "Do Not Email": "opted_out",
    "TotalVisits": "properties.visits:number",
    "Total Time Spent on Website": "properties.seconds:number",
    "Lead Origin": "properties.origin:text",
    "Lead Source": "properties.source:text",
    "Specialization": "properties.specialization:text",
    "What is your current occupation": "properties.occupation:text",
    "Country": "properties.country:text",
}
"""Every other column is left out: some are written after the outcome is known."""

EVENTS = {
    "Email Opened": "email.opened",
    "Email Link Clicked": "email.clicked",
    "Email Bounced": "email.bounced",
    "Unsubscribed": "email.unsubscribed",
    "Email Marked Spam": "email.complained",
    "Resubscribed to emails": "email.resubscribed",
    "Form Submitted on Website": "form.submitted",
    "SMS Sent": "crm.activity",
    "Had a Phone Conversation": "crm.activity",
}
"""'Last Activity' → the event it was."""

FIT = [
    profile_rule("contact.properties.occupation", "=", "working professional", 40),
    profile_rule("contact.properties.visits", ">=", 5, 10),
    profile_rule("contact.properties.seconds", "between", "1000,1500", 12.5),
    profile_rule("contact.properties.origin", "=", "Lead Add Form", 30),
    # "Select" is what the form's drop-down says when nobody chose; the importer takes it as text like any other.
    {
        **profile_rule("", "", "", 5),
        "name": "said what they want",
        "condition": {
            "combinator": "and",
            "rules": [
                {"field": "contact.properties.specialization", "operator": "notNull", "value": None},
                {"field": "contact.properties.specialization", "operator": "!=", "value": "Select"},
            ],
        },
    },
    profile_rule("contact.opted_out", "=", True, -20),
]
ENGAGEMENT = [
    event_rule("page.viewed", 1, max_points=10),
    event_rule("email.opened", 5, window_days=30),
    event_rule("email.clicked", 8),
    event_rule("form.submitted", 20),
    {
        **event_rule("crm.activity", 3),
        "condition": {
            "combinator": "and",
            "rules": [
                *when("event.type", "=", "crm.activity")["rules"],
                *when("event.properties.activity", "contains", "sms")["rules"],
            ],
        },
    },
    profile_rule("contact.opted_out", "=", True, -50),
    profile_rule("contact.bounce_status", "=", "hard", -1000),
]
BANDS = [
    {"name": "cold", "color": "#5b8def", "min": None},
    {"name": "warm", "color": "#e8a33d", "min": 8},
    {"name": "hot", "color": "#d64545", "min": 15},
]


@dataclass(frozen=True)
class Expected:
    fit: float
    engagement: float
    opted_out: bool
    bounced: bool


def judge(row: dict[str, str]) -> Expected:
    """What a lead should score, from the cells alone."""
    visits, seconds, activity = (
        float(row["TotalVisits"] or -1),
        float(row["Total Time Spent on Website"]),
        row["Last Activity"],
    )
    opted_out = row["Do Not Email"] == "Yes"
    if activity in ("Unsubscribed", "Email Marked Spam"):
        opted_out = True
    if activity == "Resubscribed to emails":
        opted_out = False
    fit = (
        40.0 * (row["What is your current occupation"] == "Working Professional")
        + 10 * (visits >= 5)
        + 12.5 * (1000 <= seconds <= 1500)
        + 30 * (row["Lead Origin"] == "Lead Add Form")
        + 5 * (row["Specialization"] not in ("", "Select"))
        - 20 * opted_out
    )
    engagement = (
        min(max(int(visits), 0), 10)
        + {"Email Opened": 5, "Email Link Clicked": 8, "Form Submitted on Website": 20, "SMS Sent": 3}.get(activity, 0)
        - 50 * opted_out
        - 1000 * (activity == "Email Bounced")
    )
    return Expected(fit, engagement, opted_out, activity == "Email Bounced")


def history(row: dict[str, str]) -> Iterator[Json]:
    """The events that the cells tell of."""
    lead = row["Lead Number"]
    person = {"user_id": lead}
    for number in range(int(float(row["TotalVisits"] or 0))):
        yield {"id": f"{lead}-visit-{number}", "type": "page.viewed", "contact": person, "source": "website"}
    activity = row["Last Activity"]
    if activity in EVENTS:
        properties = {"bounce": "hard"} if activity == "Email Bounced" else {"activity": activity}
        yield {"id": f"{lead}-last", "type": EVENTS[activity], "contact": person, "properties": properties}


async def ask(api: Api, query: str, **variables: Any) -> Json:  # Any: JSON
    answer = said(await api.http.post("/graphql", json={"query": query, "variables": variables}), 200)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


HOTTEST = """
query ($after: String) {
  contacts(
    first: 50, after: $after, filter: {score: {model: "engagement", gte: 15, lte: 100}, optedOut: false},
    orderBy: [{score: {model: "engagement", direction: DESC}}]
  ) {
    totalCount
    pageInfo { hasNextPage endCursor }
    nodes {
      identities { kind value }
      engagement: score(model: "engagement") { value band { name color } contributions { rule { name } count points } }
      fit: score(model: "fit") { value }
    }
  }
}
"""
UNREACHABLE = """
query ($after: String) {
  contacts(first: 50, after: $after, filter: {bounceStatus: HARD, score: {model: "engagement", lt: 0}}) {
    totalCount
    pageInfo { hasNextPage endCursor }
    nodes { bounced bounceStatus optedOut identities { kind value } score(model: "engagement") { value } }
  }
}
"""


async def everybody(api: Api, query: str) -> list[Json]:
    found: list[Json] = []
    after = None
    while True:
        page = (await ask(api, query, after=after))["contacts"]
        found += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            assert page["totalCount"] == len(found)
            return found
        after = page["pageInfo"]["endCursor"]


def lead(node: Json) -> str:
    [value] = [one["value"] for one in node["identities"] if one["kind"] == "user_id"]
    return str(value)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(TINY, id="tiny"),
        pytest.param(REAL, id="real", marks=pytest.mark.skipif(not REAL.exists(), reason="not here")),
    ],
)
async def test_a_file_of_leads_becomes_hot_leads_and_dead_addresses(api: Api, file: Path) -> None:
    content = file.read_bytes()  # noqa: ASYNC240 - nobody waits meanwhile
    rows = list(csv.DictReader(content.decode().splitlines(keepends=True)))
    expected = {row["Lead Number"]: judge(row) for row in rows}
    mapping = {column: KEPT.get(column) for column in rows[0]}

    # The file, as it is; then again, which changes nothing.
    for report in [(len(rows), 0, 0), (0, len(rows), 0)]:
        reply = await api.http.post(
            "/v1/contacts/import",
            files={"file": (file.name, content, "text/csv")},
            data={"mapping": orjson.dumps(mapping).decode()},
            timeout=60,
        )
        imported = said(reply, 200)
        assert report == (imported["created"], imported["updated"], imported["failed"]), imported["errors"]

    # One model before the events, one after them: both ways come to the same.
    for key, rules in [("fit", FIT), ("engagement", ENGAGEMENT)]:
        await api.post("/v1/models", {"key": key, "name": key.title(), "bands": BANDS}, 201)
        for rule in rules:
            await api.post(f"/v1/models/{key}/rules", rule, 201)
    assert "done" == (await api.publish("fit"))["status"]
    events = [event for row in rows for event in history(row)]
    for start in range(0, len(events), 5_000):
        batch = events[start : start + 5_000]
        assert len(batch) == (await api.send(*batch))["accepted"]
    assert "done" == (await api.publish("engagement"))["status"]
    assert 0 == (await api.send(*events[:100]))["accepted"]

    # Every score, flag by flag and point by point.
    async with api.database.hot.acquire() as db:
        stored = await db.fetch(
            """
            SELECT i.value AS lead, c.opted_out, c.bounced, f.value AS fit, e.value AS engagement
            FROM identity i JOIN contact c ON c.id = i.contact_id
            LEFT JOIN score f ON f.contact_id = c.id AND f.model_id = (SELECT id FROM scoring_model WHERE key = 'fit')
            LEFT JOIN score e ON e.contact_id = c.id
                AND e.model_id = (SELECT id FROM scoring_model WHERE key = 'engagement')
            """
        )
    assert expected == {
        row["lead"]: Expected(float(row["fit"]), float(row["engagement"]), row["opted_out"], row["bounced"])
        for row in stored
    }

    # The hottest leads, by GraphQL.
    hottest = await everybody(api, HOTTEST)
    hot = {name: one for name, one in expected.items() if 15 <= one.engagement <= 100 and not one.opted_out}
    assert hot.keys() == {lead(node) for node in hottest}
    assert sorted((one.engagement for one in hot.values()), reverse=True) == [
        node["engagement"]["value"] for node in hottest
    ]
    for node in hottest:
        assert {"name": "hot", "color": "#d64545"} == node["engagement"]["band"]
        assert expected[lead(node)].fit == node["fit"]["value"]
        assert node["engagement"]["value"] == sum(one["points"] for one in node["engagement"]["contributions"])

    # Every hard bounce with a negative score, by GraphQL.
    unreachable = await everybody(api, UNREACHABLE)
    dead = {name: one for name, one in expected.items() if one.bounced and one.engagement < 0}
    assert {name: one.engagement for name, one in dead.items()} == {
        lead(node): node["score"]["value"] for node in unreachable
    }
    assert all((node["bounced"], node["bounceStatus"]) == (True, "HARD") for node in unreachable)
    assert len(unreachable) == Counter(row["Last Activity"] for row in rows)["Email Bounced"] > 0
    assert hot
