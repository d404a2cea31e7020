"""The two ways to offer load: closed (who is answered asks again) and open (the clock asks).

Both take requests from an endless stream, keep every latency, and wait for what is under way at
the end: the time a slow system needs for its last answers is part of what it took.
"""

import asyncio
import gzip
import hashlib
import os
import signal
from array import array
from collections import Counter, deque
from collections.abc import Collection, Iterator
from itertools import cycle, islice
from random import Random
from time import perf_counter_ns
from typing import Any
from urllib.parse import urlsplit

from surge.load.http1 import Answer, Lane, Request
from surge.load.plan import SECOND, Plan

TICK = SECOND // 100
SETTLED = 0.3
"""Seconds after which what was sent has arrived."""
GZIP = b"\x1f\x8b"
"""How a compressed body begins; JSON never does."""


class Loop:
    """What both loops share: the lanes, the tally, the watch."""

    def __init__(self, plan: Plan, requests: Iterator[Request], allowed: Collection[int]) -> None:
        self.plan = plan
        self.requests = requests
        self.allowed = allowed
        parts = [urlsplit(url) for url in plan.urls]
        addresses = cycle((part.hostname or "127.0.0.1", part.port or 80) for part in parts)
        lanes = islice(addresses, plan.connections)
        self.lanes = [Lane(address, self.answered, plan.sample) for address in lanes]
        self.walks: deque[Request] = deque()
        self.latencies = array("q")
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.digests: dict[str, str] = {}
        self.body_bytes = 0
        self.started = 0
        self.finished = asyncio.Event()
        self.failure: Exception | None = None

    async def begin(self) -> None:
        """Offer the first requests."""
        raise NotImplementedError

    def free(self, lane: Lane) -> None:
        """Decide what a lane that has its answer does next."""
        raise NotImplementedError

    def give_up(self, before: int) -> None:
        """End what was meant to go out before this moment and has no answer yet."""
        for lane in self.lanes:
            if lane.request is not None and lane.intended < before:
                lane.give_up("timeout")

    async def run(self) -> float:
        """Offer the load and wait for all answers; the seconds from the first request on."""
        asyncio.get_running_loop().set_exception_handler(self._failed)
        watch = asyncio.create_task(self._watch())
        await self.begin()
        await self.finished.wait()
        seconds = (perf_counter_ns() - self.started) / SECOND
        await watch
        for lane in self.lanes:
            lane.close()
        if self.failure:
            raise self.failure
        return seconds

    def next(self) -> Request:
        """The next step of a walk, or else a new request."""
        return self.walks.popleft() if self.walks else next(self.requests)

    def answered(self, lane: Lane, answer: Answer) -> None:
        """Book how a request ended."""
        if answer.error is None:
            self.statuses[answer.status] += 1
            self.body_bytes += answer.size
        if answer.status in self.allowed:
            self.latencies.append(answer.ended - answer.intended)
            if answer.body is not None:
                self._look_into(answer.request, answer.status, answer.body)
        else:
            self.errors[answer.error or f"status {answer.status}"] += 1
        self.free(lane)

    def _look_into(self, request: Request, status: int, body: bytes) -> None:
        if body.startswith(GZIP):
            body = gzip.decompress(body)
        if request.follow and (onwards := request.follow(body)):
            self.walks.append(onwards)
        method, target, _ = request.raw.split(b" ", 2)
        if method == b"GET":  # a POST's answer has an id and a time of its own
            path, digest = target.decode(), f"{status} {hashlib.sha256(body).hexdigest()[:16]}"
            if self.digests.setdefault(path, digest) != digest:
                self.digests[path] = "several"  # it changes while we look

    async def _watch(self) -> None:
        while not self.finished.is_set():
            await asyncio.sleep(TICK / SECOND)
            self.give_up(perf_counter_ns() - int(self.plan.timeout * SECOND))

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A mistake in a callback ends the run; asyncio would only log it, and we would hang."""
        self.failure = context.get("exception") or RuntimeError(context["message"])
        self.finished.set()


class Closed(Loop):
    """Every connection asks again as soon as it is answered, until time or count is used up."""

    async def begin(self) -> None:
        """Open the connections before the clock starts: it is requests that are timed."""
        await asyncio.gather(*(lane.open() for lane in self.lanes), return_exceptions=True)
        if self.plan.hold:
            await asyncio.sleep(SETTLED)  # a connection that is open may not be accepted yet
            self.signal(signal.SIGSTOP)
            await asyncio.sleep(SETTLED)
            asyncio.get_running_loop().call_later(SETTLED, self.signal, signal.SIGCONT)
        self.asked = 0
        self.working = len(self.lanes)
        self.started = perf_counter_ns()
        self.ends = self.started + int((self.plan.seconds or 1e9) * SECOND)
        for lane in self.lanes:
            self.free(lane)

    def signal(self, number: signal.Signals) -> None:
        """Stop those who are to be held, or let them go on."""
        for pid in self.plan.hold:
            os.kill(pid, number)

    def free(self, lane: Lane) -> None:
        """Ask again, or stop for good."""
        now = perf_counter_ns()
        if now < self.ends and self.asked != self.plan.count:
            self.asked += 1
            lane.send(self.next(), now)
        else:
            self.working -= 1
            if not self.working:
                self.finished.set()


class Open(Loop):
    """Requests go out when their time has come, on any idle connection, opened as needed.

    While none is idle they queue here, and their latency counts from the moment they were meant
    to go out: a server that stalls cannot make the probe look away (Gil Tene's "coordinated
    omission"). The moments are random, as independent shoppers are: `rate` x `seconds` of them,
    uniformly spread, which is a Poisson stream whose count is known. Even spacing would spare the
    server every coincidence that makes real queues; the seed gives A and B the same moments.
    """

    async def begin(self) -> None:
        """Set the clock for the first arrival."""
        plan = self.plan
        rate, seconds = plan.rate or 0.0, plan.seconds or 0.0
        rand = Random(plan.seed).random  # noqa: S311 - arrivals, not secrets
        self.idle = self.lanes[:]
        self.waiting: deque[int] = deque()
        self.started = perf_counter_ns()
        offsets = sorted(rand() * seconds for _ in range(round(rate * seconds)))
        self.arrivals = deque(self.started + int(offset * SECOND) for offset in offsets)
        # A signal, because event loops round their timers to whole milliseconds.
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, self.arrive)
        self.arrive()

    def arrive(self) -> None:
        """Send, or queue, everything whose time has come; set the clock for the next."""
        now = perf_counter_ns()
        while self.arrivals and self.arrivals[0] <= now:
            intended = self.arrivals.popleft()
            if self.idle:
                self.idle.pop().send(self.next(), intended)
            else:
                self.waiting.append(intended)
        if self.arrivals:
            # Never 0, which would stop the clock.
            signal.setitimer(signal.ITIMER_REAL, max(1e-5, (self.arrivals[0] - now) / SECOND))
        else:
            self._finish_when_idle()

    def free(self, lane: Lane) -> None:
        """Serve who has waited longest, or rest."""
        if self.waiting:
            lane.send(self.next(), self.waiting.popleft())
        else:
            self.idle.append(lane)
            self._finish_when_idle()

    def give_up(self, before: int) -> None:
        """Those who still queue give up too."""
        while self.waiting and self.waiting[0] < before:
            self.waiting.popleft()
            self.errors["timeout"] += 1
        super().give_up(before)

    def _finish_when_idle(self) -> None:
        if not self.arrivals and len(self.idle) == len(self.lanes):
            self.finished.set()
