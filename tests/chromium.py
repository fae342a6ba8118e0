"""Headless Chromium, driven over a pipe by its DevTools protocol, and a site for it to visit."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 20.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
# So that `http://shop.example` is a site of the test's, and a page's origin is not ours.
_NAMES_HERE = "--host-resolver-rules=MAP *.example 127.0.0.1"
_AS_3_AND_4 = """
import fcntl, os, sys
heard, said = (fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3])
os.dup2(heard, 3)
os.dup2(said, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

Json = Any  # Any: JSON


class Chromium:
    """One browser. It speaks over file descriptors 3 and 4, in JSON that ends with NUL."""

    def __init__(self, program: str, folder: Path) -> None:
        heard, self._say = os.pipe()
        self._hear, said = os.pipe()
        command = [program, *_FLAGS, _NAMES_HERE, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-IS", "-c", _AS_3_AND_4, str(heard), str(said), *command],
            pass_fds=(heard, said),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(heard)
        os.close(said)
        self._asked = 0
        self._rest = b""

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._say)
        os.close(self._hear)

    def ask(self, method: str, session: str | None = None, **params: Json) -> Json:
        """The result of a command."""
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._say, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                more = os.read(self._hear, 65_536)
                assert more, "the browser has ended"
                self._rest += more
            line, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer
                return answer["result"]

    @contextmanager
    def tab(self) -> "Iterator[Tab]":
        """A tab with storage of its own."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        try:
            yield Tab(self, session)
        finally:
            self.ask("Target.disposeBrowserContext", browserContextId=context)


@contextmanager
def running(folder: Path) -> Iterator[Chromium]:
    """A browser with its profile in a folder; skips the test where none is installed."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("Chromium is not installed here")
    browser = Chromium(program, folder)
    try:
        yield browser
    finally:
        browser.end()


class Tab:
    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session

    def visit(self, url: str) -> None:
        """Go to an address as by a link on the present page, and wait until it is loaded."""
        self._browser.ask("Page.navigate", self._session, url=url, referrer=self.run("location.href"))
        began = time.monotonic()
        while self.run("location.href + document.readyState") != url + "complete":
            assert time.monotonic() < began + PATIENCE_S, self.run("location.href")
            time.sleep(0.01)

    def until(self, condition: str) -> None:
        """Wait for a condition of the page's."""
        self.run(f"(async () => {{ while (!({condition})) await new Promise((next) => setTimeout(next, 5)) }})()")

    def run(self, script: str) -> Json:
        """What a script in the page comes to; a promise is waited for."""
        result = self._browser.ask(
            "Runtime.evaluate", self._session, expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")


@contextmanager
def site(head: str) -> Iterator[str]:
    """A site every page of which has this head, and its path as its title; gives the port as `:1234`."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<!doctype html><head><title>{self.path}</title>{head}</head><body></body>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f":{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
