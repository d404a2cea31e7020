"""The paired protocol: is B faster than A on this machine, and what does each cost?

Both are started fresh and warmed up; then short slices alternate A B B A, so that what drifts
(heat, neighbours, caches) falls on both alike; then everything is thrown away and started again in
swapped order, because two identical instances can differ by 5 % for as long as they live. Each
pair of neighbouring slices gives one ratio; `surge.results.stats` makes the median, its interval
and the verdict from all pairs of all starts.

**Throughput decides.** In a closed loop it is connections ÷ mean latency (Little's law): where a
processor is the limit, it is the capacity; where waiting is, the speed of an answer. Either way it
is what shoppers get. Cost cannot decide (who sleeps is cheap), nor can p99 (a short slice holds few
answers slower than it). Cost is the CPU time of the shop's own tiers, without the probe's and
without the partners', which stand for somebody else's machines.

Speed counts only for the same answers: in every warm-up both sides get the same requests, and a
GET whose body differs rejects the run.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stack.checkpoint import Checkpoint
from stack.paths import ROOT
from stack.seed.data import Size
from stack.system import System
from surge.load.generator import Probe
from surge.load.workloads import Workload, workload
from surge.measure.arms import Arm, Side, both
from surge.measure.verdict import judge
from surge.results.rows import Comparison, Effort, Sample, Sides

Progress = Callable[[str, float], None]
"""Called with what is going on and the part of the whole that is done."""


@dataclass(frozen=True)
class Pace:
    """How much is measured."""

    starts: int
    enough: int
    """After so many starts, a workload whose difference nobody can doubt needs no more."""
    rounds: int
    """ABBA rounds for each workload and start; two pairs each."""
    slice_seconds: float
    warm_seconds: float


PLAIN = 1.5
"""Nobody can doubt a difference when the worst slice of one side is so many times as fast as the
best of the other: ten times the bias of a start, beyond all the noise there was."""

PACES: dict[Effort, Pace] = {
    "quick": Pace(starts=3, enough=2, rounds=1, slice_seconds=0.5, warm_seconds=0.4),
    "full": Pace(starts=7, enough=7, rounds=3, slice_seconds=1.0, warm_seconds=1.0),
}


@dataclass(frozen=True)
class Setup:
    """What a comparison is made with. The usual is for measuring; a dry run makes do with less."""

    system: type[System] = System
    pace: Pace | None = None
    """In place of the pace of the effort."""
    connections: int | None = None
    """In place of each workload's own number."""

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
        a: the one that is compared with.
        b: the one the verdict is about.
        names: the workloads.
        effort: how much is measured; see `PACES`.
        directory: B's code, where it is not the checkpoint's own.
        size: the dataset.
        progress: told what is going on.
        setup: what else it is made with.
    """
    pace = setup.pace or PACES[effort]
    books = [Book(setup.workload(name)) for name in names]
    with Probe() as one, Probe() as other:
        for start in range(pace.starts):
            doubtful = [book for book in books if start < pace.enough or not book.beyond_doubt()]
            if not doubtful:
                break
            systems: dict[Side, System] = {
                "a": setup.system(a, size=size),
                "b": setup.system(b, directory, size=size),
            }
            if start % 2:
                systems = dict(reversed(systems.items()))
            done = start / pace.starts
            progress(f"start {start + 1} of {pace.starts}", done)
            with both(systems, (one, other)) as arms:
                for number, book in enumerate(doubtful):
                    progress(book.workload.name, done + number / len(doubtful) / pace.starts)
                    book.fill(arms, pace, start)
    mine = f" ({os.path.relpath(directory, ROOT)})" if directory else ""
    labels = Sides(a=a.label, b=b.label + mine)
    return [judge(labels, book.workload, effort, book.samples, book.differing) for book in books]


class Book:
    """The samples of one workload."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.samples: list[Sample] = []
        self.differing: str | None = None

    def fill(self, arms: Mapping[Side, Arm], pace: Pace, start: int) -> None:
        """Warm both sides up on the same requests, then alternate."""
        one, other = (
            arm.load(self.workload, pace.warm_seconds, start, sample=True).digests
            for arm in arms.values()
        )
        for path in one.keys() & other.keys():
            if one[path] != other[path]:
                self.differing = path
        order = list(arms.values())
        order += order[::-1]
        began = time.monotonic()
        for turn in range(pace.rounds):
            for place, arm in enumerate(order):
                pair = 2 * turn + place // 2
                [across] = [one for one in arms.values() if one is not arm]
                with across.resting():
                    sample = arm.measure(self.workload, pace.slice_seconds, start, pair)
                self.samples.append(sample)
            # Where one slice's last answers take ages, the difference needs no second round.
            if time.monotonic() - began > 2 * (turn + 1) * len(order) * pace.slice_seconds:
                break

    def beyond_doubt(self) -> bool:
        """Whether the worst slice of one side is plainly faster than the best of the other."""
        a, b = (
            [sample.throughput for sample in self.samples if sample.side == side] for side in "ab"
        )
        return min(b) > PLAIN * max(a) or min(a) > PLAIN * max(b)
