"""What the protocol can see: simulated comparisons whose truth is known.

Ratios are drawn as they come on real machines: every start has a bias of its own, every pair its
noise; both are log-normal. Then the protocol's own interval and verdict are made from them.
"""

import math
from collections.abc import Iterable
from random import Random
from statistics import median, stdev

from surge.measure.paired import SCHEDULES
from surge.measure.pairs import each_pair
from surge.results.rows import Comparison, Effort, Interval
from surge.results.stats import decide, interval

BIAS = 0.05
"""Standard deviation of a start: two identical systems differed by so much while they lived."""


def seen(truth: float, effort: Effort, noise: float, runs: int) -> float:
    """The part of so many simulated runs that call B faster, which is so many times as fast."""
    found = [decide(simulate(truth, effort, noise, seed)) for seed in range(runs)]
    return found.count("faster") / runs


def covered(truth: float, effort: Effort, noise: float, runs: int) -> float:
    """The part of so many simulated runs whose interval holds the truth."""
    found = [simulate(truth, effort, noise, seed) for seed in range(runs)]
    return sum(each.low <= truth <= each.high for each in found) / runs


def simulate(truth: float, effort: Effort, noise: float, seed: int) -> Interval:
    """The interval of one simulated run."""
    schedule, gauss = SCHEDULES[effort], Random(seed).gauss  # noqa: S311 - no secrets
    biases = [gauss(0, BIAS) for _ in range(schedule.starts)]
    pairs = range(schedule.pairs)
    return interval([[truth * math.exp(bias + gauss(0, noise)) for _ in pairs] for bias in biases])


def noise_of_pairs(rows: Iterable[Comparison]) -> float:
    """How far the pairs of one start lie apart: the median of the rows' standard deviations."""
    scatters = []
    for row in rows:
        if row.ratio is None:
            continue
        starts: dict[int, list[float]] = {}
        for pair in each_pair(row.samples):
            starts.setdefault(pair.start, []).append(math.log(pair.throughput))
        squares = [stdev(start) ** 2 for start in starts.values() if len(start) > 1]
        scatters.append(math.sqrt(sum(squares) / len(squares)))
    return median(scatters)
