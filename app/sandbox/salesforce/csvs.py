"""CSV as the Bulk API takes it and gives it."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from app.sandbox.salesforce.wire import Refusal

DELIMITERS = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}


def read(raw: bytes, delimiter: str) -> Iterator[list[str]]:
    """Lines of cells, the heading first; empty lines are left out. Raises Refusal for what is no CSV in UTF-8."""
    try:
        text = raw.decode("utf-8-sig")
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[delimiter], strict=True):
            if cells:
                yield cells
    except (UnicodeDecodeError, csv.Error) as fault:
        raise Refusal("InvalidBatch", f"Failed to parse CSV: {fault}") from None


def line(cells: Iterable[Any], delimiter: str, ending: str) -> str:  # Any: JSON
    """One line, each cell in quotes."""
    return DELIMITERS[delimiter].join(map(_quoted, cells)) + LINE_ENDINGS[ending]


def _quoted(value: Any) -> str:  # Any: JSON
    if value is None:
        return '""'
    if isinstance(value, str):
        return f'"{value}"' if '"' not in value else '"' + value.replace('"', '""') + '"'
    if isinstance(value, bool):
        return '"true"' if value else '"false"'
    return f'"{value}"'
