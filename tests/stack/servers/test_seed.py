"""The seed data: the same on every machine, and telling in the places where tests look."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from operator import attrgetter
from typing import Any

import psycopg
import pytest

from stack.checkpoint import Checkpoint
from stack.seed import data, load
from stack.system import System

TABLES: dict[str, Callable[[data.Size], Iterable[tuple[Any, ...]]]] = {
    "sellers": data.sellers,
    "products": data.products,
    "reviews": data.reviews,
    "orders": data.orders,
}

DIGEST = """
import hashlib
from stack.seed import data
rows = [*data.sellers("tiny"), *data.products("tiny"), *data.reviews("tiny"), *data.orders("tiny")]
print(hashlib.sha256(repr(rows).encode()).hexdigest())
"""


@pytest.mark.parametrize("size", ["tiny", "full"])
@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_its_rows_numbered_from_one(table: str, size: data.Size) -> None:
    ids = [row[0] for row in TABLES[table](size)]
    assert ids == list(range(1, getattr(data.COUNTS[size], table) + 1))


def test_another_process_makes_the_same_rows() -> None:
    # Two hash seeds: nothing may hang on the order of a set.
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_these_are_the_rows_that_every_python_must_make() -> None:
    product = next(data.products("tiny"))
    assert product[:3] == (1, 18, "Amber Record Édition")
    assert product[5:] == (6449, 190, datetime(2025, 10, 18, 11, 52, 40, tzinfo=UTC))
    order = next(data.orders("tiny"))
    assert order[1:6] == (493, 1, 3240, 3240, "customer236@example.com")


def test_every_row_refers_to_one_that_exists_and_comes_after_it() -> None:
    sellers = {seller.id for seller in data.sellers("tiny")}
    products = {product.id: product for product in data.products("tiny")}
    assert {product.seller_id for product in products.values()} <= sellers
    children: list[data.Review | data.Order] = [*data.reviews("tiny"), *data.orders("tiny")]
    for row in children:
        assert products[row.product_id].created_at <= row.created_at


def test_times_are_whole_seconds_of_thirty_months() -> None:
    first, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    tables = (data.products("tiny"), data.reviews("tiny"), data.orders("tiny"))
    for created_at in (row.created_at for table in tables for row in table):
        assert first <= created_at < end
        assert created_at.microsecond == 0


def test_the_money_of_an_order_adds_up_and_some_were_bargains() -> None:
    prices = {product.id: product.price_cents for product in data.products("tiny")}
    bargains = 0
    for order in data.orders("tiny"):
        assert order.total_cents == order.quantity * order.unit_price_cents
        assert order.unit_price_cents <= prices[order.product_id]
        bargains += order.unit_price_cents < prices[order.product_id]
    assert 200 < bargains < 600  # of 2,000: a report at today's prices would be wrong


def test_every_category_sells_something_and_some_products_are_sold_out() -> None:
    products = {product.id: product for product in data.products("tiny")}
    sold = {products[order.product_id].category for order in data.orders("tiny")}
    reviewed = {products[review.product_id].category for review in data.reviews("tiny")}
    assert sold == reviewed == set(data.CATEGORIES)
    assert len(data.CATEGORIES) == 20
    stocks = [product.stock for product in products.values()]
    assert 20 < stocks.count(0) < 100
    assert max(stocks) == 200


@pytest.mark.parametrize("field", ["created_at", "price_cents"])
def test_products_of_a_category_tie(field: str) -> None:
    value = attrgetter("category", field)
    counts = Counter(value(product) for product in data.products("tiny"))
    assert sum(count > 1 for count in counts.values()) >= 20


def test_newest_reviews_tie_where_the_detail_cuts_them_off() -> None:
    times: dict[int, list[datetime]] = {}
    for review in data.reviews("tiny"):
        times.setdefault(review.product_id, []).append(review.created_at)
    fifth_and_sixth = [sorted(times, reverse=True)[4:6] for times in times.values()]
    assert any(len(pair) == 2 and pair[0] == pair[1] for pair in fifth_and_sixth)


def test_some_averages_lie_on_a_half_cent_and_some_products_have_none() -> None:
    stars: dict[int, list[int]] = {}
    for review in data.reviews("tiny"):
        stars.setdefault(review.product_id, []).append(review.stars)
    halves = [
        given for given in stars.values() if 1000 * sum(given) % (10 * len(given)) == 5 * len(given)
    ]
    assert len(halves) >= 5
    assert 20 < data.COUNTS["tiny"].products - len(stars) < 200


@pytest.mark.parametrize("table", ["reviews", "orders"])
def test_a_few_products_are_in_great_demand(table: str) -> None:
    drawn = Counter(row[1] for row in TABLES[table]("tiny"))
    hot = data.hot_ids("tiny", 100)
    assert len(set(hot)) == 100
    assert 0.4 < sum(drawn[id] for id in hot) / drawn.total() < 0.8
    steps = [sum(drawn[id] for id in hot[start : start + 20]) for start in range(0, 100, 20)]
    assert all(hotter > colder for hotter, colder in pairwise(steps))


def test_texts_hold_more_than_ascii_and_descriptions_are_about_600_characters() -> None:
    lengths = [len(product.description) for product in data.products("tiny")]
    assert 550 < sum(lengths) / len(lengths) < 650
    texts = [
        {seller.name for seller in data.sellers("tiny")},
        {product.name for product in data.products("tiny")},
        {review.author for review in data.reviews("tiny")},
        {review.body for review in data.reviews("tiny")},
    ]
    assert not any("".join(text).isascii() for text in texts)


def test_the_fingerprint_tells_sizes_apart_and_follows_their_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = load.fingerprint("tiny")
    assert tiny == load.fingerprint("tiny") != load.fingerprint("full")
    monkeypatch.setitem(data.COUNTS, "tiny", data.Counts(20, 1_000, 10_000, 2_001))
    assert load.fingerprint("tiny") != tiny


@pytest.mark.parametrize("source", load.SOURCES)
def test_the_fingerprint_follows_every_source(
    source: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load.fingerprint("tiny")
    for name in load.SOURCES:
        (tmp_path / name).write_bytes((load.HERE / name).read_bytes())
    (tmp_path / source).write_text("changed")
    monkeypatch.setattr(load, "HERE", tmp_path)
    assert load.fingerprint("tiny") != before


@pytest.fixture
def loaded(smallest: Checkpoint) -> Iterator[tuple[psycopg.Connection[Any], list[tuple[int, int]]]]:
    """A connection to freshly loaded tables, and what the progress callback was told."""
    calls: list[tuple[int, int]] = []
    with System(smallest, size="tiny") as system:
        with psycopg.connect(system.database_url) as db:
            db.execute("CREATE SCHEMA fresh")
        with psycopg.connect(system.database_url, options="-c search_path=fresh") as db:
            load.load(db, "tiny", lambda done, total: calls.append((done, total)))
            yield db, calls


def test_what_is_loaded_is_what_was_made(
    loaded: tuple[psycopg.Connection[Any], list[tuple[int, int]]],
) -> None:
    db, calls = loaded
    db.execute("SET timezone TO 'UTC'")
    for table, rows in TABLES.items():
        found = db.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
        assert found == [tuple(row) for row in rows("tiny")]
    assert calls == [(5_000, 13_020), (10_000, 13_020), (13_020, 13_020)]

    # The next order gets the id after the seed's, and the constraints are awake.
    columns = "(product_id, quantity, unit_price_cents, total_cents, customer)"
    order = f"INSERT INTO orders {columns} VALUES (%s, 1, 5, 5, 'ada@example.com') RETURNING id"
    assert db.execute(order, [1]).fetchone() == (2_001,)
    db.commit()
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        db.execute(order, [1_001])
    db.rollback()

    # Analysed, and nothing waits for a first reader or for autovacuum to tidy it up.
    pages = (
        "SELECT reltuples, relallvisible = relpages FROM pg_class WHERE oid = 'reviews'::regclass"
    )
    assert db.execute(pages).fetchone() == (10_000, True)
