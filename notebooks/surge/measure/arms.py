"""The two arms of a comparison, up at the same time, each with servers of its own."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

from stack.processes.pause import paused
from stack.processes.run import close_all
from stack.system import System
from surge.load.generator import LoadGenerator
from surge.load.plan import Plan, Result
from surge.load.workloads import Workload
from surge.machine import cpu_time
from surge.results.rows import Sample
from surge.results.stats import percentile

Side = Literal["a", "b"]


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a running system and the load generator that drives it."""

    side: Side
    system: System
    generator: LoadGenerator

    def load(self, workload: Workload, seconds: float, seed: int, digest: bool = False) -> Result:
        """Drive this side in a closed loop."""
        plan = Plan(
            self.system.public_urls,
            workload.name,
            workload.connections,
            seconds=seconds,
            size=self.system.size,
            seed=seed,
            digest=digest,
        )
        return self.generator.run(plan)

    def workers_paused(self) -> AbstractContextManager[None]:
        """Pause this side's workers, so that their backlog takes no time from the other side."""
        return paused(self.system.pids().get("worker", []))

    def measure(self, workload: Workload, seconds: float, start: int, pair: int) -> Sample:
        """Drive this side for one slice, and read what it cost."""
        pids = {**self.system.pids(), "client": [self.generator.pid]}
        before = cpu_time.read(pids)
        result = self.load(workload, seconds, seed=start)
        used = cpu_time.between(before, cpu_time.read(pids))
        # The generator's own figure leaves out the time it takes to write its result.
        tiers = {**used.tiers, "client": result.cpu_seconds}
        requests = max(result.good, 1)
        return Sample(
            start=start,
            pair=pair,
            side=self.side,
            requests=result.good,
            errors=result.errors,
            seconds=result.seconds,
            throughput=result.throughput,
            p99_ms=percentile(result.latencies, 99) / 1e6 if result.good else 0.0,
            tiers={tier: seconds * 1000 / requests for tier, seconds in tiers.items()},
            client_share=result.cpu_share,
            foreign_share=used.foreign_share,
        )


@contextmanager
def running(
    systems: dict[Side, System], generators: Sequence[LoadGenerator]
) -> Iterator[dict[Side, Arm]]:
    """Start both systems at once, in the order given, and end them at once.

    The first system gets the first generator. So swapping the systems swaps their generators, too.
    """
    undo = [ExitStack() for _ in systems]
    with ThreadPoolExecutor(len(systems)) as pool:
        entering = [
            pool.submit(stack.enter_context, system)
            for stack, system in zip(undo, systems.values(), strict=True)
        ]
        try:
            entered = [one.result() for one in entering]
            yield {
                side: Arm(side, system, generator)
                for side, system, generator in zip(systems, entered, generators, strict=True)
            }
        except (KeyboardInterrupt, SystemExit):  # do not wait for requests under way
            close_all()
            raise
        finally:
            wait(entering)
            list(pool.map(ExitStack.close, undo))
