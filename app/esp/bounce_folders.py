"""Messages out of files: one alone, an mbox of many, a maildir, a directory of either.

Reads as it goes: of each message no more is held than is read of it, however large the file.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from app.esp.bounce_parts import LONGEST

_BEGINS = re.compile(rb"From .{0,200}\d:\d\d")
"""The line before each message of an mbox (RFC 4155): who from, and when."""
_QUOTED = re.compile(rb">+From ")
_LONGEST_LINE = 64 * 1024


def in_path(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each message under a path, with a name for people: the file's, and its number in an mbox.

    A directory that has `new` or `cur` is a maildir: what is in these two is read. Of another, what is right in it;
    hidden files never. Raises OSError if something cannot be read.
    """
    if not path.is_dir():
        yield from _in_file(path)
        return
    folders = [folder for folder in (path / "new", path / "cur") if folder.is_dir()] or [path]
    for file in sorted(file for folder in folders for file in folder.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            yield from _in_file(file)


def split(file: BinaryIO) -> Iterator[bytes]:
    """The messages of an mbox, each cut off where the reader of notices stops; a file that is none is one message."""
    first = file.readline(_LONGEST_LINE)
    if not _BEGINS.match(first):
        yield first + file.read(max(0, LONGEST - len(first)))
        return
    kept: list[bytes] = []
    size, is_after_blank = 0, False
    while line := file.readline(_LONGEST_LINE):
        if is_after_blank and _BEGINS.match(line):
            yield b"".join(kept)
            kept, size = [], 0
        elif size < LONGEST:
            kept.append(line[1:] if _QUOTED.match(line) else line)
            size += len(line)
        is_after_blank = not line.strip()
    yield b"".join(kept)


def _in_file(path: Path) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        for number, message in enumerate(split(file)):
            yield f"{path}#{number + 1}" if number else str(path), message
