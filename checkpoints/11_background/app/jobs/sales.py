"""The arithmetic of a sales report."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

ROUNDS = 100  # of the bootstrap; its 3rd and 98th mean bound the middle 95 %


def sales(category: str, sold: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """Sums up (product, quantity, total) of every order of a category."""
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
        "average_order_cents": average([total_cents for _, _, total_cents in sold], category),
        "top_products": [
            {"product_id": id, "units": units[id], "revenue_cents": revenue[id]} for id in best
        ],
    }


def average(totals: list[int], seed: str) -> dict[str, int] | None:
    """The mean and its 95 % interval, by drawing the orders again and again."""
    if not totals:
        return None
    count = len(totals)
    rng = random.Random(seed)  # noqa: S311 - chance, not a secret; seeded to be repeatable
    means = sorted(sum(rng.choices(totals, k=count)) // count for _ in range(ROUNDS))
    return {"value": sum(totals) // count, "low": means[2], "high": means[97]}
