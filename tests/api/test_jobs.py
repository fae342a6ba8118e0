from uuid import uuid4

from tests.api.client import Api, event_rule, said


async def test_a_job_is_listed_newest_first_and_read_by_its_id(api: Api) -> None:
    await api.post("/v1/models", {"key": "engagement", "name": "E"}, 201)
    made = []
    for _ in range(5):
        reply = await api.http.post("/v1/models/engagement/publish", headers={"Prefer": "respond-async"})
        made.append(said(reply, 202)["job_id"])
    found, cursor = [], None
    while True:
        page = await api.get("/v1/jobs", limit=2, **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert made[::-1] == [job["id"] for job in found]
    assert found[0] == await api.get(f"/v1/jobs/{made[-1]}")
    assert ("queued", None, None) == (found[0]["status"], found[0]["started_at"], found[0]["finished_at"])
    assert "not_found" == (await api.get(f"/v1/jobs/{uuid4()}", 404))["code"]


async def test_of_two_versions_published_at_once_the_later_counts_in_whatever_order_the_jobs_run(api: Api) -> None:
    await api.send({"type": "page.viewed", "contact": {"email": "ada@example.com"}})
    await api.post("/v1/models", {"key": "engagement", "name": "E"}, 201)
    rule = await api.post("/v1/models/engagement/rules", event_rule("page.viewed", 1), 201)
    jobs = []
    for points in (1, 2):
        await api.patch(f"/v1/rules/{rule['id']}", {"points": points})
        reply = await api.http.post("/v1/models/engagement/publish", headers={"Prefer": "respond-async"})
        jobs.append(said(reply, 202)["job_id"])

    for job in reversed(jobs):
        assert "done" == (await api.work(job))["status"]

    assert 2 == await api.score("ada@example.com", "engagement")
    assert 2 == (await api.get("/v1/models/engagement"))["version"]


async def test_a_job_whose_model_is_gone_says_so(api: Api) -> None:
    await api.post("/v1/models", {"key": "engagement", "name": "E"}, 201)
    reply = await api.http.post("/v1/models/engagement/publish", headers={"Prefer": "respond-async"})
    await api.delete("/v1/models/engagement")

    job = await api.work(said(reply, 202)["job_id"])

    assert ("failed", "the model was deleted or archived meanwhile") == (job["status"], job["error"])
    assert job["finished_at"]
