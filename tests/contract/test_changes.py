"""PATCH /products/{id}: its author sees the change at once, and bad input changes nothing."""

import json
from collections.abc import Iterator
from typing import Any

import golden
import pytest
from conftest import Shop

from stack.seed import data


@pytest.fixture
def product(shop: Shop) -> Iterator[data.Product]:
    """A product that may be changed; it is put back."""
    product = golden.in_category(golden.CHANGED)[0]
    yield product
    original = {"price_cents": product.price_cents, "description": product.description}
    shop.patch(f"/products/{product.id}", json=original)


@pytest.mark.parametrize(
    "change",
    [
        {"price_cents": 1},
        {"price_cents": 100_000_000},
        {"description": "x"},
        {"description": "Größe 42 — 日本語 🎲 \u202e\u0301 'quoted' \"twice\" %s {} \\ \t\n"},
        {"description": "y" * 5000},
        {"price_cents": 777, "description": "Both at once."},
    ],
)
def test_a_change_is_answered_and_seen_at_once(
    shop: Shop, product: data.Product, change: dict[str, Any]
) -> None:
    path = f"/products/{product.id}"
    shop.cookies.clear()  # an author's would go past the caches
    shop.get(path)  # anything cached is cached before the change
    expected = {**golden.detail(product), **change}
    assert shop.patch(path, json=change).json() == expected
    assert shop.get(path).json() == expected


def test_a_change_shows_in_the_list_too(shop: Shop, product: data.Product) -> None:
    cheapest_first = {"category": golden.CHANGED, "sort": "price"}
    shop.cookies.clear()
    shop.get("/products", params=cheapest_first)
    shop.patch(f"/products/{product.id}", json={"price_cents": 1})
    cheapest = shop.get("/products", params=cheapest_first).json()
    assert cheapest["items"][0] == {**golden.summary(product), "price_cents": 1}


def test_ten_changes_in_a_row_are_each_seen(shop: Shop, product: data.Product) -> None:
    path = f"/products/{product.id}"
    for cents in range(100, 110):
        shop.patch(path, json={"price_cents": cents})
        assert shop.get(path).json()["price_cents"] == cents


def test_the_last_of_duplicate_json_keys_wins(shop: Shop, product: data.Product) -> None:
    body = b'{"price_cents": 1, "price_cents": 2}'
    answer = shop.patch(f"/products/{product.id}", content=body, headers=JSON)
    assert answer.json()["price_cents"] == 2


JSON = {"content-type": "application/json"}
BAD = [
    "{}",
    "[]",
    "null",
    "7",
    "",
    "{",
    '{"price_cents": null}',
    '{"price_cents": 0}',
    '{"price_cents": -5}',
    '{"price_cents": 100000001}',
    '{"price_cents": 99999999999999999999999999}',
    '{"price_cents": 9.5}',
    '{"price_cents": "900"}',
    '{"price_cents": true}',
    '{"price_cents": NaN}',
    '{"price_cents": Infinity}',
    '{"price_cents": 1e400}',
    '{"description": ""}',
    '{"description": null}',
    '{"description": 7}',
    '{"description": "NUL \\u0000 inside"}',
    '{"description": "half a pair \\ud800"}',
    '{"stock": 1000000}',
    '{"price_cents": 5, "colour": "red"}',
    json.dumps({"description": "z" * 5001}),
    json.dumps({"description": "z" * 1_000_000}),
    '{"description": ' + "[" * 100_000,
]


@pytest.mark.parametrize("body", BAD, ids=lambda body: f"{len(body)} {body[:40]!r}")
def test_a_bad_change_is_refused_and_changes_nothing(
    shop: Shop, product: data.Product, body: str
) -> None:
    path = f"/products/{product.id}"
    answer = shop.patch(path, content=body.encode(), headers=JSON)
    assert 400 <= answer.status_code < 500
    assert shop.get(path).json() == golden.detail(product)


def test_bytes_that_are_not_utf8_are_refused(shop: Shop, product: data.Product) -> None:
    path = f"/products/{product.id}"
    answer = shop.patch(path, content=b'{"description": "\xff\xfe"}', headers=JSON)
    assert 400 <= answer.status_code < 500
    assert shop.get(path).json() == golden.detail(product)


def test_an_unknown_product_cannot_be_changed(shop: Shop) -> None:
    assert shop.patch("/products/1001", json={"price_cents": 5}).status_code == 404
    assert shop.patch("/products/0", json={"price_cents": 5}).status_code == 422
