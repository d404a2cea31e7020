"""The limit: how many requests may be in flight, found out while they are (load shedding)."""

import asyncio

from app.settings import settings
from app.telemetry import metrics

TICK = 0.02  # seconds
TICKS_PER_INTERVAL = 3  # more would be surer, and slower just when it matters


class AdaptiveConcurrencyLimit:
    """Fewer when requests queue, more while they do not (AIMD, as TCP does it).

    Queueing is told as CoDel tells it (Nichols and Jacobson, "Controlling Queue Delay", 2012): by
    the minimum delay of an interval. A burst makes one turn of the loop late, and is over. When
    even the quickest turn was late, more comes in than goes out.
    """

    def __init__(self) -> None:
        self.limit = float(settings.limit_most)
        self.in_flight = self.peak = 0
        self.minimum_delays: dict[str, float] = {}

    def try_acquire(self) -> bool:
        if self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        return True

    def release(self) -> None:
        self.in_flight -= 1

    def observe_delay(self, queue: str, share: float) -> None:
        """Take note of a wait in a queue, as a share of what is tolerable there."""
        self.minimum_delays[queue] = min(share, self.minimum_delays.get(queue, share))

    def adjust(self) -> None:
        worst = max(self.minimum_delays.values(), default=0.0)
        if worst > 1:
            # As much less as the queue is too long, at most to a quarter.
            fewer = min(self.limit, self.peak) * max(0.25, 0.9 / worst)
            self.limit = max(settings.limit_least, fewer)
        else:
            self.limit = min(settings.limit_most, self.limit + settings.limit_step)
        self.peak = self.in_flight
        self.minimum_delays.clear()

    async def keep_adjusting(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for _ in range(TICKS_PER_INTERVAL):
                due = loop.time() + TICK
                await asyncio.sleep(TICK)
                self.observe_delay("loop", (loop.time() - due) / settings.limit_loop)
            self.adjust()


limit = AdaptiveConcurrencyLimit()
metrics.concurrency_limit.set_function(lambda: limit.limit)
