"""What spoils a comparison: each check looks for one thing, and names it.

A verdict counts only if every check of `CHECKS` passes. The first that does not gives the reason
why the comparison is rejected.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median

from surge.results.rows import Account, OpenSample, Ratios, Sample
from surge.results.stats import too_wide

CLIENT_LIMIT = 0.9
"""A load generator that uses this much of one core may itself be what limits the load."""
FOREIGN_LIMIT = 0.15
"""While other programs use more of the machine than this, nothing can be measured."""
ONE_SIDED_LIMIT = 0.05
"""Other programs may not use so much more of the machine while one side is measured than while the
other is. This is half of the difference that no verdict is built on."""
BALANCE_LIMIT = 0.05
"""So much of the machine's time may be accounted for by no process, or twice."""
PAUSED_LIMIT = 0.02
"""So much of the machine may the other side use, which stands still."""
ERROR_ALLOWANCE = 0.001


@dataclass(frozen=True)
class ArmSamples:
    """All samples of one arm."""

    label: str
    samples: list[Sample]
    open_samples: list[OpenSample]

    @property
    def is_client_limited(self) -> bool:
        """Whether the load generator, not the system, may have set the pace."""
        return median(sample.client_share for sample in self.samples) > CLIENT_LIMIT

    @property
    def foreign_share(self) -> float:
        """The part of the machine that nobody of the run used meanwhile."""
        return mean(sample.foreign_share for sample in self.samples)

    def mean(self, part: Callable[[Account], float]) -> float:
        """A part of the machine's account, over all slices; 0 if none has been kept."""
        parts = [part(sample.account) for sample in self.samples if sample.account]
        return mean(parts) if parts else 0.0


@dataclass(frozen=True)
class Evidence:
    """What the checks look at."""

    a: ArmSamples
    b: ArmSamples
    doubt: str | None
    """Why the two sides may not have done the same work."""
    ratios: Ratios | None
    at_least: bool

    @property
    def sides(self) -> tuple[ArmSamples, ArmSamples]:
        """Both arms."""
        return self.a, self.b


Check = Callable[[Evidence], str | None]
"""Looks for one thing that spoils a comparison; returns the reason, or None if all is well."""


def first_reason(evidence: Evidence) -> str | None:
    """The reason of the first check that does not pass; None when all pass."""
    for check in CHECKS:
        if reason := check(evidence):
            return reason
    return None


def requests_failed(evidence: Evidence) -> str | None:
    """More requests to one side failed than may."""
    for side in evidence.sides:
        slices: list[Sample | OpenSample] = [*side.samples, *side.open_samples]
        errors = sum((Counter(each.errors) for each in slices), Counter[str]())
        failed, good = errors.total(), sum(each.requests for each in slices)
        if failed > ERROR_ALLOWANCE * good:
            kinds = ", ".join(f"{n} x {kind}" for kind, n in errors.most_common())
            return f"{failed} of {failed + good} requests to {side.label} failed: {kinds}"
    return None


def work_differs(evidence: Evidence) -> str | None:
    """The two sides do not do the same work."""
    return evidence.doubt


def account_does_not_balance(evidence: Evidence) -> str | None:
    """Processes that nobody can see, or that ended unseen, may have done one side's work."""
    for side in evidence.sides:
        missing = side.mean(lambda account: account.unexplained)
        if abs(missing) > BALANCE_LIMIT:
            return (
                f"no process that still runs accounts for {missing:.0%} of the machine's time "
                f"beside {side.label}"
            )
    return None


def other_side_worked(evidence: Evidence) -> str | None:
    """A side that stands still cannot work; one that does was not stopped as a whole."""
    for side, other in (evidence.sides, evidence.sides[::-1]):
        share = side.mean(lambda account: account.paused)
        if share > PAUSED_LIMIT:
            return f"{other.label} used {share:.0%} of the machine while {side.label} was measured"
    return None


def machine_was_busy(evidence: Evidence) -> str | None:
    """Other programs took CPU time that one side may have missed more than the other."""
    a, b = (side.foreign_share for side in evidence.sides)
    if max(a, b) > FOREIGN_LIMIT:
        return f"other programs took {max(a, b):.0%} of the machine; close them and measure again"
    if abs(a - b) > ONE_SIDED_LIMIT:
        return (
            f"other programs took {a:.0%} of the machine beside {evidence.a.label}, and {b:.0%} "
            f"beside {evidence.b.label}"
        )
    return None


def generator_was_limited(evidence: Evidence) -> str | None:
    """The load generator may have measured itself; a lower bound holds all the same."""
    for side in evidence.sides:
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
    work_differs,
    account_does_not_balance,
    other_side_worked,
    machine_was_busy,
    generator_was_limited,
    interval_is_too_wide,
)
