"""The web snippet, as pages load it: `<script async src="https://…/t.js" data-key="wk_…"></script>`."""

import gzip
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

router = APIRouter(tags=["Tracking"])

_FILE = Path(__file__).parent.parent / "snippet" / "t.js"
_COMMENT = re.compile(r"(^|\s+)// .*")
_AIR = re.compile(r"\s*([=(){},;:?<>&|+])\s*")
_CACHED_S = 3_600
"""How long a page may go on with the old snippet after an upgrade."""


def _served(source: str) -> bytes:
    """The source without comments and the air around signs. No text in it has either: the tests run what is served."""
    lines = (_AIR.sub(r"\1", _COMMENT.sub("", line.strip())) for line in source.splitlines())
    return "\n".join(filter(None, lines)).encode()


_PLAIN = _served(_FILE.read_text(encoding="utf-8"))
_GZIPPED = gzip.compress(_PLAIN, mtime=0)
_TAG = hashlib.sha256(_PLAIN).hexdigest()[:16]


@router.get("/t.js", summary="The web snippet", response_class=Response, openapi_extra={"security": []})
async def get_snippet(request: Request) -> Response:
    is_gzipped = "gzip" in request.headers.get("accept-encoding", "")
    tag = f'"{_TAG}-gzip"' if is_gzipped else f'"{_TAG}"'
    headers = {
        "Cache-Control": f"public, max-age={_CACHED_S}",
        "ETag": tag,
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",  # for pages that check its integrity
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if is_gzipped:
        headers["Content-Encoding"] = "gzip"
    return Response(_GZIPPED if is_gzipped else _PLAIN, headers=headers, media_type="text/javascript")
