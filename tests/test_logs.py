import subprocess
import sys

import pytest

# What a worker or a request may hold when it fails; none of it may reach the log.
_FAILS = """
import logging, sys
import structlog
from app import logs

logs.configure("INFO", as_json=sys.argv[1] == "json")


def fail() -> None:
    person = "@".join(["ada", "example.com"])
    key = {"secret": "sword" + "fish"}
    raise ValueError("it failed")


try:
    fail()
except ValueError:
    structlog.get_logger().exception("by structlog")
    logging.getLogger("uvicorn.error").exception("by logging")
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_shows_where_and_never_what_the_variables_held(form: str) -> None:
    ended = subprocess.run([sys.executable, "-c", _FAILS, form], capture_output=True, text=True, check=True)

    assert "" == ended.stdout
    assert 2 == ended.stderr.count("it failed")
    assert "by structlog" in ended.stderr
    assert "by logging" in ended.stderr
    for secret in ("ada@example.com", "swordfish"):
        assert secret not in ended.stderr
