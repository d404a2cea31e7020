"""The limit: how many requests may be under way, found out while they are (load shedding)."""

import asyncio

from app.settings import settings
from app.telemetry import metrics

TICK = 0.02  # seconds
TICKS = 3  # of an interval: more would be surer, and slower just when it matters


class Limit:
    """Fewer when requests queue, more while they do not (AIMD, as TCP does it).

    Queueing is told as CoDel tells it (Nichols and Jacobson, "Controlling Queue Delay", 2012): by
    the least delay of an interval. A burst makes one turn of the loop late, and is over. When even
    the quickest turn was late, more comes in than goes out.
    """

    def __init__(self) -> None:
        self.limit = float(settings.limit_most)
        self.under_way = self.most = 0
        self.least: dict[str, float] = {}

    def enter(self) -> bool:
        if self.under_way >= self.limit:
            return False
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        return True

    def leave(self) -> None:
        self.under_way -= 1

    def delayed(self, queue: str, share: float) -> None:
        """Somebody has queued for this share of what is tolerable."""
        self.least[queue] = min(share, self.least.get(queue, share))

    def adjust(self) -> None:
        worst = max(self.least.values(), default=0.0)
        if worst > 1:
            # As much less as the queue is too long, at most to a quarter.
            fewer = min(self.limit, self.most) * max(0.25, 0.9 / worst)
            self.limit = max(settings.limit_least, fewer)
        else:
            self.limit = min(settings.limit_most, self.limit + settings.limit_step)
        self.most = self.under_way
        self.least.clear()

    async def keep_adjusting(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for _ in range(TICKS):
                due = loop.time() + TICK
                await asyncio.sleep(TICK)
                self.delayed("loop", (loop.time() - due) / settings.limit_loop)
            self.adjust()


limit = Limit()
metrics.limited_to.set_function(lambda: limit.limit)
