"""Retries: of what is safe to repeat, a little later each time, and never many."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

from app.resilience.deadlines import left
from app.settings import settings
from app.telemetry import metrics

Got = TypeVar("Got")


class Budget:
    """A share of all calls may be retries: a token bucket.

    When one in a hundred fails, each gets its retry. When all fail, retries would only multiply
    what is too much already, and hardly any is made.
    """

    def __init__(self) -> None:
        self.tokens = settings.retry_burst

    def called(self) -> None:
        self.tokens = min(settings.retry_burst, self.tokens + settings.retry_share)

    def take(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


budget = Budget()
set_on_retry_hooks([])  # the budget counts


async def retried(call: Callable[[], Awaitable[Got]], on: Callable[[Exception], bool]) -> Got:
    """What a call gives that may be repeated: a read, never a write."""
    budget.called()
    try:
        return await call()
    except Exception as error:  # the usual case need not pay for stamina
        if not on(error):
            raise
        failed = error

    def again(error: Exception) -> bool:
        return on(error) and attempt.num <= settings.retries and budget.take()

    async for attempt in stamina.retry_context(
        on=again,
        attempts=1 + settings.retries,
        timeout=max(0.0, left()),
        wait_initial=0.05,
        wait_max=1.0,
        wait_jitter=0.05,
    ):
        with attempt:
            if attempt.num == 1:
                raise failed  # that was ours; now it waits before each of its own
            metrics.retried.labels("read").inc()
            return await call()
    raise AssertionError("stamina gives an answer or raises")
