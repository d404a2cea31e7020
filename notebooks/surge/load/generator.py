"""The load probe: a process of its own, so that what the load costs is not mixed with anything.

It reads plans and writes results, a line of JSON each:

    python -m surge.load.generator <<< '{"urls": ["http://127.0.0.1:8000"], "workload": "detail",
                              "connections": 16, "seconds": 5}'

Streams of requests go on from plan to plan, so a probe never repeats an order, or a cold id
before all others had their turn.
"""

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Self

import uvloop

from stack.errors import StackError
from stack.seed.data import Size
from surge.load.http1 import Request
from surge.load.loop import Closed, Open
from surge.load.plan import Plan, Result
from surge.load.workloads import workload


class Probe:
    """A running probe process; a context manager."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "surge.load.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for us; the probe ends when we do
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def pid(self) -> int:
        """The process id: the probe is the client's tier."""
        return self.process.pid

    def run(self, plan: Plan) -> Result:
        """Carry out a plan.

        Raises:
            StackError: there is no such workload, or the probe ended before its answer.
        """
        workload(plan.workload)
        to, back = self.process.stdin, self.process.stdout
        assert to is not None
        assert back is not None
        with suppress(BrokenPipeError):  # it has ended; the missing answer says so
            to.write(plan.line() + "\n")
            to.flush()
        line = back.readline()
        if not line:
            raise StackError("The load probe ended before its answer; see its words above.")
        return Result.read(line)


async def drive(plan: Plan, requests: Iterator[Request], allowed: frozenset[int]) -> Result:
    """Carry out a plan in this process, with the garbage collector held back."""
    loop = (Open if plan.rate else Closed)(plan, requests, allowed)
    gc.collect()
    gc.disable()
    cpu = time.process_time()
    try:
        seconds = await loop.run()
    finally:
        gc.enable()
    return Result(
        seconds=seconds,
        statuses=dict(loop.statuses),
        errors=dict(loop.errors),
        body_bytes=loop.body_bytes,
        connections_opened=sum(lane.opened for lane in loop.lanes),
        latencies=loop.latencies,
        digests=loop.digests,
        cpu_seconds=time.process_time() - cpu,
    )


def main() -> None:
    """Answer plans until nobody asks any more."""

    @cache
    def stream(name: str, size: Size, seed: int) -> Iterator[Request]:
        return workload(name).requests(size, seed)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            plan = Plan.read(line)
            requests = stream(plan.workload, plan.size, plan.seed)
            allowed = workload(plan.workload).allowed
            print(runner.run(drive(plan, requests, allowed)).line(), flush=True)


if __name__ == "__main__":
    main()
