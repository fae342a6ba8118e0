"""What the image would do, without an engine: the Dockerfile's own commands in a clean virtual environment."""

import json
import os
import re
import shutil
import signal
import subprocess
import tomllib
import venv
from pathlib import Path

import httpx
import pytest

from app.__main__ import cli
from tests.processes import Leadtally, environment, short_folder
from tests.test_settings import environment_names

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8").split()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
KEY = "lt_the-key-of-these-tests"


def instructions(name: str) -> list[str]:
    """The arguments of each such instruction of the Dockerfile."""
    return re.findall(rf"^{name}\s+(.+)$", DOCKERFILE, re.MULTILINE)


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(requirements: list[str]) -> dict[str, str]:
    """Name → version of requirements that all are pinned."""
    found = {}
    for one in requirements:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([0-9][A-Za-z0-9.+]*)", one.partition(";")[0].strip())
        assert match, one
        found[normal(match[1])] = match[2]
    return found


# --- what the files say -----------------------------------------------------------------------------------------------


def test_the_lock_pins_every_line_and_knows_no_address() -> None:
    assert len(LOCK) == len(pins(LOCK)) > 30


def test_everything_the_project_asks_for_is_pinned_as_the_lock_has_it() -> None:
    locked = pins(LOCK)
    asked = pins(PROJECT["dependencies"]) | pins(PROJECT["optional-dependencies"]["dev"])

    assert asked == {name: locked.get(name) for name in asked}


def test_the_builder_is_in_the_lock_so_that_make_setup_needs_no_isolation() -> None:
    assert "setuptools" in pins(LOCK)


def test_what_the_image_copies_is_here() -> None:
    copied = [name for line in instructions("COPY") for name in line.split()[:-1]]

    assert {"app", "migrations", "pyproject.toml", "requirements.lock"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_without_root_and_serves_by_default() -> None:
    assert ["leadtally"] == instructions("USER")
    assert [["leadtally"]] == [json.loads(line) for line in instructions("ENTRYPOINT")]
    # The first CMD is the health check's.
    assert ["serve"] == json.loads(instructions("CMD")[-1])
    assert {"leadtally": "app.__main__:main"} == PROJECT["scripts"]


def test_the_services_run_commands_that_there_are() -> None:
    commands = re.findall(r"^    command: (.+)$", COMPOSE, re.MULTILINE)
    known = {command.name or getattr(command.callback, "__name__", "") for command in cli.registered_commands}

    assert ["serve", "worker"] == commands
    assert set(commands) <= known
    assert 2 == COMPOSE.count("build: .")


def test_every_setting_of_the_services_is_one() -> None:
    named = set(re.findall(r"\b(?:LEADTALLY_[A-Z_]+|DATABASE_URL)(?=[:=])", COMPOSE + DOCKERFILE))

    assert {"DATABASE_URL", "LEADTALLY_WORKER", "LEADTALLY_HOST"} <= named
    assert named <= environment_names()


def test_the_health_check_is_the_servers_alone() -> None:
    """A worker listens on no port; the image's check would call it ill for ever."""
    [check] = instructions("HEALTHCHECK")
    worker = COMPOSE[COMPOSE.index("  worker:") : COMPOSE.index("\nvolumes:")]

    assert "http://127.0.0.1:8000/healthz" in check
    assert "healthcheck: {disable: true}" in worker


# --- what the image would do ------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a clean virtual environment in which the Dockerfile's install command ran."""
    context = tmp_path_factory.mktemp("image")
    for line in instructions("COPY"):
        *sources, target = line.split()
        for name in sources:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, context / target, ignore=ignored)
            else:
                shutil.copy(ROOT / name, context / target)
    made = tmp_path_factory.mktemp("venv")
    venv.create(made, with_pip=True)
    [install] = [line for line in instructions("RUN") if "pip install" in line]
    ended = subprocess.run(
        ["bash", "-euc", install],
        cwd=context,
        env=environment(PATH=f"{made / 'bin'}:{os.environ['PATH']}", PIP_DISABLE_PIP_VERSION_CHECK="1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert 0 == ended.returncode, ended.stderr
    return made / "bin"


def test_the_installed_image_has_what_it_needs_and_no_tool_of_ours_and_works_on_a_fresh_database(
    installed: Path, blank: str
) -> None:
    """One test, as to install takes long, and the next could be in another process."""
    listed = subprocess.run(
        [installed / "python", "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    )
    versions = {normal(one["name"]): one["version"] for one in json.loads(listed.stdout)}
    locked = pins(LOCK)
    ours = {name: version for name, version in versions.items() if name not in ("pip", "leadtally", "setuptools")}

    assert ours == {name: locked.get(name) for name in ours}
    assert not {"pytest", "ruff", "mypy", "hypothesis"} & versions.keys()

    entrypoint = json.loads(instructions("ENTRYPOINT")[0])
    [command] = json.loads(instructions("CMD")[-1])
    image = dict(pair.split("=", 1) for line in instructions("ENV") for pair in line.split())
    settings = {
        **image,
        "PATH": f"{installed}:{os.environ['PATH']}",
        "DATABASE_URL": blank,
        "LEADTALLY_ADMIN_KEY": KEY,
        "LEADTALLY_WORKER": "0",
        "LEADTALLY_DEMO": "0",
    }
    program = installed / entrypoint[0]
    with (
        short_folder() as folder,
        Leadtally(folder, command, settings, program=program) as server,
        Leadtally(folder, "worker", settings, program=program) as worker,
    ):
        server.start().serving()
        worker.start()
        server.ready()
        with httpx.Client(base_url=server.url, auth=(KEY, "")) as http:
            event = {"type": "page.viewed", "contact": {"email": "ada@example.com"}}
            assert 1 == http.post("/v1/events", json=event).json()["accepted"]
            assert 200 == http.get("/docs").status_code
        assert 0 == server.end(signal.SIGTERM)
        assert 0 == worker.end(signal.SIGTERM)
        logged = [line for line in server.output.splitlines() if line.startswith("{")]
        assert logged
        assert all("event" in json.loads(line) for line in logged)
