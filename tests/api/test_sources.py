from typing import Any
from uuid import UUID, uuid4

import pytest

from app import clock
from app.sources import inbox, registry
from app.sources.kinds import Entry, Kind, kinds
from tests.api.client import BASE, Api, Json, pointers
from tests.sources.senders import SVIX, VAULT, keep, read_all, said, source, svix

NOWHERE = "018f0000-0000-7000-8000-000000000000"
MAIL = {
    "sendgrid", "mailgun", "postmark", "ses", "brevo", "mailjet", "mailchimp", "mandrill", "activecampaign", "hubspot",
    "resend", "sparkpost", "postal",
}  # fmt: skip
KEYED = {"segment", "rudderstack", "snippet", "cloudevents"}


async def test_the_kinds_are_listed_with_what_each_needs(api: Api) -> None:
    found = {one["kind"]: one for one in await api.get("/v1/source-kinds")}

    assert MAIL | KEYED == found.keys()
    assert {"url"} == {found[kind]["entry"] for kind in MAIL}
    assert {"write_key"} == {found[kind]["entry"] for kind in KEYED}
    assert all(found[kind]["secret"] for kind in MAIL)
    assert all(found[kind]["secret"] is None and not found[kind]["needs_secret"] for kind in KEYED)
    assert {True} == {found[kind]["needs_secret"] for kind in ("sendgrid", "mailgun", "mandrill", "resend", "postal")}


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.key)
async def test_each_kind_gets_an_address_or_a_write_key(api: Api, kind: Kind) -> None:
    secret = {"secret": "s3cret words"} if kind.needs_secret else {}
    made = await api.post("/v1/sources", {"kind": kind.key, "name": "mine", **secret}, 201)
    read = await api.get(f"/v1/sources/{made['id']}")

    key = made.pop("write_key")
    assert made == read
    assert (kind.key, "mine", True, True) == tuple(made[name] for name in ("kind", "name", "verify", "enabled"))
    assert [0] * 6 == [made[name] for name in ("received", "unread", "accepted", "duplicates", "rejected", "refused")]
    if kind.entry is Entry.URL:
        assert (None, f"{BASE}/v1/webhooks/{made['id']}", int(kind.needs_secret)) == (key, made["url"], made["secrets"])
        assert 200 == (await api.http.get(made["url"])).status_code
    else:
        assert (None, f"{key[:7]}…") == (made["url"], made["key_hint"])
        found = await registry.find_by_write_key(api.database, key)
        assert found is not None
        assert made["id"] == str(found.id)


@pytest.mark.parametrize(
    ("given", "where", "says"),
    [
        ({"kind": "pigeon"}, ["/kind"], "sendgrid, mailgun"),
        ({"kind": "mailgun"}, ["/secret"], "Mailgun signs what it sends: give the HTTP webhook signing key"),
        ({"kind": "segment", "secret": "x"}, ["/secret"], "have a write key"),
        ({"kind": "brevo", "name": ""}, ["/name"], "at least 1"),
        ({"kind": "brevo", "name": "a\0b"}, ["/name"], "pattern"),
        ({"kind": "brevo", "secret": ""}, ["/secret"], "at least 1"),
        ({"kind": "brevo", "colour": 1}, ["/colour"], "not permitted"),
        ({}, ["/kind"], "required"),
    ],
)
async def test_what_makes_no_source_is_answered_with_why(api: Api, given: Json, where: list[str], says: str) -> None:
    problem = await api.post("/v1/sources", {"name": "mine", **given}, 422)

    assert where == pointers(problem)
    assert says in problem["errors"][0]["detail"]


async def test_a_name_is_one_source_for_ever(api: Api) -> None:
    made = await api.post("/v1/sources", {"kind": "brevo", "name": "mine"}, 201)
    problem = await api.post("/v1/sources", {"kind": "mailjet", "name": "mine"}, 409)
    assert "/name" == problem["pointer"]

    await api.patch(f"/v1/sources/{made['id']}", {"name": "another"}, 422)


async def test_sources_are_listed_by_name_a_page_at_a_time(api: Api) -> None:
    for name in ("b", "c", "a"):
        await source(api.database, "brevo", name)

    first = await api.get("/v1/sources", limit=2)
    then = await api.get("/v1/sources", limit=2, cursor=first["next_cursor"])

    assert ["a", "b", "c"] == [one["name"] for page in (first, then) for one in page["items"]]
    assert then["next_cursor"] is None
    await api.get("/v1/sources", 422, cursor="?")


async def test_secrets_and_write_keys_are_nowhere_to_be_read(api: Api) -> None:
    made = await api.post("/v1/sources", {"kind": "resend", "name": "a", "secret": SVIX}, 201)
    await api.post(f"/v1/sources/{made['id']}/rotate", {"secret": "another secret"})
    key = (await api.post("/v1/sources", {"kind": "segment", "name": "b"}, 201))["write_key"]
    stored = await api.fetchval("SELECT string_agg(to_jsonb(s)::text, '') FROM source s")
    shown = str(await api.get("/v1/sources"))

    for secret in (SVIX, "another secret", key):
        assert secret not in shown
        assert secret not in stored
        assert secret.encode().hex() not in stored
    assert len(key) > 30


async def test_the_secret_before_holds_until_the_next_rotation(api: Api) -> None:
    first, second, third = (f"{SVIX[:-4]}{end}" for end in ("AAAA", "BBBB", "CCCC"))
    made = await api.post("/v1/sources", {"kind": "resend", "name": "a", "secret": first}, 201)

    async def rotate(**given: Any) -> list[str]:  # Any: JSON
        changed = await api.post(f"/v1/sources/{made['id']}/rotate", given)
        sealed = await api.fetchval("SELECT secrets FROM source")
        assert changed["secrets"] == len(sealed)
        return [VAULT.open(one).decode() for one in sealed]

    assert [second, first] == await rotate(secret=second)
    body = b'{"type":"email.sent","data":{}}'
    for secret, status in ((first, 200), (second, 200), (third, 401)):
        reply = await api.http.post(made["url"], content=body, headers=svix(body, secret))
        assert status == reply.status_code, reply.text
    assert [third, second] == await rotate(secret=third)
    assert [first] == await rotate(secret=first, keep_old=False)
    problem = await api.post(f"/v1/sources/{made['id']}/rotate", {}, 422)
    assert ["/secret"] == pointers(problem)


async def test_the_write_key_before_holds_until_the_next_rotation(api: Api) -> None:
    made = await api.post("/v1/sources", {"kind": "snippet", "name": "a"}, 201)
    rotated = [await api.post(f"/v1/sources/{made['id']}/rotate", {}) for _ in range(2)]
    ended = await api.post(f"/v1/sources/{made['id']}/rotate", {"keep_old": False})

    keys = [one["write_key"] for one in (made, *rotated, ended)]
    assert 4 == len(set(keys))
    found = [await registry.find_by_write_key(api.database, key) for key in keys]
    assert [False, False, False, True] == [one is not None for one in found]
    problem = await api.post(f"/v1/sources/{made['id']}/rotate", {"secret": "x"}, 422)
    assert ["/secret"] == pointers(problem)


async def test_verifying_cannot_be_switched_on_without_a_secret(api: Api) -> None:
    made = await api.post("/v1/sources", {"kind": "mailgun", "name": "a", "verify": False}, 201)
    path = f"/v1/sources/{made['id']}"

    problem = await api.patch(path, {"verify": True}, 422)
    assert ["/secret"] == pointers(problem)
    await api.post(f"{path}/rotate", {"secret": "x"})
    changed = await api.patch(path, {"verify": True})
    assert (True, True) == (changed["verify"], changed["enabled"])


async def test_the_counters_show_what_waits_and_what_became_of_the_rest(api: Api) -> None:
    mail = await source(api.database)
    await keep(api.database, mail, [said("open", "ana@example.com", "1"), 1])
    await read_all(api.database)
    before = await api.get(f"/v1/sources/{mail.id}")
    await keep(api.database, mail, [said("open", "ana@example.com", "1")])
    after = await api.get(f"/v1/sources/{mail.id}")

    def counts(one: Json) -> tuple[int, ...]:
        return tuple(one[name] for name in ("received", "unread", "accepted", "duplicates", "rejected"))

    assert (1, 0, 1, 0, 1) == counts(before)
    assert (2, 1, 1, 0, 1) == counts(after)
    assert before["last_seen_at"] < after["last_seen_at"]
    await read_all(api.database)
    assert (2, 0, 1, 1, 1) == counts(await api.get(f"/v1/sources/{mail.id}"))


async def test_deliveries_are_listed_with_their_faults_and_shown_whole(api: Api) -> None:
    mail = await source(api.database)
    good, bad, raw = await keep(api.database, mail, [said("open", "ana@example.com", "1")], [1, 2], b"\xff")
    await read_all(api.database)
    path = f"/v1/sources/{mail.id}/deliveries"

    first = await api.get(path, limit=2)
    then = await api.get(path, limit=2, cursor=first["next_cursor"])
    assert [str(raw), str(bad), str(good)] == [one["id"] for page in (first, then) for one in page["items"]]
    faulty = await api.get(path, only_faulty=True)
    assert [str(raw), str(bad)] == [one["id"] for one in faulty["items"]]
    assert ["/0", "/1"] == [fault["pointer"] for fault in faulty["items"][1]["faults"]]
    whole = await api.get(f"{path}/{raw}")
    assert ("�", 1, 1) == (whole["body"], whole["bytes"], whole["rejected"])
    await api.get(path, 422, cursor="?")
    await api.get(f"{path}/{uuid4()}", 404)
    other = await source(api.database, name="other")
    await api.get(f"/v1/sources/{other.id}/deliveries/{raw}", 404)


async def test_a_replay_is_a_job_that_says_what_it_gained(api: Api) -> None:
    mail = await source(api.database, "postmark")
    opened = {"event": "opened", "email": "ana@example.com", "message-id": "<1@x>", "ts_event": 1_714_979_289}
    await keep(api.database, mail, opened, b"nonsense")
    await read_all(api.database)
    await api.execute("UPDATE source SET kind = 'brevo'")  # as if its reader had been mended

    job = await api.work((await api.post(f"/v1/sources/{mail.id}/replay", {"only_faulty": True}, 202))["job_id"])

    assert ("done", {"calls": 2, "accepted": 1, "rejected": 1}) == (job["status"], job["result"])
    assert (2, 2) == (job["done"], job["total"])
    await api.post(f"/v1/sources/{mail.id}/replay", {"since": "yesterday"}, 422)
    later = {"since": "2999-01-01T00:00:00Z"}
    job = await api.work((await api.post(f"/v1/sources/{mail.id}/replay", later, 202))["job_id"])
    assert 0 == job["result"]["calls"]


async def test_a_source_that_is_deleted_leaves_its_events(api: Api) -> None:
    mail = await source(api.database, name="gone")
    await keep(api.database, mail, [said("open", "ana@example.com", "1")])
    await read_all(api.database)

    await api.delete(f"/v1/sources/{mail.id}")
    await inbox.forget(api.database, clock.now())

    assert ["gone"] == [one["source"] for one in (await api.get("/v1/events"))["items"]]
    assert 0 == await api.fetchval("SELECT count(*) FROM delivery")
    await api.get(f"/v1/webhooks/{mail.id}", 404)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"enabled": False}),
        ("DELETE", "", None),
        ("POST", "/rotate", {"secret": "x"}),
        ("POST", "/replay", {}),
        ("GET", "/deliveries", None),
        ("GET", f"/deliveries/{NOWHERE}", None),
    ],
)
async def test_a_source_that_is_not_there_is_not_found(api: Api, method: str, path: str, body: Json) -> None:
    reply = await api.http.request(method, f"/v1/sources/{UUID(NOWHERE)}{path}", json=body)

    assert 404 == reply.status_code
