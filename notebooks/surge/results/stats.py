"""From ratios to a verdict.

The interval is a hierarchical bootstrap: resample the fresh starts, then the pairs within each. All
pairs of a start share its conditions (memory layout, ports, luck), so they are not independent. See
Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), and Kalibera and Jones, "Rigorous
Benchmarking in Reasonable Time" (2013), on levels of repetition. It is seeded: the same samples
give the same interval.
"""

import math
from collections.abc import Sequence
from random import Random
from statistics import median

from surge.results.rows import Interval, Verdict

RESAMPLES = 2_000
TOO_WIDE = 1.6
"""An undecided interval whose ends differ by a larger factor does not even say "about equal"."""

INDIFFERENCE = 1.10
"""Ratios between 1/1.10 and 1.10 are no difference.

Two identical instances differed by 5 % (0.995 to 1.095 in one start), for as long as they lived.
More slices do not average that away; only fresh starts do, and a quick run has three. So the band
is twice that bias. What is seen beyond it is simulated in `surge.measure.power`, with the noise of
the recorded rows (13 % per pair): none of 200 identical pairs is called different, a true 1.3 is
seen in half of the quick runs, and a true 1.5 in nine of ten. A smaller step is a matter for
counters, or `--full`.
"""


def interval(starts: Sequence[Sequence[float]]) -> Interval:
    """The median ratio of all pairs with its interval; `starts` holds each start's ratios.

    Its nominal coverage is 95 %. Simulated as for `INDIFFERENCE`, three starts reach that, and two
    do not (86 %). If starts differ more than slices do, three cover the truth less often, too; the
    band of indifference makes up for that.
    """
    rand = Random(1)  # noqa: S311 - resampling, not secrets
    medians = sorted(
        median([ratio for start in chosen for ratio in rand.choices(start, k=len(start))])
        for chosen in (rand.choices(starts, k=len(starts)) for _ in range(RESAMPLES))
    )
    return Interval(
        median=median([ratio for start in starts for ratio in start]),
        low=percentile(medians, 2.5),
        high=percentile(medians, 97.5),
    )


def decide(ratio: Interval) -> Verdict:
    """The verdict on B that the interval allows."""
    if ratio.low > INDIFFERENCE:
        return "faster"
    if ratio.high < 1 / INDIFFERENCE:
        return "slower"
    return "cannot tell"


def smallest_seen(ratio: Interval) -> tuple[float, float]:
    """The smallest differences, down and up, that an interval of this width could have shown.

    If B really were so many times as fast, an interval as wide as this would just be beyond the
    band; half of all runs like this one would then say so.
    """
    slower = ratio.median / ratio.high / INDIFFERENCE
    return slower, INDIFFERENCE * ratio.median / ratio.low


def too_wide(ratio: Interval) -> bool:
    """Whether the interval decides nothing, not even "about equal"."""
    return decide(ratio) == "cannot tell" and ratio.high / ratio.low > TOO_WIDE


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that at least `percent` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
