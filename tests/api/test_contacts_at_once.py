"""Many callers at one contact: each is answered as if it had been alone, just before or just after the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import httpx
import stamina
from structlog.testing import capture_logs

from tests.api.client import Api, said

ROUNDS = 40
NAMES = [
    {"email": "ada@example.com"},
    {"email": "ada@example.com", "user_id": "u1"},
    {"email": "ada@example.com", "anonymous_id": "cookie"},
    {"user_id": "u1", "anonymous_id": "cookie"},
]
"""Ways in which senders name one person; any two meet in some identity."""


async def test_whoever_changes_a_contact_while_it_is_erased_is_told_what_became_of_it(api: Api) -> None:
    random = Random(0)
    replies: list[httpx.Response] = []

    for _ in range(ROUNDS):
        made = await api.http.post("/v1/contacts", json={"email": "ada@example.com"})
        path = f"/v1/contacts/{made.json()['id']}"
        calls = [
            *(api.http.post("/v1/contacts", json={**name, "stage": "lead"}) for name in NAMES),
            *(api.http.patch(path, json={"properties": {"n": n}}) for n in range(2)),
            *(api.http.patch(path, json={"email": f"{n}@example.com"}) for n in range(2)),
            *(api.http.delete(path) for _ in range(2)),
        ]
        replies += [made, *await asyncio.gather(*random.sample(calls, len(calls)))]

    assert {200, 201, 204, 404} <= {reply.status_code for reply in replies}
    assert [] == [reply.text for reply in replies if reply.status_code not in (200, 201, 204, 404, 409)]


async def test_what_still_fails_at_the_last_attempt_says_when_to_come_back_and_the_log_names_nobody(api: Api) -> None:
    ada = await api.post("/v1/contacts", {"email": "ada@example.com"}, 201)
    path = f"/v1/contacts/{ada['id']}"
    csv = "email,stage\nada@example.com,lead\n"
    event = {"type": "email.unsubscribed", "contact": {"email": "ada@example.com"}}

    async with never_written(api):
        with stamina.set_testing(True, attempts=3), capture_logs() as logs:
            replies = [
                await api.http.post("/v1/contacts", json={"email": "ada@example.com", "stage": "lead"}),
                await api.http.patch(path, json={"stage": "lead"}),
                await api.http.delete(path),
                await api.http.post("/v1/contacts/import", content=csv),
                await api.http.post("/v1/events", json=event),
            ]

    assert ["unavailable"] * 5 == [said(reply, 503)["code"] for reply in replies]
    assert ["1"] * 5 == [reply.headers["retry-after"] for reply in replies]
    again, given_up = "what failed in passing is tried again", "a transaction was given up"
    assert [again, again, given_up] * 5 == [line["event"] for line in logs]
    assert {"ForeignKeyViolationError"} == {line["fault"] for line in logs}
    assert "ada@example.com" not in str(logs)


@asynccontextmanager
async def never_written(api: Api) -> AsyncIterator[None]:
    """Every write of a contact fails as if it were being erased."""
    await api.execute(
        """
        CREATE FUNCTION never_written() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE foreign_key_violation USING MESSAGE = coalesce(NEW.email, OLD.email);
        END $$;
        CREATE TRIGGER never_written BEFORE INSERT OR UPDATE OR DELETE ON contact
        FOR EACH ROW EXECUTE FUNCTION never_written();
        """
    )
    try:
        yield
    finally:
        await api.execute("DROP FUNCTION never_written CASCADE")
