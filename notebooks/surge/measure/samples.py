"""The samples of one workload: how they are taken."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from statistics import median

from surge.load.workloads import Workload
from surge.measure.answers import FEWEST, MOST, differing, differing_after_writes
from surge.measure.arms import Arm, Side
from surge.measure.effects import Books, refusals_differ
from surge.results.rows import OpenSample, Sample

MODERATE = 0.5
"""The open loop's rate: this part of what the slower side can take."""
ROUND = 2
"""A B B A are so many pairs."""
AFTERWARDS = 1_000
"""Added to the number of a start, it is the seed of the requests that are compared at its end."""


@dataclass(frozen=True)
class Schedule:
    """How much is measured."""

    starts: int
    pairs: int
    """For each workload and start; two of them are a round A B B A."""
    slice_seconds: float
    warmup_seconds: float
    open_seconds: float
    """An open-loop slice of each side ends a start."""


class SampleSet:
    """The samples of one workload; each start of the two arms adds some."""

    def __init__(self, workload: Workload, must_log: bool) -> None:
        self.workload = workload
        self.must_log = must_log
        self.samples: list[Sample] = []
        self.open_samples: list[OpenSample] = []
        self.doubt: str | None = None
        """Why the two sides may not do the same work."""

    def add_start(self, arms: Mapping[Side, Arm], schedule: Schedule, start: int) -> None:
        """Warm up two arms that have just started, take their samples, and check what they did."""
        writes = self.workload.writes
        books = {side: Books(arm, writes, self.must_log) for side, arm in arms.items()}
        doubts = [differing(arms, self.workload, schedule.warmup_seconds, start)]
        began = time.monotonic()
        for number in range(schedule.pairs):
            planned = number * len(arms) * schedule.slice_seconds
            if number % ROUND == 0 and time.monotonic() - began > 2 * planned > 0:
                break  # too slow a system to need another round
            self._add_pair(arms, schedule.slice_seconds, start, number)
        speed = min(self._speed(side, start) for side in arms)
        self._add_open_slices(arms, MODERATE * speed, schedule.open_seconds, start)
        seconds, seed = schedule.warmup_seconds / 2, AFTERWARDS + start
        if self.workload.writes and self.workload.reads:
            count = max(FEWEST, min(MOST, round(speed * seconds)))
            doubts.append(differing_after_writes(arms, self.workload, count, seed))
        elif self.workload.reads:
            doubts.append(differing(arms, self.workload, seconds, seed, together=True))
        doubts += [book.mismatch() for book in books.values()]
        doubts.append(refusals_differ(books["a"], books["b"], self.workload.refusals))
        self.doubt = self.doubt or next(filter(None, doubts), None)

    def _add_pair(self, arms: Mapping[Side, Arm], seconds: float, start: int, number: int) -> None:
        """Measure A B, and each second time B A: pair by pair, that is A B B A."""
        one, other = permutations(arms.values())
        for arm, idle in (one, other) if number % 2 == 0 else (other, one):
            with idle.paused() as stopped:
                self.samples.append(arm.measure(self.workload, seconds, start, number, stopped))

    def _speed(self, side: Side, start: int) -> float:
        """The median throughput of one side in one start."""
        mine = [sample for sample in self.samples if (sample.side, sample.start) == (side, start)]
        return median(sample.throughput for sample in mine)

    def _add_open_slices(
        self, arms: Mapping[Side, Arm], rate: float, seconds: float, start: int
    ) -> None:
        """Measure the waits of both sides at the same rate."""
        if rate * seconds < 1:  # not even one request
            return
        first, second = arms.values()
        for arm, other in ((first, second), (second, first)):
            with other.paused():
                found = arm.measure_waits(self.workload, rate, seconds, start)
            self.open_samples.append(found)
