"""POST /orders and GET /orders/{id}: one order for one key, and the money adds up."""

from datetime import UTC, datetime, timedelta
from typing import Any

import golden
import httpx2
import pytest
from conftest import Shop, order_for, stock

from stack.seed import data

JSON = {"content-type": "application/json"}


def test_an_order_is_answered_stored_and_taken_from_stock(
    shop: Shop, product: data.Product
) -> None:
    answer = shop.post("/orders", json=order_for(product, 3))
    assert answer.status_code == 201
    order = answer.json()
    created_at = order.pop("created_at")
    assert order == {
        "id": order["id"],
        "product_id": product.id,
        "quantity": 3,
        "unit_price_cents": product.price_cents,
        "total_cents": 3 * product.price_cents,
        "customer": "ada@example.com",
    }
    assert created_at.endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(created_at)) < timedelta(minutes=5)
    assert answer.headers["location"].endswith(f"/orders/{order['id']}")
    assert shop.get(f"/orders/{order['id']}").json() == answer.json()
    assert stock(shop, product) == product.stock - 3


def test_orders_of_the_seed_can_be_read(shop: Shop) -> None:
    order = next(data.orders(golden.SIZE))
    expected = {**order._asdict(), "created_at": golden.time(order.created_at)}
    del expected["idempotency_key"]
    assert shop.get(f"/orders/{order.id}").json() == expected


@pytest.mark.parametrize(("order_id", "status"), [
    ("999999", 404), ("9223372036854775807", 404), ("9223372036854775808", 422), ("0", 422),
    ("-3", 422), ("one", 422),
])  # fmt: skip
def test_unknown_or_malformed_order_ids_are_refused(shop: Shop, order_id: str, status: int) -> None:
    assert shop.get(f"/orders/{order_id}").status_code == status


def test_zero_byte_as_an_order_id_is_refused(shop: Shop) -> None:
    # A proxy lets none through, and says so itself.
    assert shop.get("/orders/%00").status_code in (400, 422)


def test_the_same_key_again_gives_the_same_answer_and_sells_nothing(
    shop: Shop, product: data.Product
) -> None:
    key = {"Idempotency-Key": f"again-{product.id}"}
    first, second = (shop.post("/orders", json=order_for(product), headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert first.headers["location"] == second.headers["location"]
    assert stock(shop, product) == product.stock - 1


@pytest.mark.parametrize("change", [{"quantity": 2}, {"customer": "bob@example.com"}])
def test_the_same_key_with_another_body_is_refused(
    shop: Shop, product: data.Product, change: dict[str, Any]
) -> None:
    key = {"Idempotency-Key": f"other-{product.id}"}
    assert shop.post("/orders", json=order_for(product), headers=key).status_code == 201
    answer = shop.post("/orders", json={**order_for(product), **change}, headers=key)
    assert answer.status_code == 422
    assert "key" in answer.json()["detail"].lower()
    assert stock(shop, product) == product.stock - 1


def test_the_same_key_for_another_product_is_refused(shop: Shop, on_sale: Any) -> None:
    one, other = next(on_sale), next(on_sale)
    key = {"Idempotency-Key": f"product-{one.id}"}
    assert shop.post("/orders", json=order_for(one), headers=key).status_code == 201
    assert shop.post("/orders", json=order_for(other), headers=key).status_code == 422
    assert stock(shop, other) == other.stock


def test_without_a_key_every_order_counts(shop: Shop, product: data.Product) -> None:
    for _ in range(2):
        assert shop.post("/orders", json=order_for(product)).status_code == 201
    assert stock(shop, product) == product.stock - 2


def test_order_beyond_the_stock_is_refused_and_not_remembered(
    shop: Shop, product: data.Product
) -> None:
    key = {"Idempotency-Key": f"sold-out-{product.id}"}
    while (left := stock(shop, product)) >= 1:
        shop.post("/orders", json=order_for(product, min(10, left)))
    answer = shop.post("/orders", json=order_for(product), headers=key)
    assert answer.status_code == 409
    assert shop.post("/orders", json=order_for(product), headers=key).status_code == 409
    assert stock(shop, product) == 0


def test_an_order_at_a_changed_price_costs_the_new_one(shop: Shop, product: data.Product) -> None:
    shop.patch(f"/products/{product.id}", json={"price_cents": 12_345})
    order = shop.post("/orders", json=order_for(product, 2)).json()
    assert (order["unit_price_cents"], order["total_cents"]) == (12_345, 24_690)


def test_an_unknown_product_cannot_be_ordered(shop: Shop, product: data.Product) -> None:
    unknown = order_for(product, product_id=1001)
    assert shop.post("/orders", json=unknown).status_code == 404


@pytest.mark.parametrize(
    "key",
    ["", "with space", "tab\there", "k" * 256, "schlüssel"],
    ids=lambda key: ascii(key[:9]),
)
def test_a_malformed_key_is_refused(shop: Shop, untouched: data.Product, key: str) -> None:
    headers = [(b"idempotency-key", key.encode())]
    answer = shop.post("/orders", json=order_for(untouched), headers=headers)
    assert 400 <= answer.status_code < 500
    assert stock(shop, untouched) == untouched.stock


def test_invalid_header_byte_sells_nothing(shop: Shop, untouched: data.Product) -> None:
    """No header may hold a DEL; the server or the shop may be the one to refuse it."""
    headers = [(b"idempotency-key", b"\x7f")]
    answer = httpx2.post(f"{shop.base_url}/orders", json=order_for(untouched), headers=headers)
    assert 400 <= answer.status_code < 500
    assert stock(shop, untouched) == untouched.stock


def test_the_longest_key_is_taken(shop: Shop, product: data.Product) -> None:
    key = {"Idempotency-Key": f"{product.id}".ljust(255, "~")}
    assert shop.post("/orders", json=order_for(product), headers=key).status_code == 201


BAD = [
    {"quantity": 0},
    {"quantity": 11},
    {"quantity": -1},
    {"quantity": 1.5},
    {"quantity": "2"},
    {"quantity": True},
    {"quantity": None},
    {"quantity": 10**30},
    {"product_id": 0},
    {"product_id": -7},
    {"product_id": 2**31},
    {"product_id": "7"},
    {"product_id": None},
    {"customer": ""},
    {"customer": "nobody"},
    {"customer": "a@b@c"},
    {"customer": "a@example.com\x00"},
    {"customer": "a" * 300 + "@example.com"},
    {"customer": "x" * 10_000},
    {"customer": None},
    {"customer": 7},
    {"price_cents": 1},
    {"id": 1},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:40].replace("\x00", "NUL"))
def test_a_bad_order_is_refused_and_sells_nothing(
    shop: Shop, bad: dict[str, Any], untouched: data.Product
) -> None:
    body = {**order_for(untouched), **bad}
    assert shop.post("/orders", json=body).status_code == 422
    assert stock(shop, untouched) == untouched.stock


@pytest.mark.parametrize("missing", ["product_id", "quantity", "customer"])
def test_an_incomplete_order_is_refused(shop: Shop, missing: str, untouched: data.Product) -> None:
    body = order_for(untouched)
    del body[missing]
    assert shop.post("/orders", json=body).status_code == 422
    assert stock(shop, untouched) == untouched.stock


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", '"order"', "{}", '{"customer": "\\ud800"}']
)
def test_malformed_order_body_is_refused(shop: Shop, body: str) -> None:
    answer = shop.post("/orders", content=body.encode(), headers=JSON)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("where", ["customer", "padding"])
def test_order_of_a_megabyte_is_refused(shop: Shop, where: str, untouched: data.Product) -> None:
    # A proxy may not even read it.
    refused = shop.post("/orders", json=order_for(untouched, **{where: "x" * 1_000_000}))
    assert refused.status_code in (413, 422)
    assert stock(shop, untouched) == untouched.stock


@pytest.fixture
def untouched() -> data.Product:
    """A product whose stock stays: shared by the tests whose orders are all refused."""
    return next(p for p in golden.in_category("games") if p.stock > 20)
