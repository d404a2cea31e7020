"""The shop's data, generated: the same rows on every machine and in every version of Python.

Only `Random.random()` and simple arithmetic are used, whose results are the same everywhere.
`Random.choice()` may change between versions of Python, powers and logarithms between machines.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from random import Random
from typing import Literal, NamedTuple, TypeVar

from stack.seed.words import (
    AUTHORS,
    COUNTRIES,
    DESCRIPTIONS,
    LINES,
    OPINIONS,
    REMARKS,
    SHELVES,
    SHOPS,
    STYLES,
    TRADES,
)

Size = Literal["full", "tiny"]
T = TypeVar("T")


class Counts(NamedTuple):
    """How many rows each table holds."""

    sellers: int
    products: int
    reviews: int
    orders: int


COUNTS: dict[Size, Counts] = {
    "full": Counts(1_000, 50_000, 500_000, 100_000),
    "tiny": Counts(20, 1_000, 10_000, 2_000),
}
CATEGORIES = tuple(SHELVES)
START = datetime(2024, 1, 1, tzinfo=UTC)
SECONDS = int((datetime(2026, 7, 1, tzinfo=UTC) - START).total_seconds())
DAY = 86_400


class Seller(NamedTuple):
    """A row of `sellers`."""

    id: int
    name: str
    country: str


class Product(NamedTuple):
    """A row of `products`."""

    id: int
    seller_id: int
    name: str
    description: str
    category: str
    price_cents: int
    stock: int
    created_at: datetime


class Review(NamedTuple):
    """A row of `reviews`."""

    id: int
    product_id: int
    author: str
    stars: int
    body: str
    created_at: datetime


class Order(NamedTuple):
    """A row of `orders`."""

    id: int
    product_id: int
    quantity: int
    unit_price_cents: int
    total_cents: int
    customer: str
    idempotency_key: str | None
    created_at: datetime


class _Facts(NamedTuple):
    """The attributes of a product on which its reviews and orders depend."""

    category: str
    price_cents: int
    created: int  # seconds after START


def sellers(size: Size) -> Iterator[Seller]:
    """Every seller, in order of id."""
    rand = _generator(f"sellers {size}")
    for id in range(1, COUNTS[size].sellers + 1):
        yield Seller(
            id, f"{_pick(SHOPS, rand())} {_pick(TRADES, rand())}", _pick(COUNTRIES, rand())
        )


def products(size: Size) -> Iterator[Product]:
    """Every product, in order of id. One in twenty is sold out."""
    rand = _generator(f"products {size}")
    for id, facts in enumerate(_facts(size), start=1):
        thing = _pick(SHELVES[facts.category].things, rand())
        sentences = [_pick(group, rand()) for group in DESCRIPTIONS]
        yield Product(
            id=id,
            seller_id=1 + int(rand() * COUNTS[size].sellers),
            name=f"{_pick(STYLES, rand())} {thing} {_pick(LINES, rand())}",
            description=" ".join(sentences).format(thing=thing.lower()),
            category=facts.category,
            price_cents=facts.price_cents,
            stock=0 if rand() < 0.05 else 1 + int(rand() * 200),
            created_at=_timestamp(facts.created),
        )


def reviews(size: Size) -> Iterator[Review]:
    """Every review, in order of id, which is no order of products or times."""
    rand = _generator(f"reviews {size}")
    facts = _facts(size)
    for id, product_id in enumerate(_popular_ids(size, COUNTS[size].reviews, rand), start=1):
        # The larger of two numbers: four and five stars are commoner than one, as in any shop.
        stars = 1 + max(int(rand() * 5), int(rand() * 5))
        launched = facts[product_id - 1].created
        created = _later(launched, rand())
        if rand() < 0.5:  # these are imported once a day, so that newest first has ties
            created = max(launched, created - created % DAY)
        body = f"{_pick(OPINIONS[stars], rand())} {_pick(REMARKS, rand())}".rstrip()
        yield Review(id, product_id, _pick(AUTHORS, rand()), stars, body, _timestamp(created))


def orders(size: Size) -> Iterator[Order]:
    """Every order, in order of id. Some were made at a price lower than the product's today."""
    rand = _generator(f"orders {size}")
    facts = _facts(size)
    for id, product_id in enumerate(_popular_ids(size, COUNTS[size].orders, rand), start=1):
        product = facts[product_id - 1]
        quantity = 1 + int(rand() * rand() * 10)
        unit = product.price_cents - (product.price_cents // 10 if rand() < 0.2 else 0)
        customer = f"customer{1 + int(rand() * COUNTS[size].orders // 4)}@example.com"
        created = _timestamp(_later(product.created, rand()))
        yield Order(id, product_id, quantity, unit, quantity * unit, customer, None, created)


def hot_ids(size: Size, n: int) -> list[int]:
    """The ids of the `n` most popular products, the most popular first."""
    return [_id_of_rank(rank, COUNTS[size].products) for rank in range(n)]


@cache
def _facts(size: Size) -> list[_Facts]:
    rand = _generator(f"facts {size}")
    facts = []
    for _ in range(COUNTS[size].products):
        category = _pick(CATEGORIES, rand())
        shelf = SHELVES[category]
        # The product of two numbers: cheap things are commoner than expensive ones.
        units = shelf.cheapest + int(rand() * rand() * (shelf.dearest - shelf.cheapest))
        price_cents = units * 100 + _pick((0, 49, 99), rand())
        created = int(rand() * SECONDS)
        if rand() < 0.25:  # these were launched together, so that newest first has ties
            created -= created % (28 * DAY)
        facts.append(_Facts(category, price_cents, created))
    return facts


def _popular_ids(size: Size, n: int, rand: Callable[[], float]) -> Iterator[int]:
    """Draw product ids by popularity: rank r has a weight of 1 / (r + count/500)."""
    count = COUNTS[size].products
    steps = list(accumulate(10**12 // (rank + count // 500) for rank in range(count)))
    for _ in range(n):
        yield _id_of_rank(bisect_right(steps, int(rand() * steps[-1])), count)


def _generator(name: str) -> Callable[[], float]:
    return Random(name).random  # noqa: S311 - must be predictable


def _id_of_rank(rank: int, count: int) -> int:
    # 7919 shares no factor with the counts, so every id has one rank, spread over the whole range.
    return 1 + rank * 7919 % count


def _later(created: int, part: float) -> int:
    return created + int(part * (SECONDS - created))


def _timestamp(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def _pick(options: Sequence[T], part: float) -> T:
    return options[int(part * len(options))]
