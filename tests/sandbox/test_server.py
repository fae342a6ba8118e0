"""The stand-ins side by side, the people in them, and the controls that all of them have."""

import json
import signal
import socket
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from starlette.applications import Starlette

from app import sandbox_cli
from app.sandbox import controls
from app.sandbox.people import people
from app.sandbox.shapes import Clock
from tests.processes import LEADTALLY, Leadtally, short_folder

NOW = datetime(2026, 10, 20, 10, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_people_are_the_same_for_the_same_seed_and_can_be_written_to_by_nobody() -> None:
    some, more, others = list(people(300)), list(people(400)), list(people(300, seed=1))

    assert some == more[:300]
    assert some != others
    assert 400 == len({one.email for one in more})
    assert {"example.com", "example.org", "example.net"} == {one.email.partition("@")[2] for one in more}
    assert 5 <= Counter(one.opted_out for one in more)[True] <= 40
    assert all(one.first_name and one.last_name and one.company and one.title for one in more)
    assert all(" 555 01" in one.phone for one in more)


def test_the_clock_moves_stands_still_and_never_goes_back() -> None:
    real = [NOW]
    clock = Clock(lambda: real[0])
    clock.hold()
    real[0] += 60 * SECOND
    assert NOW == clock()
    clock.move(5 * SECOND)
    assert NOW + 5 * SECOND == clock()
    clock.release()
    real[0] += SECOND
    assert NOW + 6 * SECOND == clock()
    real[0] -= 100 * SECOND
    assert NOW + 6 * SECOND == clock()


@dataclass
class _Faults:
    rows: int = 0
    wait_s: float = 0.0
    is_on: bool = False
    ids: list[str] = field(default_factory=list)


@pytest.fixture
def http() -> httpx.AsyncClient:
    def edit(body: controls.Json) -> controls.Json:
        if "do" not in body:
            raise controls.Refused("do is missing")
        return {"did": body["do"]}

    routes = controls.routes(_Faults(), Clock(lambda: NOW), lambda: {"records": 3}, edit)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(Starlette(routes=routes)), base_url="http://crm.test/_sandbox"
    )


async def test_the_controls_change_what_they_are_told_to(http: httpx.AsyncClient) -> None:
    assert {"rows": 0, "wait_s": 0.0, "is_on": False, "ids": []} == (await http.get("/faults")).json()
    assert {"rows": 2, "wait_s": 1, "is_on": False, "ids": ["a"]} == (
        await http.put("/faults", json={"rows": 2, "wait_s": 1, "ids": ["a"]})
    ).json()
    assert {"records": 3} == (await http.get("/state")).json()
    assert {"did": "merge"} == (await http.post("/edit", json={"do": "merge"})).json()
    assert {"now": "2026-10-20T10:01:30+00:00"} == (await http.post("/clock", json={"move_s": 90, "hold": True})).json()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/faults", {"nothing": 1}),
        ("PUT", "/faults", {"rows": "2"}),
        ("PUT", "/faults", {"rows": True}),
        ("PUT", "/faults", {"is_on": 1}),
        ("PUT", "/faults", {"ids": [1]}),
        ("PUT", "/faults", {"rows": 1, "is_on": None}),
        ("PUT", "/faults", []),
        ("POST", "/edit", {}),
        ("POST", "/clock", {"move_s": -1}),
        ("POST", "/clock", {"move_s": 1e300}),
        ("POST", "/clock", {"move_s": 400_000_000}),
        ("POST", "/clock", {"move_s": "1"}),
        ("POST", "/clock", {"hold": 1}),
        ("POST", "/clock", {"jump": 1}),
    ],
)
async def test_the_controls_refuse_what_they_do_not_understand(
    http: httpx.AsyncClient, method: str, path: str, body: Any
) -> None:
    reply = await http.request(method, path, json=body)

    assert 400 == reply.status_code
    assert reply.json()["error"]
    assert {"rows": 0, "wait_s": 0.0, "is_on": False, "ids": []} == (await http.get("/faults")).json()


async def test_time_has_an_end(http: httpx.AsyncClient) -> None:
    replies = [await http.post("/clock", json={"move_s": 315_000_000}) for _ in range(100)]

    assert [200, 400] == [replies[0].status_code, replies[-1].status_code]
    assert 200 == (await http.post("/clock", json={})).status_code


async def test_the_controls_refuse_what_is_not_json(http: httpx.AsyncClient) -> None:
    assert "not JSON" in (await http.put("/faults", content=b"{")).json()["error"]


def test_the_command_serves_every_crm_and_says_how_to_reach_it() -> None:
    with short_folder() as folder, _Sandbox(folder) as sandbox:
        sandbox.start().wait_for("/")
        # The log ends with a sentence for humans.
        reached = json.loads(sandbox.output[: sandbox.output.rindex("}") + 1])
        names = httpx.get(f"{sandbox.url}/").json()["crms"]
        salesforce = reached["salesforce"]
        form = {"grant_type": "client_credentials"}
        keys = (salesforce["client_id"], salesforce["client_secret"])
        token = httpx.post(salesforce["token_url"], data=form, auth=keys).json()
        about = httpx.get(
            f"{token['instance_url']}/services/data/v62.0/query",
            params={"q": "SELECT COUNT() FROM Contact"},
            headers={"Authorization": f"Bearer {token['access_token']}"},
        )

        assert {"salesforce", "pipedrive"} <= set(names)
        assert set(names) == reached.keys()
        assert f"{sandbox.url}/salesforce" == salesforce["instance_url"] == token["instance_url"]
        assert 15 == about.json()["totalSize"]
        assert 0 == sandbox.end(signal.SIGTERM)


def test_the_command_says_when_its_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(typer.Exit):
            sandbox_cli.serve(port=port, people_=0, seed=0, host="127.0.0.1")

    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


class _Sandbox(Leadtally):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "sandbox")
        self.command = [str(LEADTALLY), "sandbox", "--port", str(self.port), "--people", "20"]
