"""The load generator: a process of its own, so that its work is not mixed with the service's.

It reads plans and writes results, a line of JSON each:

    python -m surge.load.generator <<< '{"urls": ["http://127.0.0.1:8000"], "workload": "detail",
                              "connections": 16, "seconds": 5}'

A stream of requests goes on from plan to plan. So no order is ever sent twice, and no cold id
before all others had their turn.
"""

import asyncio
import gc
import os
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
from surge.load.closed_loop import ClosedLoop
from surge.load.http1 import Request
from surge.load.open_loop import OpenLoop
from surge.load.plan import Plan, Result
from surge.load.workloads import workload


class LoadGenerator:
    """A running load generator, as its parent sees it; a context manager."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "surge.load.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C reaches only us, and we end it in __exit__
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
        """The process id: the load generator is the client's tier."""
        return self.process.pid

    def run(self, plan: Plan) -> Result:
        """Carry out a plan.

        Raises:
            StackError: there is no such workload, or the process ended before its result.
        """
        workload(plan.workload)
        plans, results = self.process.stdin, self.process.stdout
        assert plans is not None
        assert results is not None
        with suppress(BrokenPipeError):  # the process has ended; the missing result says so
            plans.write(plan.to_json() + "\n")
            plans.flush()
        line = results.readline()
        if not line:
            raise StackError("The load generator ended before its result; see its output above.")
        return Result.from_json(line)


async def drive(plan: Plan, requests: Iterator[Request], allowed: frozenset[int]) -> Result:
    """Carry out a plan in this process, with the garbage collector switched off."""
    loop = (OpenLoop if plan.rate else ClosedLoop)(plan, requests, allowed)
    gc.collect()
    gc.disable()
    cpu = time.process_time()
    try:
        seconds = await loop.run()
    finally:
        gc.enable()
    return Result(
        seconds=seconds,
        throughput=loop.throughput(seconds),
        statuses=dict(loop.statuses),
        errors=dict(loop.errors),
        body_bytes=loop.body_bytes,
        connections_opened=sum(connection.opened for connection in loop.connections),
        latencies=loop.latencies,
        digests=loop.digests,
        cpu_seconds=time.process_time() - cpu,
    )


def main() -> None:
    """Carry out plans until standard input ends."""

    @cache
    def stream(name: str, size: Size, seed: int) -> Iterator[Request]:
        return workload(name).requests(size, seed)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            plan = Plan.from_json(line)
            requests = stream(plan.workload, plan.size, plan.seed)
            allowed = workload(plan.workload).allowed
            result = runner.run(drive(plan, requests, allowed)).to_json()
            try:
                print(result, flush=True)
            except BrokenPipeError:  # the parent has been killed, and nobody reads a traceback
                os._exit(1)


if __name__ == "__main__":
    main()
