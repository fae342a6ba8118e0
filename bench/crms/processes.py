"""The stand-ins in a process of their own."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from bench.crms.crm import Reached

_PATIENCE_S = 10.0


@asynccontextmanager
async def stand_ins(people: int) -> AsyncIterator[dict[str, Reached]]:
    """`leadtally sandbox` in a process of its own, which ends with the block; how to reach each CRM, by its name."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "sandbox", "--port", "0", "--people", str(people),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        try:
            said = await process.stdout.readuntil(b"\n}\n")
        except asyncio.IncompleteReadError:
            raise RuntimeError("the sandbox ended at once; `leadtally sandbox` says why") from None
        yield orjson.loads(said)
    finally:
        await ended(process)


async def ended(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, and see to it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
