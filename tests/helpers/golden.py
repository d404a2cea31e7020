"""The right answers, computed from the seed and never recorded from a service.

The suite changes data, so it divides the catalogue: prices and descriptions change in `outdoors`
(and are put back) and, with orders, in `SOLD`; reports are asked for `books`.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from stack.seed import data

SIZE: data.Size = "tiny"
CHANGED, REPORTED = "outdoors", "books"
SOLD = ("sports", "shoes", "bags")

Json = dict[str, Any]
Shelf = Mapping[int, data.Product]
"""Products by their ids; where none is given, as they are seeded."""


@cache
def products() -> dict[int, data.Product]:
    return {product.id: product for product in data.products(SIZE)}


@cache
def sellers() -> dict[int, data.Seller]:
    return {seller.id: seller for seller in data.sellers(SIZE)}


@cache
def reviews() -> dict[int, list[data.Review]]:
    """Every product's reviews, newest first."""
    found: dict[int, list[data.Review]] = defaultdict(list)
    for review in data.reviews(SIZE):
        found[review.product_id].append(review)
    for of_product in found.values():
        of_product.sort(key=lambda review: (review.created_at, review.id), reverse=True)
    return found


def in_category(category: str | None, shelf: Shelf | None = None) -> list[data.Product]:
    chosen = (products() if shelf is None else shelf).values()
    return [p for p in chosen if category is None or p.category == category]


@cache
def average(product_id: int) -> float | None:
    stars = [review.stars for review in reviews().get(product_id, [])]
    if not stars:
        return None
    # Halves go up; whole numbers, so that no binary fraction decides.
    return (200 * sum(stars) + len(stars)) // (2 * len(stars)) / 100


def time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(product: data.Product) -> Json:
    seller = sellers()[product.seller_id]
    return {
        "id": product.id,
        "name": product.name,
        "category": product.category,
        "price_cents": product.price_cents,
        "seller": {"id": seller.id, "name": seller.name},
        "rating": {"average": average(product.id), "count": len(reviews().get(product.id, []))},
        "created_at": time(product.created_at),
    }


def detail(product: data.Product) -> Json:
    seller = sellers()[product.seller_id]
    return {
        **summary(product),
        "description": product.description,
        "seller": {"id": seller.id, "name": seller.name, "country": seller.country},
        "reviews": [
            {
                "author": review.author,
                "stars": review.stars,
                "body": review.body,
                "created_at": time(review.created_at),
            }
            for review in reviews().get(product.id, [])[:5]
        ],
    }


def ordered(category: str | None, sort: str, shelf: Shelf | None = None) -> list[data.Product]:
    """A category in the order of `sort`; equals follow their id in the same direction."""
    chosen = in_category(category, shelf)
    match sort:
        case "newest":
            chosen.sort(key=lambda product: (product.created_at, product.id), reverse=True)
        case "price":
            chosen.sort(key=lambda product: (product.price_cents, product.id))
        case "-price":
            chosen.sort(key=lambda product: (product.price_cents, product.id), reverse=True)
        case "rating":
            chosen.sort(key=lambda product: (average(product.id) or 0, product.id), reverse=True)
    return chosen


def page(
    category: str | None,
    number: int = 1,
    size: int = 20,
    sort: str = "newest",
    shelf: Shelf | None = None,
) -> Json:
    chosen = ordered(category, sort, shelf)
    start = (number - 1) * size
    return {
        "items": [summary(product) for product in chosen[start : start + size]],
        "total": len(chosen),
        "page": number,
        "size": size,
        "pages": -(-len(chosen) // size),
    }


def report(category: str) -> Json:
    ids = {product.id for product in in_category(category)}
    sold = [order for order in data.orders(SIZE) if order.product_id in ids]
    units: Counter[int] = Counter()
    revenue: Counter[int] = Counter()
    for order in sold:
        units[order.product_id] += order.quantity
        revenue[order.product_id] += order.total_cents
    totals = [order.total_cents for order in sold]
    rng = random.Random(category)
    means = sorted(sum(rng.choices(totals, k=len(totals))) // len(totals) for _ in range(100))
    best = sorted(revenue, key=lambda product_id: (-revenue[product_id], product_id))[:10]
    return {
        "category": category,
        "orders": len(sold),
        "units": units.total(),
        "revenue_cents": revenue.total(),
        "average_order_cents": {
            "value": revenue.total() // len(sold),
            "low": means[2],
            "high": means[97],
        },
        "top_products": [
            {"product_id": id, "units": units[id], "revenue_cents": revenue[id]} for id in best
        ],
    }
