"""From the samples of a comparison to its row: the ratios, and a verdict or why there is none.

A verdict counts only if every check of `CHECKS` passes. The first that does not gives the reason
why the comparison is rejected.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median

from surge.load.workloads import Workload
from surge.measure.cost import median_tiers
from surge.measure.pairs import ratios
from surge.results.rows import Comparison, Effort, Ratios, Sample, Sides
from surge.results.stats import decide, too_wide

CLIENT_LIMIT = 0.9
"""A load generator that uses this much of one core may itself be what limits the load."""
FOREIGN_LIMIT = 0.15
"""While other programs use more of the machine than this, nothing can be measured."""
ERROR_ALLOWANCE = 0.001


@dataclass(frozen=True)
class ArmSamples:
    """All samples of one arm."""

    label: str
    samples: list[Sample]

    @property
    def is_client_limited(self) -> bool:
        """Whether the load generator, not the system, may have set the pace."""
        return median(sample.client_share for sample in self.samples) > CLIENT_LIMIT


@dataclass(frozen=True)
class Evidence:
    """What the checks look at."""

    a: ArmSamples
    b: ArmSamples
    differing: str | None
    """A path that the two sides have answered differently."""
    ratios: Ratios | None
    at_least: bool


Check = Callable[[Evidence], str | None]
"""Looks for one thing that spoils a comparison; returns the reason, or None if all is well."""


def compare_samples(
    labels: Sides[str],
    workload: Workload,
    effort: Effort,
    samples: Sequence[Sample],
    differing: str | None = None,
) -> Comparison:
    """Make the row.

    Args:
        labels: what the row calls the two sides.
        workload: what they were asked.
        effort: how much was measured.
        samples: of both sides, from all starts.
        differing: a path that the two sides have answered differently.
    """
    a = ArmSamples(labels.a, [sample for sample in samples if sample.side == "a"])
    b = ArmSamples(labels.b, [sample for sample in samples if sample.side == "b"])
    ratio = ratios(samples) if all(sample.requests for sample in samples) else None
    found = decide(ratio.throughput) if ratio else "cannot tell"
    # A limited generator on the faster side alone hides how much faster that is, not that it is.
    at_least = found == "faster" and b.is_client_limited and not a.is_client_limited
    rejected = first_reason(Evidence(a, b, differing, ratio, at_least))
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
    )


def first_reason(evidence: Evidence) -> str | None:
    """The reason of the first check that does not pass; None when all pass."""
    for check in CHECKS:
        if reason := check(evidence):
            return reason
    return None


def requests_failed(evidence: Evidence) -> str | None:
    """More requests to one side failed than may."""
    for side in (evidence.a, evidence.b):
        errors = sum((Counter(sample.errors) for sample in side.samples), Counter[str]())
        failed, good = errors.total(), sum(sample.requests for sample in side.samples)
        if failed > ERROR_ALLOWANCE * good:
            kinds = ", ".join(f"{n} x {kind}" for kind, n in errors.most_common())
            return f"{failed} of {failed + good} requests to {side.label} failed: {kinds}"
    return None


def responses_differ(evidence: Evidence) -> str | None:
    """The two sides do not do the same work."""
    differing = evidence.differing
    return f"the two answered {differing} differently" if differing else None


def machine_was_busy(evidence: Evidence) -> str | None:
    """Other programs took CPU time that one side may have missed more than the other."""
    share = mean(sample.foreign_share for sample in evidence.a.samples + evidence.b.samples)
    if share <= FOREIGN_LIMIT:
        return None
    return f"other programs took {share:.0%} of the machine; close them and measure again"


def generator_was_limited(evidence: Evidence) -> str | None:
    """The load generator may have measured itself; a lower bound holds all the same."""
    for side in (evidence.a, evidence.b):
        if side.is_client_limited and not evidence.at_least:
            return f"the load generator was at its own limit on {side.label}"
    return None


def interval_is_too_wide(evidence: Evidence) -> str | None:
    """The samples leave everything open."""
    if evidence.ratios is None or not too_wide(evidence.ratios.throughput):
        return None
    ratio = evidence.ratios.throughput
    return f"too noisy: anything from {ratio.low:.2f} to {ratio.high:.2f}; try --full"


CHECKS: tuple[Check, ...] = (
    requests_failed,
    responses_differ,
    machine_was_busy,
    generator_was_limited,
    interval_is_too_wide,
)
