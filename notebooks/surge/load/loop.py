"""What a closed and an open loop have in common: connections, counts, and a timeout.

A loop takes requests from an endless stream and keeps every latency. At the end it waits for the
requests that are under way: the time that a slow system needs for its last responses is part of
what the load took.
"""

import asyncio
import gzip
import hashlib
from array import array
from collections import Counter, deque
from collections.abc import Collection, Iterator
from itertools import cycle, islice
from time import perf_counter_ns
from typing import Any
from urllib.parse import urlsplit

from surge.load.http1 import Connection, Request, Response
from surge.load.plan import SECOND, Plan

TICK_SECONDS = 0.01
"""How often the loop looks for requests that have timed out."""
GZIP_MAGIC = b"\x1f\x8b"
"""How a compressed body begins; JSON never does."""
VARYING = "several"
"""Instead of a digest: the same path had different bodies within one load."""


class Loop:
    """Offers one plan's load; `ClosedLoop` and `OpenLoop` decide when a request goes out.

    Args:
        plan: the load to offer.
        requests: an endless stream.
        allowed: the statuses that count as good responses.
    """

    def __init__(self, plan: Plan, requests: Iterator[Request], allowed: Collection[int]) -> None:
        self.plan = plan
        self.requests = requests
        self.allowed = allowed
        parts = [urlsplit(url) for url in plan.urls]
        addresses = cycle((part.hostname or "127.0.0.1", part.port or 80) for part in parts)
        self.connections = [
            Connection(address, self.record, plan.digest)
            for address in islice(addresses, plan.connections)
        ]
        self.follow_ups: deque[Request] = deque()
        self.latencies = array("q")
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.digests: dict[str, str] = {}
        self.body_bytes = 0
        self.started_at = 0
        self.finished = asyncio.Event()
        self.failure: Exception | None = None

    async def start(self) -> None:
        """Start the clock and send the first requests."""
        raise NotImplementedError

    def on_idle(self, connection: Connection) -> None:
        """Decide what a connection does after its response."""
        raise NotImplementedError

    def throughput(self, seconds: float) -> float:
        """Good responses per second, of a load that took so many seconds."""
        return len(self.latencies) / seconds

    def time_out(self, before: int) -> None:
        """Fail the requests that were due before this moment and have no response yet."""
        for connection in self.connections:
            if connection.request is not None and connection.intended < before:
                connection.fail("timeout")

    async def run(self) -> float:
        """Offer the load, wait for all responses, and return the seconds since the first request.

        Raises:
            Exception: whatever a callback raised, such as a mistake in the stream of requests.
        """
        asyncio.get_running_loop().set_exception_handler(self._on_callback_error)
        timeouts = asyncio.create_task(self._watch_timeouts())
        await self.start()
        await self.finished.wait()
        seconds = (perf_counter_ns() - self.started_at) / SECOND
        await timeouts
        for connection in self.connections:
            connection.close()
        if self.failure:
            raise self.failure
        return seconds

    def next_request(self) -> Request:
        """The next step of a walk, or else a new request."""
        return self.follow_ups.popleft() if self.follow_ups else next(self.requests)

    def record(self, connection: Connection, response: Response) -> None:
        """Count how a request ended, and hand its connection back to the loop."""
        if response.error is None:
            self.statuses[response.status] += 1
            self.body_bytes += response.size
        if response.status in self.allowed:
            self.latencies.append(response.ended - response.intended)
            if response.body is not None:
                self._read_body(response.request, response.status, response.body)
        else:
            self.errors[response.error or f"status {response.status}"] += 1
        self.on_idle(connection)

    def _read_body(self, request: Request, status: int, body: bytes) -> None:
        if body.startswith(GZIP_MAGIC):
            body = gzip.decompress(body)
        if request.follow and (follow_up := request.follow(body)):
            self.follow_ups.append(follow_up)
        method, target, _ = request.raw.split(b" ", 2)
        if method == b"GET":  # a response to a POST has an id and a time of its own
            path, digest = target.decode(), f"{status} {hashlib.sha256(body).hexdigest()[:16]}"
            if self.digests.setdefault(path, digest) != digest:
                self.digests[path] = VARYING

    async def _watch_timeouts(self) -> None:
        while not self.finished.is_set():
            await asyncio.sleep(TICK_SECONDS)
            self.time_out(perf_counter_ns() - int(self.plan.timeout * SECOND))

    def _on_callback_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End the run. By default asyncio logs the error, and `run` would wait for ever."""
        self.failure = context.get("exception") or RuntimeError(context["message"])
        self.finished.set()
