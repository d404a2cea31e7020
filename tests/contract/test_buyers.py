"""Many buyers at once: exactly what is there is sold, and one key makes one order."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Shop, order_for, stock

from stack.seed import data

CROWD = 24


@pytest.mark.parametrize("quantity", [1, 3])
def test_exactly_the_stock_is_sold(
    shop: Shop, on_sale: Iterator[data.Product], quantity: int
) -> None:
    product = next(product for product in on_sale if product.stock <= 30)
    buyers = product.stock // quantity + 20
    with ThreadPoolExecutor(CROWD) as crowd:
        answers = list(
            crowd.map(
                lambda _: shop.post("/orders", json=order_for(product, quantity)), range(buyers)
            )
        )
    sold = product.stock // quantity
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {201: sold, 409: buyers - sold}
    assert stock(shop, product) == product.stock - sold * quantity
    ids = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(set(ids)) == sold
    for id in ids:
        assert shop.get(f"/orders/{id}").json()["quantity"] == quantity


def test_duplicates_of_one_key_at_once_make_one_order(shop: Shop, product: data.Product) -> None:
    key = {"Idempotency-Key": f"crowd-{product.id}"}
    with ThreadPoolExecutor(CROWD) as crowd:
        answers = list(
            crowd.map(
                lambda _: shop.post("/orders", json=order_for(product), headers=key), range(CROWD)
            )
        )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert stock(shop, product) == product.stock - 1


def test_one_key_for_two_products_at_once_makes_one_order(
    shop: Shop, on_sale: Iterator[data.Product]
) -> None:
    products = [next(on_sale), next(on_sale)]
    key = {"Idempotency-Key": f"race-{products[0].id}"}
    with ThreadPoolExecutor(CROWD) as crowd:
        answers = list(
            crowd.map(
                lambda n: shop.post("/orders", json=order_for(products[n % 2]), headers=key),
                range(CROWD),
            )
        )
    orders = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(orders) == 1
    assert {answer.status_code for answer in answers} <= {201, 422}
    assert sum(product.stock - stock(shop, product) for product in products) == 1


def test_changes_and_orders_at_once_lose_neither(shop: Shop, product: data.Product) -> None:
    def act(n: int) -> int:
        if n % 2:
            change = {"price_cents": 1000 + n}
            return shop.patch(f"/products/{product.id}", json=change).status_code
        return shop.post("/orders", json=order_for(product)).status_code

    with ThreadPoolExecutor(8) as crowd:
        statuses = Counter(crowd.map(act, range(10)))
    assert statuses == {200: 5, 201: 5}
    assert stock(shop, product) == product.stock - 5
