"""docs/graphql.md as a front-end team reads it: its examples are asked, its client is compiled and run with Node."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from graphql import OperationDefinitionNode, parse

from app import clock, demo
from app.errors import AppError, NotAllowed, NotAuthenticated, TooBusy
from app.graphql import errors, limits, schema
from app.main import build
from app.settings import Settings
from app.store import keys
from app.store.db import Database, plain_url
from app.store.keys import Scope
from tests.api.conftest import ENCRYPTION_KEY
from tests.processes import free_port

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).parent / "typescript"
PAGE = (ROOT / "docs" / "graphql.md").read_text(encoding="utf-8")
DOCUMENTS = (ROOT / "app" / "graphql" / "documents.py").read_text(encoding="utf-8")

EXAMPLES = re.findall(r"^```graphql\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ROOTS = re.findall(r"^\|.+\| `(.+)` \|$", PAGE, re.MULTILINE)
INSTALLING_S = 180
PATIENCE_S = 60
FEW_RETRIES = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_the_very_files_that_are_compiled() -> None:
    shown = dict(re.findall(r"^<!-- (\S+) -->\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    files = {
        path.relative_to(CLIENT).as_posix(): path.read_text(encoding="utf-8")
        for path in CLIENT.rglob("*")
        if path.is_file()
    }

    assert files == shown


def test_the_page_says_what_each_root_is_for() -> None:
    query = schema.build()._schema.query_type
    assert query is not None
    asked = [
        one.name.value
        for text in ROOTS
        for definition in parse(text).definitions
        if isinstance(definition, OperationDefinitionNode)
        for one in definition.selection_set.selections
        if hasattr(one, "name")
    ]

    assert sorted(query.fields) == sorted(asked)


def test_the_page_says_the_limits_as_they_are() -> None:
    rows = re.findall(r"\| ([\d,]+) \|$", section("Limits"), re.MULTILINE)
    in_force = [
        limits.MAX_COST, limits.MAX_PAGE, limits.MAX_DEPTH, limits.MAX_ALIASES, limits.MAX_TOKENS, limits.MAX_NESTING,
    ]  # fmt: skip

    assert [f"{most:,}" for most in in_force] == rows[: len(in_force)]
    assert f"; {limits.DEFAULT_PAGE} for a connection" in section("Limits")


def test_the_page_explains_every_code_that_an_error_may_have() -> None:
    told_by_status = {NotAuthenticated, NotAllowed, TooBusy}
    ours = {kind.code for kind in AppError.__subclasses__() if kind not in told_by_status}
    protocol = set(re.findall(r'"([A-Z_]+_[A-Z_]+)"', DOCUMENTS))
    explained = re.findall(r"^\| (`.+?`) \| ", section("Errors"), re.MULTILINE)

    assert {*ours, *protocol, errors.INVALID_QUERY, errors.INTERNAL} == set(re.findall(r"`(\w+)`", " ".join(explained)))


# --- Its examples -----------------------------------------------------------------------------------------------------


@dataclass
class Workspace:
    """The demo workspace, served; `headers` have a key that can read."""

    database: Database
    url: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def ask(self, query: str) -> dict[str, Any]:
        """The data of an answer that has no errors; `$since` is a week ago."""
        variables = {"since": (clock.now() - timedelta(days=7)).isoformat()} if "$since" in query else {}
        async with httpx.AsyncClient(headers=self.headers) as http:
            reply = await http.post(f"{self.url}/graphql", json={"query": query, "variables": variables})
        answer = reply.json()
        assert "errors" not in answer, (query, answer["errors"])
        found: dict[str, Any] = answer["data"]
        return found


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, ws="none", log_config=None))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture(scope="module")
async def workspace(shared: tuple[Database, str]) -> AsyncIterator[Workspace]:
    database, emptying = shared
    async with database.hot.acquire() as connection:
        await connection.execute(emptying)
    await demo.fill(database)
    secret = keys.make_secret()
    async with database.batch() as db:
        await keys.create(db, "dashboard", [Scope.READ, Scope.INGEST], secret, clock.now())
    settings = Settings(pool_size=4, encryption_key=ENCRYPTION_KEY)
    async with served(build(settings, plain_url(database.url), with_worker=False)) as url:
        yield Workspace(database, url, secret)


async def test_every_example_of_the_page_finds_something_in_the_demo_workspace(workspace: Workspace) -> None:
    assert len(EXAMPLES) > 5
    for example in EXAMPLES:
        for root, found in (await workspace.ask(example)).items():
            assert found, (root, example)
            assert found.get("nodes", True), (root, example)


async def test_every_query_of_the_table_is_answered(workspace: Workspace) -> None:
    for query in ROOTS:
        await workspace.ask(query)


async def test_every_call_of_the_page_by_curl_is_answered(workspace: Workspace) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    calls = re.findall(r"^```sh\n(curl .+?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert calls
    for call in calls:
        command = call.replace("http://127.0.0.1:8000", workspace.url).replace("curl", "curl -sS")
        code, told, faults = await run("sh", "-c", command, KEY=workspace.key)
        assert (0, "") == (code, faults)
        assert {"data"} == set(json.loads(told))


# --- Its client -------------------------------------------------------------------------------------------------------


async def run(*command: str, cwd: Path | None = None, **settings: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command; this process goes on serving."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    told, faults = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode is not None
    return process.returncode, told.decode(), faults.decode()


@pytest.fixture(scope="module")
def packages(request: pytest.FixtureRequest) -> Path:
    """The client's `node_modules`, kept for the next run for as long as it asks for the same."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js and npm are not installed here")
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"Node.js is {version.strip()} here, and must be 20 or newer")
    assert request.config.cache is not None
    wanted = (CLIENT / "package.json").read_bytes()
    kept = Path(request.config.cache.mkdir("node-graphql"))
    folder = kept / sha256(wanted).hexdigest()[:16]
    if not folder.exists():
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", *FEW_RETRIES]
        with tempfile.TemporaryDirectory(dir=kept, ignore_cleanup_errors=True) as name:
            made = Path(name) / "made"
            made.mkdir()
            (made / "package.json").write_bytes(wanted)
            try:
                subprocess.run(install, cwd=made, check=True, capture_output=True, timeout=INSTALLING_S)
            except (subprocess.SubprocessError, OSError):
                pytest.skip("npm cannot install the client's packages here")
            if not folder.exists():  # another process may have been faster
                made.rename(folder)
    return folder / "node_modules"


@dataclass
class Project:
    """The client in a folder of its own, as the page says to lay it out."""

    folder: Path

    async def npm(self, script: str, **settings: str) -> tuple[int, str, str]:
        """Runs a script of package.json."""
        return await run("npm", "run", "--silent", script, cwd=self.folder, **settings)

    async def shows(self, workspace: Workspace, **settings: str) -> tuple[int, list[str], str]:
        given = {"LEADTALLY_URL": workspace.url, "LEADTALLY_KEY": workspace.key, **settings}
        code, told, faults = await self.npm("start", **given)
        return code, told.splitlines(), faults


@pytest.fixture(scope="module")
async def project(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Generated and compiled."""
    made = Project(shutil.copytree(CLIENT, tmp_path_factory.mktemp("client") / "dashboard"))
    shutil.copy(ROOT / "schema.graphql", made.folder)
    (made.folder / "node_modules").symlink_to(packages, target_is_directory=True)
    code, told, faults = await made.npm("generate")
    assert code == 0, told + faults
    code, told, faults = await made.npm("build")
    assert (0, "") == (code, told), faults
    return made


async def hottest(database: Database, count: int) -> list[str]:
    """As the client shows them, but from the tables."""
    in_model = "SELECT s.* FROM score s JOIN scoring_model m ON m.id = s.model_id AND m.key ="
    async with database.hot.acquire() as db:
        rows = await db.fetch(
            f"""
            SELECT c.email, engagement.value, fit.value, c.opted_out, c.bounced
            FROM contact c
            JOIN ({in_model} 'engagement') engagement ON engagement.contact_id = c.id
            JOIN ({in_model} 'fit') fit ON fit.contact_id = c.id
            ORDER BY engagement.value DESC, c.id DESC LIMIT $1
            """,
            count,
        )
    return [
        " ".join([f"{email:30}", worth(doing), worth(being), *["opted-out"] * opted_out, *["bounced"] * bounced])
        for email, doing, being, opted_out, bounced in rows
    ]


def worth(value: Decimal) -> str:
    [*_, band] = [one["name"] for one in demo.BANDS if one["min"] is None or one["min"] <= value]
    return f"{value.normalize():f} {band}".rjust(10)


async def test_the_client_compiles_and_shows_scores_bands_flags_pages_and_a_timeline(
    project: Project, workspace: Workspace
) -> None:
    [first] = await hottest(workspace.database, 1)
    email = first.split()[0]
    leaves = {"type": "email.unsubscribed", "contact": {"email": email}}
    async with httpx.AsyncClient(headers=workspace.headers) as http:
        assert 200 == (await http.post(f"{workspace.url}/v1/events", json=leaves)).status_code

    code, lines, faults = await project.shows(workspace)

    assert code == 0, faults
    expected = await hottest(workspace.database, 10)
    assert [f"Hottest of {demo.PEOPLE}", *expected[:5], "Next", *expected[5:], ""] == lines[:13]
    assert f"{email} " in lines[1]
    assert lines[1].endswith(" opted-out")
    title, *bands, gap, latest = lines[13:19]
    assert ("Engagement by band", ["cold", "warm", "hot"], "") == (title, [one.split()[0] for one in bands], gap)
    assert demo.PEOPLE == sum(int(one.split()[1]) for one in bands)
    assert latest.startswith("Latest of ")
    happened = [one.partition(" ")[2] for one in lines[19:]]
    assert 8 == len(happened)
    assert {"OPTED_OUT set, unsubscribed", "email.unsubscribed"} < set(happened)
    assert any(re.fullmatch(r"Engagement \d+ → \d+", one) for one in happened)


async def test_the_client_says_by_a_code_why_it_was_refused(project: Project, workspace: Workspace) -> None:
    code, lines, faults = await project.shows(workspace, LEADTALLY_KEY="lt_wrong")

    assert (1, [], "401: [Network] Unauthorized\n") == (code, lines, faults)


async def test_with_an_allow_list_the_client_sends_ids_alone(project: Project, workspace: Workspace) -> None:
    listed = project.folder / "src" / "gql" / "persisted-documents.json"
    settings = Settings(pool_size=4, encryption_key=ENCRYPTION_KEY, graphql_operations=listed)
    url = plain_url(workspace.database.url)
    async with served(build(settings, url, with_worker=False)) as strict:
        there = {"LEADTALLY_URL": strict}

        code, lines, faults = await project.shows(workspace, **there, LEADTALLY_LISTED="1")
        refused = await project.shows(workspace, **there)

    assert code == 0, faults
    assert f"Hottest of {demo.PEOPLE}" == lines[0]
    assert (1, []) == refused[:2]
    assert refused[2].startswith("PERSISTED_QUERY_NOT_IN_LIST: ")


async def test_a_field_that_is_not_there_does_not_compile(project: Project, tmp_path: Path) -> None:
    wrong = Project(shutil.copytree(project.folder, tmp_path / "wrong", symlinks=True))
    program = wrong.folder / "src" / "dashboard.ts"
    program.write_text(program.read_text(encoding="utf-8").replace("contact.name", "contact.nmae"), encoding="utf-8")

    code, told, _ = await wrong.npm("build")

    assert code != 0
    assert "Property 'nmae' does not exist" in told
