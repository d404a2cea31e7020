"""The two arms of a comparison, up at the same time, each with servers of its own."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from stack.processes.pause import paused
from stack.processes.run import close_all
from stack.system import System
from surge.load.generator import LoadGenerator
from surge.load.plan import Plan, Result
from surge.load.workloads import Workload
from surge.machine import cpu_time
from surge.results.rows import Account, OpenSample, Sample
from surge.results.stats import percentile

Side = Literal["a", "b"]


@dataclass
class Arm:
    """One side of a comparison: a running system and the load generator that drives it."""

    side: Side
    system: System
    generator: LoadGenerator
    statuses: Counter[int] = field(default_factory=Counter)
    """All responses so far, by status."""
    unanswered: int = 0
    """Requests so far that got no response."""

    def plan(self, workload: Workload, seed: int) -> Plan:
        """A closed loop without end, to be changed as needed."""
        urls, size = self.system.public_urls, self.system.size
        return Plan(urls, workload.name, workload.connections, size=size, seed=seed)

    def run(self, plan: Plan) -> Result:
        """Drive this side, and count how it answers."""
        result = self.generator.run(plan)
        self.statuses.update(result.statuses)
        self.unanswered += result.unanswered
        return result

    @contextmanager
    def paused(self) -> Iterator[list[int]]:
        """Freeze all of this side: what it still has to do takes its own time only.

        Yields the roots of its processes, with its load generator.
        """
        roots = [pid for pids in self.system.pids().values() for pid in pids]
        with paused(roots):
            yield [*roots, self.generator.pid]

    def measure(
        self, workload: Workload, seconds: float, start: int, pair: int, stopped: Sequence[int]
    ) -> Sample:
        """Drive this side for one slice, and read what it cost and whether the other stood still.

        Args:
            workload: what to send.
            seconds: for how long.
            start: which start of the two sides this is.
            pair: which pair the sample belongs to.
            stopped: the roots of the other side's processes.
        """
        before = cpu_time.read(self._meters(stopped))
        result = self.run(replace(self.plan(workload, start), seconds=seconds))
        used = cpu_time.between(before, cpu_time.read(self._meters(stopped)))
        tiers = dict(used.tiers)
        other, client = tiers.pop("paused"), tiers["client"]
        # The generator's own figure leaves out the time it takes to write its result.
        tiers["client"] = result.cpu_seconds
        requests = max(result.good, 1)
        account = Account(
            tiers=(sum(used.tiers.values()) - other - client) / used.capacity,
            client=(client + used.ours) / used.capacity,
            paused=other / used.capacity,
            foreign=used.foreign / used.capacity,
            idle=used.idle / used.capacity,
            unexplained=used.unexplained / used.capacity,
        )
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
            foreign_share=account.foreign + account.unexplained,
            account=account,
        )

    def measure_waits(
        self, workload: Workload, rate: float, seconds: float, start: int
    ) -> OpenSample:
        """Send requests at a rate that this side can hold, whatever it answers."""
        result = self.run(replace(self.plan(workload, start), rate=rate, seconds=seconds))
        p50, p99 = (
            percentile(result.latencies, percent) / 1e6 if result.good else 0.0
            for percent in (50, 99)
        )
        return OpenSample(
            start=start,
            side=self.side,
            rate=rate,
            requests=result.good,
            errors=result.errors,
            p50_ms=p50,
            p99_ms=p99,
        )

    def _meters(self, stopped: Sequence[int]) -> cpu_time.Pids:
        """The processes to be metered: of this side by tier, and all of the other."""
        return {**self.system.pids(), "client": [self.generator.pid], "paused": stopped}


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
