import asyncio
import base64
import hashlib
import re

import httpx
import pytest

from app import clock
from app.store import keys
from app.store.keys import Scope
from tests.api.client import BASE, Api, be_a_problem, profile_rule, said

CALLS: list[tuple[Scope, str, str]] = [
    (Scope.INGEST, "POST", "/v1/events"),
    (Scope.READ, "GET", "/v1/events"),
    (Scope.INGEST, "POST", "/v1/bounces"),
    (Scope.INGEST, "POST", "/v1/cloudevents"),
    (Scope.READ, "GET", "/v1/exports/contacts"),
    (Scope.READ, "GET", "/v1/exports/events"),
    (Scope.READ, "GET", "/v1/exports/scores"),
    (Scope.WRITE, "POST", "/v1/contacts"),
    (Scope.WRITE, "POST", "/v1/contacts/import"),
    (Scope.READ, "GET", "/v1/contacts/{id}"),
    (Scope.WRITE, "PATCH", "/v1/contacts/{id}"),
    (Scope.WRITE, "DELETE", "/v1/contacts/{id}"),
    (Scope.READ, "GET", "/v1/models"),
    (Scope.WRITE, "POST", "/v1/models"),
    (Scope.READ, "GET", "/v1/models/{key}"),
    (Scope.WRITE, "PATCH", "/v1/models/{key}"),
    (Scope.WRITE, "DELETE", "/v1/models/{key}"),
    (Scope.WRITE, "POST", "/v1/models/{key}/publish"),
    (Scope.WRITE, "POST", "/v1/models/{key}/archive"),
    (Scope.WRITE, "POST", "/v1/models/{key}/unarchive"),
    (Scope.READ, "GET", "/v1/models/{key}/rules"),
    (Scope.WRITE, "POST", "/v1/models/{key}/rules"),
    (Scope.READ, "GET", "/v1/rules/{id}"),
    (Scope.WRITE, "PATCH", "/v1/rules/{id}"),
    (Scope.WRITE, "DELETE", "/v1/rules/{id}"),
    (Scope.READ, "GET", "/v1/contacts/{id}/scores"),
    (Scope.READ, "GET", "/v1/contacts/{id}/scores/{key}/explanation"),
    (Scope.READ, "GET", "/v1/contacts/{id}/scores/{key}/forecast"),
    (Scope.READ, "GET", "/v1/contacts/{id}/scores/{key}/history"),
    (Scope.READ, "GET", "/v1/contacts/{id}/adjustments"),
    (Scope.WRITE, "POST", "/v1/contacts/{id}/adjustments"),
    (Scope.READ, "GET", "/v1/contacts/{id}/adjustments/{id}"),
    (Scope.WRITE, "DELETE", "/v1/contacts/{id}/adjustments/{id}"),
    (Scope.READ, "GET", "/v1/suppressions"),
    (Scope.WRITE, "POST", "/v1/suppressions"),
    (Scope.WRITE, "DELETE", "/v1/suppressions"),
    (Scope.READ, "POST", "/v1/suppressions/check"),
    (Scope.INGEST, "POST", "/v1/unsubscribe-links"),
    (Scope.WRITE, "POST", "/v1/suppressions/import"),
    (Scope.READ, "GET", "/v1/contacts/{id}/bounces"),
    (Scope.READ, "GET", "/v1/contacts/{id}/flags"),
    (Scope.READ, "GET", "/v1/contacts/duplicates"),
    (Scope.WRITE, "POST", "/v1/contacts/{id}/merge"),
    (Scope.WRITE, "POST", "/v1/contacts/{id}/unmerge"),
    (Scope.READ, "GET", "/v1/models/{key}/versions"),
    (Scope.WRITE, "POST", "/v1/models/{key}/versions/{version}/publish"),
    (Scope.READ, "POST", "/v1/models/{key}/try"),
    (Scope.WRITE, "POST", "/v1/models/{key}/preview"),
    (Scope.READ, "GET", "/v1/models/{key}/preview/{id}/contacts"),
    (Scope.READ, "GET", "/v1/segments"),
    (Scope.WRITE, "POST", "/v1/segments"),
    (Scope.READ, "GET", "/v1/segments/{key}"),
    (Scope.WRITE, "PATCH", "/v1/segments/{key}"),
    (Scope.WRITE, "DELETE", "/v1/segments/{key}"),
    (Scope.READ, "GET", "/v1/segments/{key}/count"),
    (Scope.READ, "GET", "/v1/segments/{key}/members"),
    (Scope.READ, "GET", "/v1/segments/{key}/export"),
    (Scope.READ, "GET", "/v1/measures"),
    (Scope.WRITE, "POST", "/v1/measures"),
    (Scope.READ, "GET", "/v1/measures/{key}"),
    (Scope.WRITE, "DELETE", "/v1/measures/{key}"),
    (Scope.READ, "GET", "/v1/properties"),
    (Scope.WRITE, "PUT", "/v1/properties/{key}"),
    (Scope.WRITE, "DELETE", "/v1/properties/{key}"),
    (Scope.READ, "POST", "/v1/conditions/test"),
    (Scope.READ, "GET", "/v1/source-kinds"),
    (Scope.WRITE, "GET", "/v1/sources"),
    (Scope.WRITE, "POST", "/v1/sources"),
    (Scope.WRITE, "GET", "/v1/sources/{id}"),
    (Scope.WRITE, "PATCH", "/v1/sources/{id}"),
    (Scope.WRITE, "DELETE", "/v1/sources/{id}"),
    (Scope.WRITE, "POST", "/v1/sources/{id}/rotate"),
    (Scope.WRITE, "POST", "/v1/sources/{id}/replay"),
    (Scope.WRITE, "GET", "/v1/sources/{id}/deliveries"),
    (Scope.ADMIN, "GET", "/v1/sources/{id}/deliveries/{id}"),
    (Scope.READ, "GET", "/v1/connections/kinds"),
    (Scope.READ, "GET", "/v1/connections"),
    (Scope.ADMIN, "POST", "/v1/connections"),
    (Scope.READ, "GET", "/v1/connections/{id}"),
    (Scope.ADMIN, "PATCH", "/v1/connections/{id}"),
    (Scope.ADMIN, "DELETE", "/v1/connections/{id}"),
    (Scope.WRITE, "POST", "/v1/connections/{id}/test"),
    (Scope.ADMIN, "POST", "/v1/connections/{id}/authorize"),
    (Scope.WRITE, "POST", "/v1/connections/{id}/pause"),
    (Scope.WRITE, "POST", "/v1/connections/{id}/resume"),
    (Scope.READ, "GET", "/v1/connections/{id}/mapping"),
    (Scope.WRITE, "PUT", "/v1/connections/{id}/mapping"),
    (Scope.READ, "GET", "/v1/connections/{id}/fields"),
    (Scope.READ, "GET", "/v1/connections/{id}/runs"),
    (Scope.READ, "GET", "/v1/connections/{id}/backlog"),
    (Scope.READ, "GET", "/v1/connections/{id}/parked"),
    (Scope.WRITE, "POST", "/v1/connections/{id}/parked/retry"),
    (Scope.WRITE, "POST", "/v1/connections/{id}/pull"),
    (Scope.WRITE, "POST", "/v1/connections/{id}/reconcile"),
    (Scope.WRITE, "POST", "/v1/connections/{id}/rehearse"),
    (Scope.READ, "GET", "/v1/connections/{id}/diff"),
    (Scope.READ, "GET", "/v1/connections/{id}/duplicates"),
    (Scope.READ, "GET", "/v1/jobs"),
    (Scope.READ, "GET", "/v1/jobs/{id}"),
    (Scope.READ, "POST", "/graphql"),
]
"""What each call needs."""

OPEN: set[tuple[str, str]] = {
    ("GET", "/v1/webhooks/{id}"),
    ("POST", "/v1/webhooks/{id}"),
    ("GET", "/v1/crm/{id}/{secret}"),
    ("POST", "/v1/crm/{id}/{secret}"),
    *(("POST", f"/v1/{call}") for call in ("identify", "track", "page", "screen", "group", "alias", "merge", "batch")),
}
"""Calls without an API key: who calls is known by something else."""


def anonymous(api: Api) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE, event_hooks={"response": [be_a_problem]})


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def basic(secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}


def at(path: str) -> str:
    return path.format(id="018f0000-0000-7000-8000-000000000000", key="nobody", version=1)


async def test_every_call_is_listed_with_what_it_needs(api: Api) -> None:
    document = await api.get("/openapi.json")
    documented = {
        (method.upper(), re.sub(r"\w+_id}", "id}", re.sub(r"{(model|name)}", "{key}", path)))
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/v1/")
    }

    assert documented == {(method, path) for _, method, path in CALLS if path != "/graphql"} | OPEN


@pytest.mark.parametrize(("scope", "method", "path"), CALLS)
async def test_a_call_wants_a_key_with_its_scope(api: Api, scope: Scope, method: str, path: str) -> None:
    others = [one for one in Scope if one not in (scope, Scope.ADMIN)]
    wanting = await api.key("wanting", *others)
    having = await api.key("having", scope)

    async with anonymous(api) as http:
        unknown = said(await http.request(method, at(path)), 401)
        refused = said(await http.request(method, at(path), headers=bearer(wanting)), 403)
        allowed = await http.request(method, at(path), headers=bearer(having))

    assert ("not_authenticated", "not_allowed") == (unknown["code"], refused["code"])
    assert f"'{scope}'" in refused["detail"]
    assert allowed.status_code not in (401, 403)
    assert allowed.status_code < 500


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
async def test_health_and_documentation_want_no_key(api: Api, path: str) -> None:
    async with anonymous(api) as http:
        reply = await http.get(path)

    assert reply.status_code in (200, 503)
    assert "not_authenticated" not in reply.text


async def test_a_key_is_taken_as_a_bearer_token_and_as_the_user_name_of_basic(api: Api) -> None:
    secret = await api.key("reader", Scope.READ)
    async with anonymous(api) as http:
        for headers in [
            bearer(secret),
            {"Authorization": f"bearer   {secret} "},
            basic(f"{secret}:"),
            basic(f"{secret}:anything"),
            basic(secret),
        ]:
            assert 200 == (await http.get("/v1/models", headers=headers)).status_code, headers
        assert 200 == (await http.get("/v1/models", auth=(secret, ""))).status_code


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer lt_nothing",
        "Bearer lt_\u00e9",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b":password").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:").decode(),
        "Digest x",
        "lt_nothing",
        "Bearer " + "x" * 10_000,
        "Bearer a\0b",
    ],
)
async def test_what_is_no_key_is_answered_with_how_to_send_one(api: Api, header: str) -> None:
    async with anonymous(api) as http:
        reply = await http.get("/v1/models", headers={b"Authorization": header.encode("latin-1")})

    assert "not_authenticated" == said(reply, 401)["code"]
    assert 'Bearer, Basic realm="leadtally"' == reply.headers["www-authenticate"]


async def test_a_revoked_key_ends_within_a_second_and_a_half(api: Api) -> None:
    secret = await api.key("leaver", Scope.READ)
    async with anonymous(api) as http:
        assert 200 == (await http.get("/v1/models", headers=bearer(secret))).status_code
        async with api.database.batch() as db:
            await keys.revoke(db, "leaver", clock.now())

        await asyncio.sleep(1.5)
        reply = await http.get("/v1/models", headers=bearer(secret))

    assert "not_authenticated" == said(reply, 401)["code"]


async def test_a_new_key_works_at_once_even_where_it_was_refused_before(api: Api) -> None:
    secret = keys.make_secret()
    async with anonymous(api) as http:
        assert 401 == (await http.get("/v1/models", headers=bearer(secret))).status_code
        async with api.database.batch() as db:
            await keys.create(db, "late", [Scope.READ], secret, clock.now())

        assert 200 == (await http.get("/v1/models", headers=bearer(secret))).status_code


async def test_only_the_hash_of_a_key_is_stored(api: Api) -> None:
    secret = await api.key("reader", Scope.READ)
    await api.model("fit", profile_rule("contact.bounced", "=", True, 1))
    async with api.database.hot.acquire() as db:
        tables = [row[0] for row in await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        for table in tables:
            assert not await db.fetchval(
                f"SELECT EXISTS (SELECT FROM {table} t WHERE strpos(to_jsonb(t)::text, $1) > 0)", secret[8:]
            ), table
        [row] = await db.fetch("SELECT digest, hint FROM api_key WHERE name = 'reader'")

    assert (hashlib.sha256(secret.encode()).digest(), f"{secret[:7]}…") == (row["digest"], row["hint"])
    assert len(secret) > 40


async def test_two_keys_are_never_alike() -> None:
    assert 1_000 == len({keys.make_secret() for _ in range(1_000)})
