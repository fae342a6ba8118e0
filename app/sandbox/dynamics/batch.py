"""`$batch`: several operations in one call, change sets among them.

Source: "Execute batch operations using the Web API".
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import orjson

from app.sandbox.dynamics.records import Records
from app.sandbox.dynamics.wire import Call, Refusal, Reply

Handle = Callable[[Call], Reply]
"""Carries out a call, refusals included."""
_MOST = 1_000
_BOUNDARY = re.compile(r'boundary="?([^";,\s]+)"?', re.IGNORECASE)
_BLANK = re.compile(rb"\r?\n[ \t]*\r?\n")
_REFERENCE = re.compile(rb"\$(\d+)")
_REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 412: "Precondition Failed",
    429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented",
}  # fmt: skip


class _Operation(NamedTuple):
    call: Call
    content_id: str | None


def run(call: Call, records: Records, handle: Handle, path: str) -> Reply:
    """Raises Refusal for a body that cannot be read; `path` is that of the service root: `/api/data/v9.2/`."""
    pieces = [_item(call, piece, path) for piece in _pieces(call.headers.get("content-type", ""), call.body)]
    if sum(len(one) if isinstance(one, list) else 1 for one in pieces) > _MOST:
        raise Refusal("0x80060889", f"The batch request contains more than the {_MOST} operations that it may.")
    goes_on = call.prefers("odata.continue-on-error") is not None
    answers: list[bytes] = []
    status = 200
    rows = 0
    for piece in pieces:
        if isinstance(piece, _Operation):
            reply = handle(piece.call)
            answers.append(_part(reply, piece.content_id))
            rows += reply.rows
        else:
            reply, done = _change_set(call, piece, records, handle)
            answers.append(_part(reply, None) if reply.status >= 400 else _nested(done))
            rows += sum(one.rows for one, _ in done)
        if reply.status >= 400 and not goes_on:
            status = reply.status
            break
    boundary = f"batchresponse_{uuid4()}"
    return Reply(status, _joined(boundary, answers), {"Content-Type": f"multipart/mixed; boundary={boundary}"}, rows)


def _change_set(
    call: Call, operations: list[_Operation], records: Records, handle: Handle
) -> tuple[Reply, list[tuple[Reply, str | None]]]:
    """All of the operations, or none; the reply that failed, or the last."""
    transaction = records.new_transaction(call)
    made: dict[bytes, str] = {}
    done: list[tuple[Reply, str | None]] = []
    reply = Reply(200)
    for one in operations:
        try:
            reply = handle(_resolved(one.call, made, call.root).within(transaction))
        except Refusal as fault:
            reply = fault.reply()
        if reply.status >= 400:
            transaction.undo()
            return reply, []
        if one.content_id is not None and "OData-EntityId" in reply.headers:
            made[one.content_id.encode()] = reply.headers["OData-EntityId"]
        done.append((reply, one.content_id))
    transaction.commit()
    return reply, done


def _resolved(call: Call, made: Mapping[bytes, str], root: str) -> Call:
    """With what `$1` stands for put in its place. Raises Refusal if it stands for nothing, and for a GET."""

    def address(match: re.Match[bytes]) -> bytes:
        if match[1] not in made:
            message = f"Content-ID Reference: '${match[1].decode()}' does not exist in the batch context."
            raise Refusal("0x80060889", message)
        return made[match[1]].encode()

    if call.method == "GET":
        raise Refusal("0x80060889", "A change set holds no GET.")
    path = call.path
    if path.startswith("$"):
        path = _REFERENCE.sub(address, path.encode(), count=1).decode().removeprefix(root)
    body = re.sub(
        rb'(?<=@odata\.bind":")\$(\d+)(?=")', address, re.sub(rb'(@odata\.bind")\s*:\s*"', rb'\1:"', call.body)
    )
    return Call(call.method, path, call.raw_query, call.headers, body, call.root, call.user_id)


def _pieces(content_type: str, body: bytes) -> list[bytes]:
    """What is between the boundaries. Raises Refusal."""
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/mixed") or match is None:
        raise Refusal("0x80060889", "A batch is multipart/mixed with a boundary.")
    mark = re.escape(match[1].encode())
    pieces = re.split(rb"(?:^|\r?\n)[ \t]*--" + mark + rb"(?=--|[ \t]*\r?\n)", body)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise Refusal("0x80060889", "The batch does not end with its boundary.")
    return [piece.lstrip(b" \t").lstrip(b"\r\n") for piece in pieces[1:-1]]


def _item(outer: Call, piece: bytes, path: str, *, is_inner: bool = False) -> "_Operation | list[_Operation]":
    headers, body = _headed(piece)
    content_type = headers.get("content-type", "")
    if content_type.lower().startswith("multipart/mixed") and not is_inner:
        inner = [_item(outer, one, path, is_inner=True) for one in _pieces(content_type, body)]
        return [one for one in inner if isinstance(one, _Operation)]
    if not content_type.lower().startswith("application/http"):
        raise Refusal("0x80060889", "A part of a batch is application/http.")
    # What stands before the first line of the request is nothing.
    line, _, rest = body.lstrip(b" \t\r\n").partition(b"\n")
    words = line.decode("utf-8", "replace").strip().split(" ")
    if len(words) < 3 or not words[-1].startswith("HTTP/"):
        raise Refusal(
            "0x80060889", f"Invalid header in a part of the batch: '{line.decode('utf-8', 'replace').strip()}'."
        )
    own_headers, own_body = _headed(rest)
    method, address = words[0].upper(), " ".join(words[1:-1])
    if address.startswith("$") and not address.startswith("$batch"):
        own, query = address, ""
    else:
        parts = urlsplit(address)
        own = parts.path.partition(path)[2] if path in parts.path else parts.path.lstrip("/")
        query = parts.query
    if own.startswith("$batch"):
        raise Refusal("0x80060889", "A batch holds no batch.")
    call = Call(method, own, query, own_headers, own_body.strip(), outer.root, outer.user_id)
    return _Operation(call, headers.get("content-id") or own_headers.get("content-id"))


def _headed(piece: bytes) -> tuple[dict[str, str], bytes]:
    """The headers, by name in lower case, and what follows the blank line after them."""
    stripped = piece.lstrip(b"\r\n") if piece[:1] in (b"\r", b"\n") and b":" not in piece[:2] else piece
    found = _BLANK.search(stripped)
    head, body = (stripped, b"") if found is None else (stripped[: found.start()], stripped[found.end() :])
    headers = {}
    for line in head.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers, body


def _part(reply: Reply, content_id: str | None) -> bytes:
    head = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id is not None:
        head.append(f"Content-ID: {content_id}")
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Error')}", "OData-Version: 4.0"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    body = b""
    if reply.body is not None:
        is_bytes = isinstance(reply.body, bytes)
        body = reply.body if is_bytes else orjson.dumps(reply.body)
        if "Content-Type" not in reply.headers:
            lines.append("Content-Type: application/json; odata.metadata=minimal")
    return "\r\n".join([*head, "", *lines, "", ""]).encode() + body


def _nested(done: list[tuple[Reply, str | None]]) -> bytes:
    boundary = f"changesetresponse_{uuid4()}"
    head = f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n".encode()
    return head + _joined(boundary, [_part(reply, content_id) for reply, content_id in done])


def _joined(boundary: str, parts: list[bytes]) -> bytes:
    mark = boundary.encode()
    return b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + mark + b"--\r\n"
