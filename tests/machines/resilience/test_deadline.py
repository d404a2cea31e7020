"""Deadlines: the smaller one wins, and tasks inherit it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from app.resilience.deadlines import deadline, remaining_seconds, requested_timeout
from app.settings import settings

OURS = settings.request_seconds


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose clock goes on only when the test turns it."""

    now = 0.0

    def time(self) -> float:
        return self.now


def run(test: Callable[[Clock], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=Clock) as runner:
        clock = runner.get_loop()
        assert isinstance(clock, Clock)
        runner.run(test(clock))


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [(b"0.5", 0.5), (b"0", 0), (b"3600", OURS), (b"soon", OURS), (b"-1", OURS), (b"", OURS)],
)
def test_a_client_gets_what_it_asks_for_and_no_more(wish: bytes, seconds: float) -> None:
    assert requested_timeout({b"request-timeout": wish}) == seconds


def test_what_remains_is_the_same_in_tasks() -> None:
    async def remaining() -> float:
        return remaining_seconds()

    async def test(clock: Clock) -> None:
        assert remaining_seconds() == OURS  # without a deadline
        async with deadline(3):
            clock.now += 2
            assert await asyncio.create_task(remaining()) == 1

    run(test)


def test_the_smaller_of_two_ends_what_is_awaited() -> None:
    async def test(clock: Clock) -> None:
        async with deadline(1), deadline(3):
            clock.now += 1
            for _ in range(3):  # turns of the loop
                await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        run(test)
