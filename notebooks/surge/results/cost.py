"""What a request costs the shop: the CPU time of its own tiers."""

from collections.abc import Sequence
from statistics import median

from surge.results.rows import Sample, Tiers

EXTERNAL_TIERS = {"client", "partners", "traces"}
"""Tiers that are not the shop's own: their CPU time is shown, but is not its cost."""


def cost(tiers: Tiers) -> float:
    """CPU milliseconds a request costs the shop, all its tiers together."""
    return sum(shop_tiers(tiers).values())


def shop_tiers(tiers: Tiers) -> Tiers:
    """The tiers that are the shop's own."""
    return {tier: used for tier, used in tiers.items() if tier not in EXTERNAL_TIERS}


def median_tiers(samples: Sequence[Sample]) -> Tiers:
    """The median cost of each tier."""
    return {tier: median(s.tiers[tier] for s in samples) for tier in samples[0].tiers}
