"""The HTTP server: uvicorn, that lets nobody hold it who is gone, and ends what would go on for ever."""

import logging
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

_GONE_MS = 60_000
"""What was sent and not acknowledged for so long, or could not be sent, for the other side takes nothing."""
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds of silence until the other side is asked, seconds between two questions, and questions."""


def _is_of_the_server(record: logging.LogRecord) -> bool:
    """Not of one socket: uvicorn tells of each from which address it came, though it is to keep no log of accesses."""
    return not str(record.msg).startswith(('%s - "WebSocket', "connection "))


class Server(uvicorn.Server):
    """Raises nothing of its own. `app.state.hang_up` is called when it ends, before anybody is waited for."""

    def __init__(self, app: FastAPI, **options: Any) -> None:  # Any: uvicorn's
        self._app = app
        logging.getLogger("uvicorn.error").addFilter(_is_of_the_server)
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=20,
                ws="websockets-sansio",
                ws_max_size=1_000_000,
                ws_ping_interval=20,
                ws_ping_timeout=20,
                ws_per_message_deflate=False,  # 64 kB for each socket, to make small messages smaller
                **options,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                _bound(listening)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.hang_up()
        await super().shutdown(sockets)


def _bound(listening: Any) -> None:  # Any: asyncio's wrapper of a socket, or uvloop's
    """Have the kernel end connections to whoever is gone, or takes nothing: they are made like the one listening."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in {**_KEEP_ALIVE, "TCP_USER_TIMEOUT": _GONE_MS}.items():
        if hasattr(socket, name):  # not on every system
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
