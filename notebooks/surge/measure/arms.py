"""The two sides of a comparison, up at the same time, each with servers of its own."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

from stack.processes.run import close_all
from stack.system import System
from surge.load.generator import Probe
from surge.load.plan import Plan, Result
from surge.load.workloads import Workload
from surge.machine import cpu_time
from surge.results.rows import Sample
from surge.results.stats import percentile

Side = Literal["a", "b"]


@dataclass(frozen=True)
class Arm:
    """One side, ready to be driven."""

    side: Side
    system: System
    probe: Probe

    def load(self, workload: Workload, seconds: float, seed: int, sample: bool = False) -> Result:
        """Drive this side in a closed loop."""
        plan = Plan(
            self.system.public_urls,
            workload.name,
            workload.connections,
            seconds=seconds,
            size=self.system.size,
            seed=seed,
            sample=sample,
        )
        return self.probe.run(plan)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Its workers do nothing: what they still owe must not take time from the other side."""
        workers = self.system.pids().get("worker", [])
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)

    def measure(self, workload: Workload, seconds: float, start: int, pair: int) -> Sample:
        """Drive this side for one slice, and read what it cost."""
        pids = {**self.system.pids(), "client": [self.probe.pid]}
        before = cpu_time.read(pids)
        result = self.load(workload, seconds, seed=start)
        spent = cpu_time.between(before, cpu_time.read(pids))
        # The probe's own figure leaves out what it spends on handing over its result.
        used_by = {**spent.tiers, "client": result.cpu_seconds}
        answers = max(result.good, 1)
        return Sample(
            start=start,
            pair=pair,
            side=self.side,
            requests=result.good,
            errors=result.errors,
            seconds=result.seconds,
            throughput=result.throughput,
            p99_ms=percentile(result.latencies, 99) / 1e6 if result.good else 0.0,
            tiers={tier: used * 1000 / answers for tier, used in used_by.items()},
            client_share=result.cpu_share,
            foreign_share=spent.foreign_share,
        )


@contextmanager
def both(systems: dict[Side, System], probes: Sequence[Probe]) -> Iterator[dict[Side, Arm]]:
    """Start the systems at once, in the order given, and end them at once.

    The first gets the first probe: who swaps the systems swaps what drives them, too.
    """
    undo = [ExitStack() for _ in systems]
    with ThreadPoolExecutor(len(systems)) as pool:
        entering = [
            pool.submit(stack.enter_context, system)
            for stack, system in zip(undo, systems.values(), strict=True)
        ]
        try:
            up = [entered.result() for entered in entering]
            yield {
                side: Arm(side, system, probe)
                for side, system, probe in zip(systems, up, probes, strict=True)
            }
        except (KeyboardInterrupt, SystemExit):  # what is under way must not be waited for
            close_all()
            raise
        finally:
            wait(entering)
            list(pool.map(ExitStack.close, undo))
