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
    """Every connection asks again as soon as it is answered, until time or count is used up."""

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
        self.busy_ns = 0
        self.started_at = perf_counter_ns()
        self.ends_at = self.started_at + int((self.plan.seconds or 1e9) * SECOND)
        for connection in self.connections:
            self.on_idle(connection)

    def busy_seconds(self, seconds: float) -> float:
        """How long a connection was at work, on average."""
        return self.busy_ns / len(self.connections) / SECOND

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
            self.busy -= 1
            self.busy_ns += now - self.started_at
            if not self.busy:
                self.finished.set()
