"""Clients that are installed for the tests alone, each in a folder of its own that is kept for the next run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INSTALLING_S = 120


def node_packages(request: pytest.FixtureRequest, name: str, *packages: str) -> Path:
    """A folder in which Node.js finds them. Skips the test where there is no Node.js, or they cannot be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js and npm are not installed here")
    return _installed(request, name, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *packages)


def python_package(request: pytest.FixtureRequest, name: str, package: str) -> Path:
    """A folder with it and what it needs, which may be other versions than ours. Skips the test if it cannot be had."""
    return _installed(request, name, sys.executable, "-m", "pip", "install", "-q", "--target", ".", package)


def _installed(request: pytest.FixtureRequest, name: str, *command: str) -> Path:
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir(name))
    done = folder / "done"
    if not done.exists():
        (folder / "package.json").write_text("{}", encoding="utf-8")
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALLING_S)
        except (subprocess.SubprocessError, OSError):
            pytest.skip(f"{command[-1]} cannot be installed here")
        done.touch()
    return folder
