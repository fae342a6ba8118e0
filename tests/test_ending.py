import asyncio
import os
import signal
import threading

import pytest

from app.ending import Ending


def send(number: signal.Signals, after: float = 0.0) -> None:
    threading.Timer(after, os.kill, (os.getpid(), number)).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_waits_is_cancelled_and_tidies_up_before_the_process_ends(number: signal.Signals) -> None:
    tidied = []

    async def wait() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)
            tidied.append(True)

    with Ending() as ending:
        send(number, 0.05)
        with pytest.raises(SystemExit) as ended:
            ending.run(wait())

    assert (128 + number, [True]) == (ended.value.code, tidied)


def test_a_signal_between_two_steps_is_obeyed_at_the_next_one() -> None:
    began = []

    async def step() -> None:
        began.append(True)
        await asyncio.sleep(0)

    with Ending() as ending:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit):
            ending.run(step())
        with pytest.raises(SystemExit):
            ending.check()

    assert [] == began


def test_work_that_ends_by_itself_gives_its_result() -> None:
    async def seven() -> int:
        return 7

    with Ending() as ending:
        assert 7 == ending.run(seven())
        ending.check()


def test_work_that_cancels_itself_is_no_signal() -> None:
    async def cancel() -> None:
        raise asyncio.CancelledError

    with Ending() as ending, pytest.raises(asyncio.CancelledError):
        ending.run(cancel())


def test_whoever_is_to_obey_hears_of_a_signal_that_came_before() -> None:
    heard = []
    with Ending() as ending:
        os.kill(os.getpid(), signal.SIGINT)
        ending.obeyed_by(lambda: heard.append("first"))
        os.kill(os.getpid(), signal.SIGINT)

    assert ["first", "first"] == heard


def test_the_third_signal_waits_for_nobody() -> None:
    with Ending():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Ending():
        assert before != (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))

    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
