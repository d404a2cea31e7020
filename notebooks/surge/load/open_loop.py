"""The open loop: requests go out at moments fixed beforehand, whatever the responses."""

import asyncio
import signal
from collections import deque
from random import Random
from time import perf_counter_ns

from surge.load.http1 import Connection
from surge.load.loop import Loop
from surge.load.plan import SECOND

SHORTEST_TIMER = 1e-5
"""Seconds. A timer of 0 would be switched off."""


class OpenLoop(Loop):
    """Sends each request when it is due, on any idle connection, opened as needed.

    While no connection is idle, requests queue here. Their latency counts from the moment they were
    due, so a server that stalls cannot hide its stall (Gil Tene's "coordinated omission"). The
    moments are random, as independent shoppers are: `rate` x `seconds` of them, uniformly spread,
    which is a Poisson process whose count is known. Even spacing would spare the server the
    coincidences that make real queues. The seed gives A and B the same moments.
    """

    async def start(self) -> None:
        """Draw the arrivals and set the timer for the first."""
        plan = self.plan
        rate, seconds = plan.rate or 0.0, plan.seconds or 0.0
        rand = Random(plan.seed).random  # noqa: S311 - arrivals, not secrets
        self.idle = self.connections[:]
        self.queue: deque[int] = deque()
        self.started_at = perf_counter_ns()
        offsets = sorted(rand() * seconds for _ in range(round(rate * seconds)))
        self.arrivals = deque(self.started_at + int(offset * SECOND) for offset in offsets)
        # A signal, because event loops round their timers to whole milliseconds.
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, self.send_due)
        self.send_due()

    def send_due(self) -> None:
        """Send or queue every request that is due, and set the timer for the next."""
        now = perf_counter_ns()
        while self.arrivals and self.arrivals[0] <= now:
            intended = self.arrivals.popleft()
            if self.idle:
                self.idle.pop().send(self.next_request(), intended)
            else:
                self.queue.append(intended)
        if self.arrivals:
            delay = max(SHORTEST_TIMER, (self.arrivals[0] - now) / SECOND)
            signal.setitimer(signal.ITIMER_REAL, delay)
        else:
            self._finish_when_idle()

    def on_idle(self, connection: Connection) -> None:
        """Send the request that has queued longest; without one, the connection is idle."""
        if self.queue:
            connection.send(self.next_request(), self.queue.popleft())
        else:
            self.idle.append(connection)
            self._finish_when_idle()

    def time_out(self, before: int) -> None:
        """Fail the queued requests, too, that were due before this moment."""
        while self.queue and self.queue[0] < before:
            self.queue.popleft()
            self.errors["timeout"] += 1
        super().time_out(before)

    def _finish_when_idle(self) -> None:
        if not self.arrivals and len(self.idle) == len(self.connections):
            self.finished.set()
