"""The arithmetic of a sales report."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

RESAMPLES = 100  # of the bootstrap; the 3rd and the 98th of the sorted means bound the middle 95 %


def summarize(category: str, sold: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """Add up the (product, quantity, total) of every order of a category."""
    units: Counter[int] = Counter()
    revenue: Counter[int] = Counter()
    for product_id, quantity, total_cents in sold:
        units[product_id] += quantity
        revenue[product_id] += total_cents
    best = sorted(revenue, key=lambda product_id: (-revenue[product_id], product_id))[:10]
    return {
        "category": category,
        "orders": len(sold),
        "units": units.total(),
        "revenue_cents": revenue.total(),
        "average_order_cents": bootstrap_mean([total for _, _, total in sold], seed=category),
        "top_products": [
            {"product_id": id, "units": units[id], "revenue_cents": revenue[id]} for id in best
        ],
    }


def bootstrap_mean(totals: list[int], seed: str) -> dict[str, int] | None:
    """The mean and its 95 % interval: how far the means of random resamples lie apart."""
    if not totals:
        return None
    count = len(totals)
    rng = random.Random(seed)  # noqa: S311 - chance, not a secret; seeded to be repeatable
    means = sorted(sum(rng.choices(totals, k=count)) // count for _ in range(RESAMPLES))
    return {"value": sum(totals) // count, "low": means[2], "high": means[97]}
