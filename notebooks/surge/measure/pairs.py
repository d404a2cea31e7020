"""From samples to ratios: two neighbouring slices are a pair, and each pair gives one ratio."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from surge.results.cost import cost
from surge.results.rows import Interval, OpenSample, Ratios, Sample
from surge.results.stats import interval


class Pair(NamedTuple):
    """B against A in one pair, each ratio turned so that above 1 means B is better."""

    start: int
    throughput: float
    cost: float
    p99: float


def each_pair(samples: Sequence[Sample]) -> list[Pair]:
    """The ratios of every pair."""
    others = {(b.start, b.pair): b for b in samples if b.side == "b"}
    both = [(a, others[a.start, a.pair]) for a in samples if a.side == "a"]
    return [
        Pair(
            start=a.start,
            throughput=b.throughput / a.throughput,
            cost=cost(a.tiers) / cost(b.tiers),
            p99=a.p99_ms / b.p99_ms,
        )
        for a, b in both
    ]


def wait_ratios(samples: Sequence[OpenSample]) -> list[float]:
    """The ratio of the median waits of each start; above 1 means that B's is shorter."""
    b = {sample.start: sample.p50_ms for sample in samples if sample.side == "b"}
    return [a.p50_ms / b[a.start] for a in samples if a.side == "a"]


def ratios(samples: Sequence[Sample]) -> Ratios:
    """The ratios of all pairs together, with their intervals."""
    starts: dict[int, list[Pair]] = {}
    for pair in each_pair(samples):
        starts.setdefault(pair.start, []).append(pair)

    def of(ratio: Callable[[Pair], float]) -> Interval:
        return interval([list(map(ratio, start)) for start in starts.values()])

    return Ratios(
        throughput=of(lambda pair: pair.throughput),
        cost=of(lambda pair: pair.cost),
        p99=of(lambda pair: pair.p99),
    )
