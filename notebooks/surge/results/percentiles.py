"""Waiting times, kept as how many answers took how many milliseconds."""

from collections.abc import Mapping
from math import log10

Waits = Mapping[int, int]
STEPS = 200
"""Of a curve."""


def within(waits: Waits, percent: float) -> int | None:
    """The time within which this share of the answers came; None without answers."""
    left = sum(waits.values()) * percent / 100
    for milliseconds, count in sorted(waits.items()):
        left -= count
        if left <= 0:
            return milliseconds
    return None


def nines(percent: float) -> float:
    """Where a percentile stands on an axis that gives the slowest ever more room."""
    return -log10(1 - percent / 100)


def curve(waits: Waits) -> tuple[list[float], list[float]]:
    """Percentiles along that axis, from the 20th to the last that so many answers can bear."""
    first, last = nines(20), max(log10(sum(waits.values())), 1.0)
    places = [first + (last - first) * step / STEPS for step in range(STEPS + 1)]
    return places, [within(waits, 100 * (1 - 10**-place)) or 0 for place in places]
