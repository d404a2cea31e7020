"""The paired protocol: is B faster than A on this machine, and what does each cost?

Both are started fresh and warmed up. Then short slices alternate A B B A, so that a drift (heat,
neighbours, caches) falls on both alike. Then everything is thrown away and started again in swapped
order, because two identical instances can differ by 5 % for as long as they live. Each pair of
neighbouring slices gives one ratio; `surge.results.stats` makes the median, its interval and the
verdict from all pairs of all starts. While one side is measured, all processes of the other stand
still: what a service does after its responses takes its own time, not the other's.

**Throughput decides.** In a closed loop it is connections ÷ mean latency (Little's law). Where a
processor is the limit, that is the capacity; where waiting is, it is the speed of a response.
Either way it is what shoppers get. Cost cannot decide: a service that sleeps is cheap. Nor can the
waits of a closed loop, where whoever is slow is asked less. So each start ends with a slice of open
loop, at half of what the slower side can take: it shows a wait that a full machine hides. Cost is
the CPU time of the shop's own tiers, without the load generator's and without the partners', which
stand for machines of other firms.

Speed counts only for the same work. Both sides get the same requests, before the slices and after
them, and a body that differs rejects the run (`answers`); so do rows, stock, jobs or log lines that
contradict what was answered (`effects`), and CPU time that nobody accounts for (`checks`).
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stack.checkpoint import Checkpoint
from stack.paths import ROOT
from stack.seed.data import Size
from stack.system import System
from surge.load.generator import LoadGenerator
from surge.load.workloads import Workload, workload
from surge.measure.arms import Side, running
from surge.measure.samples import SampleSet, Schedule
from surge.measure.verdict import compare_samples
from surge.results.rows import Comparison, Effort, Sides

Progress = Callable[[str, float], None]
"""Called with a description of the current work and the part of the whole that is done."""

SCHEDULES: dict[Effort, Schedule] = {
    "quick": Schedule(starts=3, pairs=2, slice_seconds=0.5, warmup_seconds=0.4, open_seconds=0.2),
    "full": Schedule(starts=7, pairs=6, slice_seconds=1.0, warmup_seconds=1.0, open_seconds=1.0),
}


@dataclass(frozen=True)
class Setup:
    """What a comparison is made with. The usual is for measuring; a dry run makes do with less."""

    system: type[System] = System
    schedule: Schedule | None = None
    """In place of the schedule of the effort."""
    connections: int | None = None
    """In place of each workload's own number."""
    must_log: bool = True
    """Whether every response must have left a line in the log; an experiment may do without."""

    def workload(self, name: str) -> Workload:
        """The workload of this name, with as many connections as are wanted."""
        found = workload(name)
        return replace(found, connections=self.connections or found.connections)


USUAL = Setup()


def compare(
    a: Checkpoint,
    b: Checkpoint,
    name: str,
    effort: Effort = "quick",
    *,
    directory: Path | None = None,
    size: Size = "full",
    progress: Progress = lambda what, part: None,
    setup: Setup = USUAL,
) -> Comparison:
    """Compare two checkpoints on one workload."""
    [row] = compare_many(
        a, b, [name], effort, directory=directory, size=size, progress=progress, setup=setup
    )
    return row


def compare_many(
    a: Checkpoint,
    b: Checkpoint,
    names: Sequence[str],
    effort: Effort = "quick",
    *,
    directory: Path | None = None,
    size: Size = "full",
    progress: Progress = lambda what, part: None,
    setup: Setup = USUAL,
) -> list[Comparison]:
    """Compare two checkpoints on several workloads that share the starts.

    Args:
        a: the baseline.
        b: the candidate; the verdict is about it.
        names: the workloads.
        effort: how much is measured; see `SCHEDULES`.
        directory: B's code, where it is not the checkpoint's own.
        size: the dataset.
        progress: called before each piece of work.
        setup: what else it is made with.
    """
    schedule = setup.schedule or SCHEDULES[effort]
    sample_sets = [SampleSet(setup.workload(name), setup.must_log) for name in names]
    with LoadGenerator() as one, LoadGenerator() as other:
        for start in range(schedule.starts):
            systems: dict[Side, System] = {
                "a": setup.system(a, size=size),
                "b": setup.system(b, directory, size=size),
            }
            if start % 2:
                systems = dict(reversed(systems.items()))
            done = start / schedule.starts
            progress(f"start {start + 1} of {schedule.starts}", done)
            with running(systems, (one, other)) as arms:
                for number, each in enumerate(sample_sets):
                    part = number / len(sample_sets) / schedule.starts
                    progress(each.workload.name, done + part)
                    each.add_start(arms, schedule, start)
    suffix = f" ({os.path.relpath(directory, ROOT)})" if directory else ""
    labels = Sides(a=a.label, b=b.label + suffix)
    return [
        compare_samples(labels, each.workload, effort, each.samples, each.open_samples, each.doubt)
        for each in sample_sets
    ]
