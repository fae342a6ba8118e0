"""Whatever somebody sends to the roots and fields, what is wrong with it is said, and nothing is a fault of ours."""

from typing import Any

from httpx import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.store.db import Database
from tests.graphql.test_edge import ODD
from tests.graphql.world import Lead, leads, model

SAID = st.one_of(
    ODD,
    st.sampled_from(
        ["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00", "2026-01-01", "model:x",
         "segment:a", "00000000-0000-0000-0000-000000000001", "WzFd", "WyJlbnRyeSIsIiIsIiIsIiJd", "a@x.co", "HARD"]
    ),
)  # fmt: skip
SOME = st.one_of(
    SAID,
    st.lists(SAID, max_size=3),
    st.dictionaries(
        st.sampled_from(["eq", "in", "gte", "lt", "contains", "beginsWith", "isNull", "any", "none", "kind", "value",
                         "state", "connection", "name", "number", "text", "instant", "boolean", "since", "until"]),
        SAID | st.lists(SAID, max_size=3),
        max_size=3,
    ),
)  # fmt: skip
FILTER = st.dictionaries(
    st.sampled_from(["emailAddress", "name", "tags", "emailQuality", "createdAt", "lastEventAt", "softBounces", "where",
                     "identity", "crmLink", "properties", "ids", "bands", "bouncedReason"]),
    SOME,
    max_size=3,
)  # fmt: skip
ROOTS = {
    "{ contacts(filter: $f, after: $t, orderBy: [{name: ASC}]) { totalCount totalCountIsExact nodes { id } } }": "f t",
    "{ scoreDistribution(model: $s, buckets: {from: $x, width: $y, count: $n}, filter: $f) { contacts } }": "s x y n f",
    "{ scoreMoves(model: $s, since: $d, until: $e) { contacts(after: $t, band: $s) { nodes { by } } } }": "s d e t",
    "{ eventCounts(groupBy: [TYPE], filter: {since: $d, until: $e, types: $l, contact: $i}) { count } }": "d e l i",
    "{ bounceReview(after: $t, filter: $f) { nodes { bounces { id } bouncePenalties { points } } } }": "t f",
    "{ suppressions(search: $t, after: $u, first: $m) { nodes { value } } jobs(after: $t) { nodes { id } } }": "t u m",
    "{ nodes(ids: $k) { id } segments(after: $t) { nodes { count { number } } } }": "k t",
    "{ contactsByIds(ids: $k) { id } contactsByEmails(emails: $q) { id } segment(key: $s) { id } }": "k q s",
    "{ contacts { nodes { score(model: $s, asOf: $d) { value } explanation(model: $s, asOf: $d) { value } } } }": "s d",
    "{ contacts { nodes { history(model: $s, after: $t) { nodes { at } } forecast(model: $s, first: $m) { value }"
    " timeline(after: $t, last: $n) { nodes { at } } property(name: $s) { text } } } }": "s t m n",
}
TYPES = {
    "f": ("ContactFilter", FILTER), "t": ("String", SAID), "u": ("String", SAID), "s": ("String!", SAID),
    "x": ("Float!", SAID), "y": ("Float!", SAID), "n": ("Int!", SAID), "m": ("Int!", SAID), "d": ("DateTime!", SAID),
    "e": ("DateTime", SAID), "l": ("[String!]", st.lists(SAID, max_size=3)), "i": ("ID", SAID),
    "k": ("[ID!]!", st.lists(SAID, max_size=3)), "q": ("[String!]!", st.lists(SAID, max_size=3)),
}  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(root=st.sampled_from(list(ROOTS)), said=st.data())
async def test_nothing_that_is_sent_makes_an_error_of_ours(
    database: Database, client: AsyncClient, root: str, said: st.DataObject
) -> None:
    async with database.hot.acquire() as db:
        if not await db.fetchval("SELECT count(*) FROM contact"):
            await model(database, "engagement")
            await leads(database, Lead("a@x.co", scores={"engagement": 5}, bounced=True, bounce_status="hard"))
    names = ROOTS[root].split()
    variables: dict[str, Any] = {name: said.draw(TYPES[name][1]) for name in names}
    variables |= {"s": "engagement"} if "s" in names and said.draw(st.booleans()) else {}
    declared = ", ".join(f"${name}: {TYPES[name][0]}" for name in names)

    with capture_logs() as logs:
        reply = await client.post("/graphql", json={"query": f"query({declared}) {root}", "variables": variables})

    assert reply.status_code in {200, 400, 422}
    assert logs == []
    assert "internal error" not in reply.text
