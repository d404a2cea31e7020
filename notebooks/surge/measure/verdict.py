"""From the samples of a comparison to its row: the ratios, and a verdict or why there is none."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import mean, median
from typing import NamedTuple

from surge.load.workloads import Workload
from surge.results.rows import Comparison, Effort, Interval, Ratios, Sample, Sides, Tiers
from surge.results.stats import interval, too_wide, verdict

CLIENT_LIMIT = 0.9
"""A probe that uses this much of one core may itself be what limits the load."""
FOREIGN_LIMIT = 0.15
"""With more of the machine than this in other hands, nothing can be measured."""
ERROR_ALLOWANCE = 0.001
ELSEWHERE = {"client", "partners", "traces"}
"""Tiers that are not the shop's own: their CPU time is shown, but is not its cost."""


def judge(
    labels: Sides[str],
    workload: Workload,
    effort: Effort,
    samples: Sequence[Sample],
    differing: str | None = None,
) -> Comparison:
    """Make the row; `differing` names a request that the two answered differently."""
    a = [sample for sample in samples if sample.side == "a"]
    b = [sample for sample in samples if sample.side == "b"]
    ratio = ratios(samples) if all(sample.requests for sample in samples) else None
    found = verdict(ratio.throughput) if ratio else "cannot tell"
    # A probe at its limit on the faster side alone hides how much faster, not that it is.
    at_least = found == "faster" and client_limited(b) and not client_limited(a)
    rejected = (
        failing(labels.a, a)
        or failing(labels.b, b)
        or (differing and f"the two answered {differing} differently")
        or foreign(samples)
        or (not at_least and client(labels.a, a))
        or (not at_least and client(labels.b, b))
        or (ratio and too_noisy(ratio.throughput))
        or None
    )
    return Comparison(
        a=labels.a,
        b=labels.b,
        workload=workload.name,
        connections=workload.connections,
        effort=effort,
        ratio=ratio,
        at_least=at_least,
        verdict="cannot tell" if rejected else found,
        rejected=rejected,
        tiers=Sides(a=tiers(a), b=tiers(b)),
        throughput=Sides(
            a=median(sample.throughput for sample in a),
            b=median(sample.throughput for sample in b),
        ),
        p99_ms=Sides(
            a=median(sample.p99_ms for sample in a),
            b=median(sample.p99_ms for sample in b),
        ),
        samples=list(samples),
    )


def cost(tiers: Tiers) -> float:
    """CPU milliseconds a request costs the shop, all its tiers together."""
    return sum(shop(tiers).values())


def shop(tiers: Tiers) -> Tiers:
    """The tiers that are the shop's own."""
    return {tier: spent for tier, spent in tiers.items() if tier not in ELSEWHERE}


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


def tiers(samples: Sequence[Sample]) -> Tiers:
    """The middle cost of each tier."""
    return {tier: median(s.tiers[tier] for s in samples) for tier in samples[0].tiers}


def failing(label: str, samples: Sequence[Sample]) -> str | None:
    """Whether more requests failed than may."""
    errors = sum((Counter(sample.errors) for sample in samples), Counter[str]())
    good = sum(sample.requests for sample in samples)
    if errors.total() <= ERROR_ALLOWANCE * good:
        return None
    kinds = ", ".join(f"{n} x {kind}" for kind, n in errors.most_common())
    return f"{errors.total()} of {errors.total() + good} requests to {label} failed: {kinds}"


def client_limited(samples: Sequence[Sample]) -> bool:
    """Whether the probe, not the system, may have set the pace."""
    return median(sample.client_share for sample in samples) > CLIENT_LIMIT


def client(label: str, samples: Sequence[Sample]) -> str | None:
    """The same as a reason."""
    return f"the probe was at its own limit on {label}" if client_limited(samples) else None


def foreign(samples: Sequence[Sample]) -> str | None:
    """Whether the machine was busy with something else."""
    share = mean(sample.foreign_share for sample in samples)
    if share <= FOREIGN_LIMIT:
        return None
    return f"other programs took {share:.0%} of the machine; close them and measure again"


def too_noisy(ratio: Interval) -> str | None:
    """Whether the samples leave everything open."""
    if not too_wide(ratio):
        return None
    return f"too noisy: anything from {ratio.low:.2f} to {ratio.high:.2f}; try --full"
