"""The command `sandbox`: stand-in CRMs, to try the sync without an account."""

import socket
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
import uvicorn

from app import terminal
from app.ending import Ending
from app.terminal import err

if TYPE_CHECKING:  # every command would pay for it
    import httpx

_MOST_PEOPLE = 1_000_000
_SIGNS_IN = {
    "salesforce": ("client_credentials", "instance_url", ("client_id", "client_secret")),
    "pipedrive": ("api_token", "base_url", ("api_token",)),
    "copper": ("api_key", "base_url", ("api_key", "user_email")),
    "hubspot": ("private_app", "base_url", ("access_token",)),
    "dynamics": ("client_credentials", "base_url", ("tenant_id", "client_id", "client_secret", "authority")),
}
"""The flow of each, where it is, and what it takes."""
_CHOICES = {"copper": {"requests_per_minute": 6_000}, "hubspot": {"calls_in_10_s": 1_000, "searches_in_1_s": 100}}
"""What the CRMs themselves would not allow, and the stand-ins do: nobody waits for what can be tried at once."""


def serve(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8100,
    people_: Annotated[int, typer.Option("--people", min=0, max=_MOST_PEOPLE, help="How many each CRM knows.")] = 100,
    seed: Annotated[int, typer.Option(help="Another seed makes other people.")] = 0,
    host: Annotated[str, typer.Option(help="The address to listen on. Anyone who reaches it may do anything.")] = (
        "127.0.0.1"
    ),
    connect: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Connect them to the Leadtally there, as http://127.0.0.1:8000; with --key."),
    ] = None,
    key: Annotated[str | None, typer.Option(envvar="LEADTALLY_KEY", help="An admin key of that Leadtally.")] = None,
) -> None:
    """Serve stand-in CRMs with made-up people, and print as JSON how to reach each. All is gone when it ends."""
    if connect is not None and key is None:
        terminal.fail("--connect needs an admin key: --key lt_…")
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
        if connect is not None:
            # Beside the server, for whoever is connected tries it at once.
            threading.Thread(target=_connect, args=(server, connect, key, reached), daemon=True).start()
        server.run(sockets=[listener])


def _connect(server: uvicorn.Server, address: str, key: str, reached: dict[str, dict[str, str]]) -> None:
    """Make a connection to each stand-in, or give the one that is there its new credentials; then test it."""
    import httpx

    while not server.started:
        time.sleep(0.01)
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
        for kind, given in reached.items():
            flow, place, names = _SIGNS_IN[kind]
            said = {
                "flow": flow,
                "base_url": given[place],
                "credentials": {name: given[name] for name in names},
                "options": {"choices": _CHOICES.get(kind, {})},
            }
            name = f"sandbox {kind}"
            try:
                known = {one["name"]: one["id"] for one in _asked(http.get("/v1/connections"))["items"]}
                if name in known:
                    id_ = _asked(http.patch(f"/v1/connections/{known[name]}", json=said))["id"]
                else:
                    id_ = _asked(http.post("/v1/connections", json={"kind": kind, "name": name, **said}))["id"]
                tested = _asked(http.post(f"/v1/connections/{id_}/test"))
            except (httpx.HTTPError, ValueError) as fault:
                err.print(f"{name!r} is not connected: {fault}", markup=False)
                continue
            found = "" if tested["ok"] else ": " + "; ".join(one["what"] for one in tested["findings"])
            err.print(f"{name!r} is connected{found}", markup=False)


def _asked(reply: "httpx.Response") -> dict[str, Any]:  # Any: JSON
    """Raises ValueError with the problem's words."""
    said: dict[str, Any] = reply.json()  # Any: JSON
    if reply.is_success:
        return said
    faults = "; ".join(f"{one['pointer']}: {one['detail']}" for one in said.get("errors") or ())
    raise ValueError(faults or said.get("detail") or said.get("title") or f"status {reply.status_code}")


def _listening(host: str, port: int) -> socket.socket:
    """A socket that keeps who comes early waiting until the server is up."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as fault:
        terminal.fail(f"cannot listen on {host}:{port} ({fault.strerror}); give another --port")
