"""Retries: of what is safe to repeat, a little later each time, and never many."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.settings import settings
from app.telemetry import metrics

Result = TypeVar("Result")

# Seconds. Backoff: each pause is twice the one before. Jitter: a random bit more.
FIRST_PAUSE, LONGEST_PAUSE, JITTER = 0.05, 1.0, 0.05


class RetryBudget:
    """A share of all calls may be retries: a token bucket.

    If one call in a hundred fails, each can be retried. If all fail, retries would multiply the
    overload, so the budget soon runs out.
    """

    def __init__(self) -> None:
        self.tokens = settings.retry_burst

    def deposit(self) -> None:
        self.tokens = min(settings.retry_burst, self.tokens + settings.retry_share)

    def try_withdraw(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


budget = RetryBudget()


async def retry(
    call: Callable[[], Awaitable[Result]], is_retryable: Callable[[Exception], bool]
) -> Result:
    """Make a call that may be repeated: a read, never a write."""
    budget.deposit()
    retries, pause = 0, FIRST_PAUSE
    while True:
        try:
            return await call()
        except Exception as error:
            if retries == settings.retries or not is_retryable(error) or not budget.try_withdraw():
                raise
        await asyncio.sleep(pause + random.uniform(0, JITTER))  # noqa: S311 - no secret
        retries, pause = retries + 1, min(2 * pause, LONGEST_PAUSE)
        metrics.retries.labels("read").inc()
