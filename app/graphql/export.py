"""Writes the schema as text: `python -m app.graphql.export schema.graphql`."""

import sys
from pathlib import Path

from app.graphql import schema

_HEADING = "# Written by `make schema`, and compared with the code by a test.\n\n"


def text() -> str:
    """The schema in the schema language, with every description."""
    return f"{_HEADING}{schema.build().as_str()}\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
