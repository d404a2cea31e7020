"""The closed loop: each connection sends its next request when it has the last response."""

import asyncio
import os
import signal
from time import perf_counter_ns

from surge.load.http1 import Connection
from surge.load.loop import Loop
from surge.load.plan import SECOND

SETTLE_SECONDS = 0.3
"""Time for sent data to arrive."""


class ClosedLoop(Loop):
    """Every connection asks again as soon as it is answered, until time or count is used up.

    Then the responses that are under way are waited for, and the throughput is counted up to the
    moment, from the last request to the last response, that shows the most of it. At the end of the
    time alone, a service that is slower than a slice would have answered nothing yet. At the last
    response alone, one that is rarely slow would look as slow as that one response.
    """

    async def start(self) -> None:
        """Open the connections, then start the clock: requests are timed, not handshakes."""
        opening = [connection.open() for connection in self.connections]
        await asyncio.gather(*opening, return_exceptions=True)
        if self.plan.hold:
            await asyncio.sleep(SETTLE_SECONDS)  # the service may not have accepted all of them yet
            self.signal_held(signal.SIGSTOP)
            await asyncio.sleep(SETTLE_SECONDS)
            loop = asyncio.get_running_loop()
            loop.call_later(SETTLE_SECONDS, self.signal_held, signal.SIGCONT)
        self.sent = 0
        self.busy = len(self.connections)
        self.best = 0.0
        self.started_at = perf_counter_ns()
        self.ends_at = self.started_at + int((self.plan.seconds or 1e9) * SECOND)
        for connection in self.connections:
            self.on_idle(connection)

    def throughput(self, seconds: float) -> float:
        """Good responses per second, up to the moment that shows the most of them."""
        return self.best * SECOND

    def count_until(self, moment: int, responses: int) -> None:
        """Consider what the throughput is up to a moment."""
        self.best = max(self.best, responses / (moment - self.started_at))

    def signal_held(self, number: signal.Signals) -> None:
        """Stop or continue the processes that the plan holds."""
        for pid in self.plan.hold:
            os.kill(pid, number)

    def on_idle(self, connection: Connection) -> None:
        """Send the next request; without one, the connection is done."""
        now = perf_counter_ns()
        if now < self.ends_at and self.sent != self.plan.count:
            self.sent += 1
            connection.send(self.next_request(), now)
        else:
            if self.busy == len(self.connections):  # the first response after the last request
                self.count_until(min(now, self.ends_at), len(self.latencies) - 1)
            self.count_until(now, len(self.latencies))
            self.busy -= 1
            if not self.busy:
                self.finished.set()
