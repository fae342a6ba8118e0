"""The command line in processes of its own, as a stranger runs it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import httpx
import psutil

LEADTALLY = Path(sys.executable).parent / "leadtally"
PATIENCE_S = 120.0

_OURS = {"DATABASE_URL", "PYTHONPATH", "PYTHONHOME"}


def environment(**settings: str) -> dict[str, str]:
    """This process' environment without what would set Leadtally up, and these settings."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS and "LEADTALLY" not in name}
    return {**kept, "COLUMNS": "200", **settings}


def run(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`leadtally …`, to its end."""
    return subprocess.run(
        [LEADTALLY, *command],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a path so short that a Unix socket fits into it."""
    with tempfile.TemporaryDirectory(prefix="lt-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


def free_port() -> int:
    """A port that on Linux nobody else is given while this process lives.

    A socket that never listens holds it; the server binds its own beside that, as both say SO_REUSEADDR.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    if sys.platform == "linux":
        holder.detach()
    else:
        holder.close()
    return port


def postgres_of(folder: Path) -> list[psutil.Process]:
    """The Postgres processes that work in this data folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(folder):
                found.append(process)
    return found


class Leadtally:
    """`leadtally serve` (or another command that goes on) as a child process; its output goes to a file."""

    def __init__(
        self,
        folder: Path,
        command: str = "serve",
        settings: Mapping[str, str] | None = None,
        *,
        program: Path = LEADTALLY,
    ) -> None:
        self.data = folder / "pg"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {"LEADTALLY_DATA_DIR": str(self.data), "LEADTALLY_PORT": str(self.port), **(settings or {})}
        self.command = [str(program), command]
        self._folder = folder
        self._log = folder / f"{command}-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves nothing running, whatever the test left."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for postgres in postgres_of(self.data):
            with contextlib.suppress(psutil.Error):
                postgres.kill()

    def start(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self._folder,
                env=environment(**self.settings),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        return self

    @property
    def output(self) -> str:
        """What it has printed since its last start."""
        return self._log.read_text(encoding="utf-8")

    def ready(self) -> float:
        """Waits until it is; returns for how many seconds."""
        began = time.monotonic()
        while time.monotonic() < began + PATIENCE_S:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return time.monotonic() - began
            assert self.process is not None
            assert self.process.poll() is None, self.output
            time.sleep(0.01)
        raise AssertionError(self.output)

    def serving(self) -> float:
        """Waits until it answers at all."""
        return self.wait_for("/healthz")

    def wait_for(self, path: str, status: int = 200) -> float:
        began = time.monotonic()
        while time.monotonic() < began + PATIENCE_S:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}{path}").status_code == status:
                    return time.monotonic() - began
            time.sleep(0.01)
        raise AssertionError(self.output)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    @property
    def key(self) -> str:
        """The key that it has shown."""
        [key] = set(re.findall(r"lt_[A-Za-z0-9_-]{20,}", self.output))
        return str(key)
