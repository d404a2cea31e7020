"""Percentiles of latencies that are kept as a histogram."""

from collections.abc import Mapping
from math import log10

LatencyHistogram = Mapping[int, int]
"""How many answers took how many milliseconds."""
CURVE_STEPS = 200


def histogram_percentile(latencies: LatencyHistogram, percent: float) -> int | None:
    """The time within which this share of the answers came; None without answers."""
    left = sum(latencies.values()) * percent / 100
    for milliseconds, count in sorted(latencies.items()):
        left -= count
        if left <= 0:
            return milliseconds
    return None


def nines(percent: float) -> float:
    """A percentile on a logarithmic axis, which spreads the slowest: 99 % is at 2, 99.9 % at 3."""
    return -log10(1 - percent / 100)


def percentile_curve(latencies: LatencyHistogram) -> tuple[list[float], list[float]]:
    """Percentiles along that axis, from the 20th to the last that so many answers support."""
    first, last = nines(20), max(log10(sum(latencies.values())), 1.0)
    places = [first + (last - first) * step / CURVE_STEPS for step in range(CURVE_STEPS + 1)]
    return places, [
        histogram_percentile(latencies, 100 * (1 - 10**-place)) or 0 for place in places
    ]
