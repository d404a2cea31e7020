"""From the samples of a comparison to its row: the ratios, and a verdict or why there is none."""

from collections.abc import Sequence
from statistics import median

from surge.load.workloads import Workload
from surge.measure.checks import ArmSamples, Evidence, first_reason
from surge.measure.pairs import ratios, wait_ratios
from surge.results.cost import median_tiers
from surge.results.rows import Comparison, Effort, OpenSample, Sample, Sides
from surge.results.stats import decide, interval

FEWEST_WAITS = 20
"""Requests of an open loop without which their median says nothing."""


def compare_samples(
    labels: Sides[str],
    workload: Workload,
    effort: Effort,
    samples: Sequence[Sample],
    open_samples: Sequence[OpenSample] = (),
    doubt: str | None = None,
) -> Comparison:
    """Make the row.

    Args:
        labels: what the row calls the two sides.
        workload: what they were asked.
        effort: how much was measured.
        samples: of both sides, from all starts.
        open_samples: the same, at a moderate rate.
        doubt: why the two may not have done the same work.
    """
    a, b = (
        ArmSamples(
            label,
            [sample for sample in samples if sample.side == side],
            [sample for sample in open_samples if sample.side == side],
        )
        for side, label in (("a", labels.a), ("b", labels.b))
    )
    ratio = ratios(samples) if all(sample.requests for sample in samples) else None
    found = decide(ratio.throughput) if ratio else "cannot tell"
    # A limited generator on the faster side alone hides how much faster that is, not that it is.
    at_least = found == "faster" and b.is_client_limited and not a.is_client_limited
    rejected = first_reason(Evidence(a, b, doubt, ratio, at_least))
    waits = _median_waits(a, b)
    return Comparison(
        a=a.label,
        b=b.label,
        workload=workload.name,
        connections=workload.connections,
        effort=effort,
        ratio=ratio,
        at_least=at_least,
        verdict="cannot tell" if rejected else found,
        rejected=rejected,
        tiers=Sides(a=median_tiers(a.samples), b=median_tiers(b.samples)),
        throughput=Sides(
            a=median(sample.throughput for sample in a.samples),
            b=median(sample.throughput for sample in b.samples),
        ),
        p99_ms=Sides(
            a=median(sample.p99_ms for sample in a.samples),
            b=median(sample.p99_ms for sample in b.samples),
        ),
        samples=list(samples),
        p50_ms=waits,
        p50_ratio=interval([[ratio] for ratio in wait_ratios(open_samples)]) if waits else None,
        open_samples=list(open_samples),
    )


def _median_waits(a: ArmSamples, b: ArmSamples) -> Sides[float] | None:
    """The median wait of each side at a moderate rate; None where too few requests were sent."""
    for side in (a, b):
        requests = [each.requests for each in side.open_samples]
        if sum(requests) < FEWEST_WAITS or 0 in requests:
            return None
    return Sides(
        a=median(each.p50_ms for each in a.open_samples),
        b=median(each.p50_ms for each in b.open_samples),
    )
