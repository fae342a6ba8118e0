"""What the stand-ins' web apps share: several methods at one path, the bodies of calls, where they are served."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Handler = Callable[[Request], Awaitable[Response]]


def routes(handlers: Iterable[tuple[str, str, Handler]]) -> list[Route]:
    """Of (method, path, handler), in the order in which the paths come first; HEAD is answered as GET."""
    paths: dict[str, dict[str, Handler]] = {}
    for method, path, handler in handlers:
        paths.setdefault(path, {})[method] = handler
    return [Route(path, _by_method(known), methods=list(known)) for path, known in paths.items()]


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return handle


async def read(request: Request, most: int) -> bytes | None:
    """The body, to its end; None if it is of more bytes than `most`."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size <= most:
            pieces.append(piece)
    return b"".join(pieces) if size <= most else None


def base_url(request: Request) -> str:
    """Where the stand-in is served, without a last slash."""
    # `request.base_url` would leave out the prefix below which it is mounted.
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}".rstrip("/")
