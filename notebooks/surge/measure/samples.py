"""The samples of one workload: how they are taken, and when there are enough of them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from surge.load.workloads import Workload
from surge.measure.arms import Arm, Side
from surge.results.rows import Sample

DECIDED = 1.5
"""A difference is decided early when the worst slice of one side is so many times as fast as the
best of the other: ten times the bias of a start, and more than all the noise that was seen."""


@dataclass(frozen=True)
class Schedule:
    """How much is measured."""

    max_starts: int
    min_starts: int
    """After so many starts, a workload that is decided early needs no more."""
    rounds: int
    """ABBA rounds for each workload and start; two pairs each."""
    slice_seconds: float
    warmup_seconds: float


class SampleSet:
    """The samples of one workload; each start of the two arms adds some."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.samples: list[Sample] = []
        self.differing: str | None = None
        """A path that the two sides have answered differently."""

    def add_start(self, arms: Mapping[Side, Arm], schedule: Schedule, start: int) -> None:
        """Warm up two arms that have just started, then take their samples."""
        self._warm_up(arms, schedule.warmup_seconds, start)
        began = time.monotonic()
        for number in range(schedule.rounds):
            self._add_round(arms, schedule.slice_seconds, start, number)
            planned = (number + 1) * 2 * len(arms) * schedule.slice_seconds
            if time.monotonic() - began > 2 * planned:  # too slow a system to need a second round
                break

    def is_decided_early(self) -> bool:
        """Whether the worst slice of one side is plainly faster than the best of the other."""
        a, b = (
            [sample.throughput for sample in self.samples if sample.side == side] for side in "ab"
        )
        return min(b) > DECIDED * max(a) or min(a) > DECIDED * max(b)

    def _warm_up(self, arms: Mapping[Side, Arm], seconds: float, start: int) -> None:
        """Send both sides the same requests, and compare what they answer."""
        one, other = (
            arm.load(self.workload, seconds, start, digest=True).digests for arm in arms.values()
        )
        for path in one.keys() & other.keys():
            if one[path] != other[path]:
                self.differing = path

    def _add_round(self, arms: Mapping[Side, Arm], seconds: float, start: int, number: int) -> None:
        """Measure A B B A; each two neighbours are a pair."""
        first, second = arms.values()
        order = [(first, second), (second, first), (second, first), (first, second)]
        for place, (arm, other) in enumerate(order):
            pair = 2 * number + place // 2
            with other.workers_paused():
                self.samples.append(arm.measure(self.workload, seconds, start, pair))
