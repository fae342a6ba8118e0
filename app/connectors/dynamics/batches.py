"""Many operations in one call: the multipart body of a `$batch`, and its reply taken apart.

Each operation is a whole HTTP request in a part of its own, and is answered by a part, in the same order. With
`odata.continue-on-error` one that fails does not stop those behind it. Source: Microsoft Learn, "Execute batch
operations using the Web API".
"""

from collections.abc import Mapping, Sequence
from email.message import Message
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

from app.connectors.faults import Refused, Unreachable
from app.connectors.http import Reply

MOST = 1_000
"""Operations in one batch."""
_HTTP = b"application/http"
_LINE = b"\r\n"
_BLANK = _LINE + _LINE


class Operation(NamedTuple):
    """One request of a batch."""

    method: str
    path: str
    """Behind our address, escaped: `/api/data/v9.2/contacts(…)`."""
    headers: Mapping[str, str] = {}
    json: Any = None  # Any: JSON


def body(operations: Sequence[Operation], base_url: str) -> tuple[str, bytes]:
    """The content type and the body. Raises Refused for what JSON cannot say."""
    boundary = f"batch_{uuid4().hex}"
    parts = [b"--" + boundary.encode() + _LINE + _part(one, base_url) for one in operations]
    return f'multipart/mixed; boundary="{boundary}"', b"".join(parts) + b"--" + boundary.encode() + b"--" + _LINE


def _part(one: Operation, base_url: str) -> bytes:
    headers = {"Accept": "application/json", "OData-MaxVersion": "4.0", "OData-Version": "4.0", **one.headers}
    content = b""
    if one.json is not None:
        headers["Content-Type"] = "application/json"
        try:
            content = orjson.dumps(one.json)
        except orjson.JSONEncodeError:
            raise Refused("unsendable", "a number or a text in it cannot be sent") from None
    said = [f"{one.method} {base_url}{one.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return (
        b"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        + "\r\n".join(said).encode()
        + _BLANK
        + content
        + _LINE
    )


def replies(reply: Reply, count: int) -> list[Reply]:
    """The answers, one for each of so many operations. Raises Unreachable for what is no whole answer to a batch."""
    boundary = _boundary(reply.headers.get("content-type", ""))
    if boundary is None:
        raise Unreachable(f"a batch was answered with status {reply.status} by what is none")
    mark = b"--" + boundary.encode()
    pieces = (_LINE + reply.body).split(_LINE + mark)
    if len(pieces) != count + 2 or not pieces[-1].startswith(b"--"):
        raise Unreachable("a batch was not answered for each of its operations")
    return [_reply(piece) for piece in pieces[1:-1]]


def is_batch(reply: Reply) -> bool:
    return _boundary(reply.headers.get("content-type", "")) is not None


def _boundary(content_type: str) -> str | None:
    said = Message()
    said["content-type"] = content_type
    boundary = said.get_param("boundary")
    return boundary if said.get_content_type() == "multipart/mixed" and isinstance(boundary, str) else None


def _reply(piece: bytes) -> Reply:
    """One part: its own headers, and below them an HTTP answer. Raises Unreachable."""
    outer, _, inner = piece.partition(_BLANK)
    head, _, content = inner.partition(_BLANK)
    first, *lines = head.decode(errors="replace").split("\r\n")
    version, _, status = first.partition(" ")
    if _HTTP not in outer.lower() or not version.startswith("HTTP/") or not status[:3].isdigit():
        raise Unreachable("a part of a batch's answer makes no sense")
    headers = dict(_header(line) for line in lines)
    return Reply(int(status[:3]), headers, content.strip())


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()
