"""What the tests of the sale share: a shop, and orders that are all under way at once."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any, NamedTuple

import psycopg
import pytest
from steps import introduced_in

from stack.checkpoint import Checkpoint
from stack.stubs.client import port_of
from stack.system import System
from surge.machine.waiting import wait_until

# As in RESILIENT, the last step first: pytest brings together what has the same place in a list.
SALE = introduced_in("sale")[::-1]
PATIENT = {
    "REQUEST_SECONDS": "600",
    "LOCK_TIMEOUT": "600",
    "POOL_TIMEOUT": "600",
    "LIMIT_LEAST": "1000",
    "LIMIT_MOST": "1000",
}
"""No order is refused because a test, or a busy machine, makes it wait."""

ONE, TWO, THREE, GATE = 7, 8, 9, 10  # products
UNKNOWN = 999_999

# The service's statements have a place of their own in this: none of ours looks like them.
TRANSACTIONS = """
    SELECT coalesce(sum(calls), 0) FROM pg_stat_statements
    WHERE query ~ '^\\s*SELECT id, stock FROM products .* FOR UPDATE'
    AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'active' AND wait_event_type = 'Lock'
"""


class Order(NamedTuple):
    """What a buyer sends."""

    product: int
    key: str | None = None
    customer: str = "ada@example.com"
    quantity: int = 1

    def body(self) -> dict[str, Any]:
        return {
            "product_id": self.product,
            "quantity": self.quantity,
            "customer": self.customer,
        }


class Answer(NamedTuple):
    """What a buyer gets."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Sent:
    """An order under way, on a connection of its own."""

    def __init__(self, url: str) -> None:
        self.connection = HTTPConnection("127.0.0.1", port_of(url), timeout=60)
        self.connection.connect()

    def send(self, order: Order, **headers: str) -> None:
        headers["Content-Type"] = "application/json"
        if order.key:
            headers["Idempotency-Key"] = order.key
        self.connection.request("POST", "/orders", json.dumps(order.body()).encode(), headers)

    def answer(self) -> Answer:
        response = self.connection.getresponse()
        body = json.loads(response.read())
        self.connection.close()
        return Answer(response.status, dict(response.headers), body)

    def hang_up(self) -> None:
        self.connection.close()


class Shop:
    """A running shop, and what a test sees and does behind its back."""

    def __init__(self, system: System, database: Any) -> None:
        self.system = system
        self.database = database

    def send(self, orders: Sequence[Order], instance: int = 0, **headers: str) -> list[Sent]:
        """Send orders to an instance, which has read all of them when this returns."""
        url = self.system.urls[instance]
        sent = [Sent(url) for _ in orders]
        for one, order in zip(sent, orders, strict=True):
            one.send(order, **headers)
        last = HTTPConnection("127.0.0.1", port_of(url), timeout=60)
        for _ in range(3):  # what comes later is read later; and they need a few turns of the loop
            last.request("GET", "/healthz")
            last.getresponse().read()
        last.close()
        return sent

    def send_together(self, orders: Sequence[Order], instance: int = 0) -> list[Sent]:
        """Send orders that share a transaction: they come while one that sells nothing waits."""
        with self.held(GATE):
            first = self.send([Order(GATE)], instance)
            sent = self.send(orders, instance)
        assert [one.answer().status for one in first] == [409]
        return sent

    def buy(self, orders: Sequence[Order], instance: int = 0) -> list[Answer]:
        return [one.answer() for one in self.send(orders, instance)]

    def put_on_sale(self, units: dict[int, int]) -> None:
        """Give products a stock, and forget who bought them."""
        for product, stock in units.items():
            self.database.execute("DELETE FROM orders WHERE product_id = %s", [product])
            update = "UPDATE products SET stock = %s WHERE id = %s"
            self.database.execute(update, [stock, product])

    def stock(self, product: int) -> int:
        query = "SELECT stock FROM products WHERE id = %s"
        [stock] = self.database.execute(query, [product]).fetchone()
        return int(stock)

    def sold(self, *products: int) -> dict[int, str | None]:
        """The orders for these products: their keys by their ids."""
        query = "SELECT id, idempotency_key FROM orders WHERE product_id = ANY(%s)"
        return dict(self.database.execute(query, [list(products)]).fetchall())

    def transactions(self) -> int:
        """How many transactions of the sale there have been, with those that were rolled back."""
        with psycopg.connect(self.system.instruments_url) as instruments:
            [calls] = instruments.execute(TRANSACTIONS).fetchone() or [0]
        return int(calls)

    @contextmanager
    def held(self, *products: int) -> Iterator[None]:
        """Sales of these products wait meanwhile."""
        with psycopg.connect(self.system.database_url) as other:
            other.execute("SELECT FROM products WHERE id = ANY(%s) FOR UPDATE", [list(products)])
            yield

    def waiting(self) -> list[int]:
        """The processes of the transactions that wait for a lock."""
        return [pid for [pid] in self.database.execute(WAITING)]

    def wait_for_waiting(self, number: int) -> list[int]:
        """Wait until at least so many do; give them."""
        wait_until(lambda: len(self.waiting()) >= number, f"{number} transactions to wait")
        return self.waiting()


@contextmanager
def opened(system: System) -> Iterator[Shop]:
    with psycopg.connect(system.database_url, autocommit=True) as database:
        shop = Shop(system, database)
        shop.put_on_sale({GATE: 0})
        yield shop


def at(steps: Sequence[Checkpoint]) -> pytest.MarkDecorator:
    """The test is made for each of these steps, of which all tests share one system."""
    return pytest.mark.parametrize("shop", steps, indirect=True, ids=lambda step: step.label)
