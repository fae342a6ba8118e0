"""Nothing of a person or a credential is told, whatever goes wrong."""

import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace

from structlog.testing import capture_logs

from app.connectors.faults import Fault
from app.connectors.provider import Setup
from app.connectors.shapes import Connector, NewPerson, Outcome, Write
from tests.connectors.contract.place import ANN, BOB, Place, scenario
from tests.connectors.given import Shelf
from tests.connectors.stage import Line

_KNOWN_TO_ALL = ("client_id", "username", "tenant_id", "authority", "certificate")
"""Credentials that are no secrets."""


def untold(place: Place, setup: Setup, *texts: str, personal: Sequence[str] = ()) -> list[str]:
    """What ought not to be told, and was."""
    tokens = [one for grant in place.shelf.kept for one in (grant.access_token, grant.refresh_token)]
    keys = [value for name, value in setup.credentials.items() if name not in _KNOWN_TO_ALL]
    private = [one for one in (*tokens, *keys, *place.crm.secrets, *personal) if one]
    return sorted({f"{one[:40]} in {text[:200]}" for one in private for text in texts if one in text})


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []
        # The stand-in has a thread of its own.
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.heard.append(self.format(record))


@contextlib.contextmanager
def overhearing() -> Iterator[list[str]]:
    """Whatever any logger of this thread says at any level."""
    names = ["", *logging.root.manager.loggerDict]
    loggers = [logging.getLogger(name) for name in dict.fromkeys([*names, "httpx", "httpcore", "stamina", "app"])]
    levels = [one.level for one in loggers]
    ear = _Ear()
    logging.root.addHandler(ear)
    for one in loggers:
        one.setLevel(logging.DEBUG)
    try:
        with capture_logs() as entries:
            yield ear.heard
        ear.heard += map(repr, entries)
    finally:
        logging.root.removeHandler(ear)
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


@scenario
async def nothing_of_a_person_or_a_credential_is_told(place: Place) -> None:
    crm, told, faults = place.crm, list[str](), list[BaseException]()
    setup = place.setup()
    key, spoilt = place.key(await crm.add(ANN, note="a secret note")), f"{ANN} a secret note " + "x" * 70_000

    async def try_all(connector: Connector) -> None:
        steps: Sequence[Callable[[], Awaitable[object]]] = (
            connector.check,
            lambda: connector.changes(crm.object, None, [crm.note, crm.address]),
            lambda: connector.find(crm.object, [ANN], [crm.note, crm.address]),
            lambda: connector.fetch(crm.object, [key.id, ANN], [crm.note]),
            lambda: connector.write([Write(key, {crm.note: spoilt})]),
            lambda: connector.write([Write(key, {crm.note: 5, "no_such_field": ANN})]),
            lambda: connector.create([NewPerson(crm.object, ANN, ANN, {crm.note: spoilt})]),
            lambda: connector.create([NewPerson(crm.object, f"no address: {ANN}, {BOB}", "a secret note", {})]),
            lambda: connector.subscribe(crm.hook, "us", "pass-word"),
        )
        for step in steps:
            try:
                said = await step()
            except Fault as fault:
                faults.append(fault)
            else:
                if isinstance(said, list | tuple) and said and isinstance(said[0], Outcome):
                    told.extend(f"{one.code} {one.reason} {one.fields}" for one in said)

    with overhearing() as logged:
        await try_all(place.connector(setup))
        await try_all(place.connector(crm.wrong(replace(setup, keeper=Shelf()))))
        for line in (Line.HTML_502, Line.TORN, Line.NOT_JSON, Line.BUSY):
            crm.stage.line = line
            await try_all(place.connector(setup))
            crm.stage.line = None

    told += [f"{fault} {fault!r} {fault.__cause__!r}" for fault in faults]
    assert len(faults) > 10
    personal = [ANN, "ann%40example", BOB, "a secret note", "pass-word"]
    assert [] == untold(place, setup, *told, *logged, personal=personal)
