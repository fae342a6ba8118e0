"""The command `sandbox`: stand-in CRMs, to try the sync without an account."""

import socket
from typing import Annotated

import orjson
import typer
import uvicorn

from app import terminal
from app.ending import Ending
from app.terminal import err

_MOST_PEOPLE = 1_000_000


def serve(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8100,
    people_: Annotated[int, typer.Option("--people", min=0, max=_MOST_PEOPLE, help="How many each CRM knows.")] = 100,
    seed: Annotated[int, typer.Option(help="Another seed makes other people.")] = 0,
    host: Annotated[str, typer.Option(help="The address to listen on. Anyone who reaches it may do anything.")] = (
        "127.0.0.1"
    ),
) -> None:
    """Serve stand-in CRMs with made-up people, and print as JSON how to reach each. All is gone when it ends."""
    from app.sandbox.people import people  # here, for every command would pay for it
    from app.sandbox.server import build, stand_ins

    with Ending() as ending, _listening(host, port) as listener:
        base = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        served = stand_ins()
        for one in served:
            one.fill(people(people_, seed))
            ending.check()
        reached = {one.name: one.credentials(f"{base}/{one.name}") for one in served}
        print(orjson.dumps(reached, option=orjson.OPT_INDENT_2).decode(), flush=True)
        err.print(f"{base} serves {people_:,} people in each CRM; stop it with Ctrl-C.", markup=False)
        server = uvicorn.Server(uvicorn.Config(build(served), log_config=None, access_log=False, server_header=False))
        ending.obeyed_by(lambda: setattr(server, "should_exit", True))
        server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that keeps who comes early waiting until the server is up."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as fault:
        terminal.fail(f"cannot listen on {host}:{port} ({fault.strerror}); give another --port")
