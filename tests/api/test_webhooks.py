import asyncio
import base64
import gzip
import zlib
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import clock
from app.main import build
from app.settings import Settings
from app.sources.kinds import kinds
from app.store.db import plain_url
from tests.api.client import BASE, Api, event_rule, said
from tests.api.conftest import ENCRYPTION_KEY
from tests.sources.senders import SVIX, read_all, source, svix
from tests.sources.senders import said as sendgrid

NOTHING = b'{"type":"email.sent","data":{}}'


async def made(api: Api, kind: str, **given: object) -> str:
    """A new source's address."""
    return str((await api.post("/v1/sources", {"kind": kind, "name": kind, **given}, 201))["url"])


async def refusals(api: Api) -> tuple[int, str]:
    """How many calls were refused, and why the last one was."""
    async with api.database.hot.acquire() as db:
        row = await db.fetchrow("SELECT refused, refused_because FROM source")
    assert row is not None
    assert 0 == await api.fetchval("SELECT count(*) FROM delivery"), "nothing is kept of what is refused"
    return row[0], row[1]


async def test_a_call_is_stored_when_it_is_answered_and_read_afterwards(api: Api) -> None:
    await api.model("m", event_rule("email.opened", 7))
    url = await made(api, "sendgrid", verify=False)

    reply = await api.http.post(url, json=[sendgrid("open", "ana@example.com", "1")])
    assert (200, {"status": "ok"}) == (reply.status_code, reply.json())
    assert 1 == await api.fetchval("SELECT count(*) FROM delivery WHERE read_at IS NULL")
    assert 0 == await api.fetchval("SELECT count(*) FROM event")

    await read_all(api.database)
    assert 7 == await api.score("ana@example.com", "m")


async def test_a_worker_reads_it_by_itself(working: Api) -> None:
    url = await made(working, "sendgrid", verify=False)
    await working.http.post(url, json=[sendgrid("open", "ana@example.com", "1")])

    for _ in range(500):
        found = (await working.get("/v1/events"))["items"]
        if found:
            break
        await asyncio.sleep(0.01)
    assert ["email.opened"] == [one["type"] for one in found]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_provider_that_only_looks_is_told_that_somebody_is_there(api: Api, method: str) -> None:
    url = await made(api, "mailchimp", secret="x")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url=BASE) as http:
        assert 200 == (await http.request(method, url)).status_code
        assert 404 == (await http.request(method, f"/v1/webhooks/{uuid4()}")).status_code


@pytest.mark.parametrize(
    "name",
    ["x", "018f0000-0000-7000-8000-000000000000", "%00", "🙈", "018f0000-0000-7000-8000-00000000000g", "a" * 5000],
)
async def test_nobody_is_at_any_other_address(api: Api, name: str) -> None:
    assert 404 == (await api.http.post(f"/v1/webhooks/{name}", content=b"[]")).status_code


async def test_a_source_with_a_write_key_has_no_address(api: Api) -> None:
    segment = await source(api.database, "segment")

    assert 404 == (await api.http.post(f"/v1/webhooks/{segment.id}", content=b"[]")).status_code


async def test_what_is_signed_is_taken_and_what_is_forged_is_refused_and_counted(api: Api) -> None:
    url = await made(api, "resend", secret=SVIX)
    forged = [
        ({}, "svix-id is missing"),
        (svix(NOTHING + b" "), "svix-signature fits none of the source's secrets"),
        (svix(NOTHING, SVIX[:-4] + "AAAA"), "svix-signature fits none"),
        (svix(NOTHING, at=clock.now() - timedelta(minutes=10)), "too old"),
    ]
    for number, (headers, says) in enumerate(forged, 1):
        problem = said(await api.http.post(url, content=NOTHING, headers=headers), 401)
        assert "forged" == problem["code"]
        count, because = await refusals(api)
        assert number == count
        assert says in problem["detail"]
        assert says in because

    assert 200 == (await api.http.post(url, content=NOTHING, headers=svix(NOTHING))).status_code
    shown = (await api.get("/v1/sources"))["items"][0]
    assert (4, 1) == (shown["refused"], shown["received"])


async def test_unsigned_calls_may_be_asked_for_a_password(api: Api) -> None:
    url = await made(api, "brevo", secret="open sesame")

    def basic(said: bytes) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(said).decode()}

    for headers in ({}, basic(b"open sesame:"), basic(b"x:open"), basic(b"\xff"), {"Authorization": "Basic ="}):
        assert 401 == (await api.http.post(url, content=b"{}", headers=headers)).status_code, headers
    assert "password" in (await refusals(api))[1]
    assert 200 == (await api.http.post(url, content=b"{}", headers=basic(b"any:open sesame"))).status_code
    assert 0 == await api.fetchval("SELECT count(*) FROM delivery WHERE headers::text LIKE '%uthorization%'")


async def test_a_secret_sealed_under_a_lost_key_makes_the_provider_come_again(api: Api) -> None:
    url = await made(api, "resend", secret=SVIX)
    await api.execute("UPDATE source SET secrets = ARRAY['lost'::bytea]")

    problem = await api.http.post(url, content=NOTHING, headers=svix(NOTHING))
    assert (429, "10") == (problem.status_code, problem.headers["retry-after"])


async def test_a_source_that_is_switched_off_takes_nothing_and_says_so(api: Api) -> None:
    made_ = await api.post("/v1/sources", {"kind": "brevo", "name": "a"}, 201)
    await api.patch(f"/v1/sources/{made_['id']}", {"enabled": False})

    problem = said(await api.http.post(made_["url"], content=b"{}"), 404)
    assert "source_disabled" == problem["code"]
    assert (1, "it is switched off") == await refusals(api)


async def test_a_body_may_be_gzipped(api: Api) -> None:
    url = await made(api, "sendgrid", verify=False)
    body = b'[{"event":"open","email":"ana@example.com","timestamp":1714979289,"sg_event_id":"1"}]'
    half = len(body) // 2
    deflate = zlib.compressobj(wbits=-15)
    for encoding, content in [
        ("gzip", gzip.compress(body)),
        ("GZIP", gzip.compress(body[:half]) + gzip.compress(body[half:])),
        ("x-gzip", gzip.compress(body)),
        ("deflate", zlib.compress(body)),
        ("deflate", deflate.compress(body) + deflate.flush()),
        ("identity", body),
    ]:
        reply = await api.http.post(url, content=content, headers={"Content-Encoding": encoding})
        assert 200 == reply.status_code, encoding
    await read_all(api.database)
    assert (6, 1) == (
        await api.fetchval("SELECT count(DISTINCT id) FROM delivery WHERE body = $1", body),
        await api.fetchval("SELECT count(*) FROM event"),
    )


@pytest.mark.parametrize(
    ("encoding", "content", "status"),
    [
        ("gzip", gzip.compress(b"0" * 5_000_001), 413),
        ("gzip", gzip.compress(b"0" * 3_000_000) * 2, 413),
        ("deflate", zlib.compress(b"0" * 50_000_000), 413),
        ("identity", b"0" * 10_000_000, 413),
        ("gzip", b"[]", 422),
        ("gzip", gzip.compress(b"[]")[:-1], 422),
        ("gzip", gzip.compress(b"[]") + b"trailing", 422),
        ("br", b"[]", 422),
        ("gzip, gzip", b"[]", 422),
    ],
    ids=["small", "in two parts", "deflated", "plain", "not zipped", "cut off", "more behind", "br", "zipped twice"],
)
async def test_what_is_too_large_or_no_gzip_is_refused(api: Api, encoding: str, content: bytes, status: int) -> None:
    url = await made(api, "brevo")

    reply = await api.http.post(url, content=content, headers={"Content-Encoding": encoding})

    assert status == reply.status_code
    assert 0 == await api.fetchval("SELECT count(*) FROM delivery")


async def test_more_than_may_wait_is_told_to_come_again(api: Api) -> None:
    urls = {kind: await made(api, kind, verify=False) for kind in ("brevo", "ses")}
    small = Settings(
        pool_size=4, encryption_key=ENCRYPTION_KEY, inbox_limit=3, public_url="https://leads.example.com/lt/"
    )
    app = build(small, plain_url(api.database.url), with_worker=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as http,
    ):
        large = await http.post(urls["brevo"], content=b" " * 30_001)
        taken = [await http.post(f"{urls['brevo']}?a=%C3%A9", content=b"{}") for _ in range(3)]
        url = await api.fetchval("SELECT DISTINCT url FROM delivery")
        full = {kind: await http.post(url, content=b"{}") for kind, url in urls.items()}
        await read_all(api.database)
        async with app.state.services.database.hot.acquire() as db:
            await db.execute("SELECT pg_sleep(0.15)")  # nobody is turned away by an older count
        again = await http.post(urls["brevo"], content=b"{}")

    public = urls["brevo"].replace(BASE, "https://leads.example.com/lt")
    assert f"{public}?a=%C3%A9" == url, "as the provider knows it, for some sign it"
    assert [429, 200, 200, 200] == [reply.status_code for reply in (large, *taken)]
    assert {"brevo": 429, "ses": 503} == {kind: reply.status_code for kind, reply in full.items()}
    assert {"10"} == {reply.headers["retry-after"] for reply in full.values()}
    assert 200 == again.status_code


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([key for key, one in kinds().items() if one.provider is not None]),
    body=st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")),
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "svix-id", "ce-id", "x-amz-sns-message-id", "Authorization"]),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30),
    ),
)
async def test_whatever_is_posted_is_kept_and_read_to_the_end(
    api: Api, kind: str, body: bytes, headers: dict[str, str]
) -> None:
    found = await api.fetchval("SELECT id FROM source WHERE kind = $1", kind)
    one = found or (await source(api.database, kind, kind)).id
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}

    reply = await api.http.post(f"/v1/webhooks/{one}", content=body, headers=raw)

    assert 200 == reply.status_code
    assert 1 == await read_all(api.database)
