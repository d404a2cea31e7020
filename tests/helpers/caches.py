"""What the tests of the caches share."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx2
import psycopg
from steps import introduced_in

from stack.checkpoint import find
from stack.processes.pause import paused
from stack.system import System

CACHED = introduced_in("cache", "tiers")
LEASED = introduced_in("cache", "tiers", "batching")  # 10 acquires leases in another way
TIERED = [step for step in CACHED if step.number >= find("tiers").number]

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
"""How many sessions wait for a lock that a test has taken."""


def stopped(system: System, tier: str) -> AbstractContextManager[None]:
    """Freeze a tier: it still takes what it is sent, and answers when it goes on."""
    return paused(system.pids()[tier])


def cache_stopped(system: System) -> AbstractContextManager[None]:
    """Freeze the cache server."""
    return stopped(system, "cache")


class Shopper(httpx2.Client):
    """A client without cookies: it sees what others see."""

    def __init__(self, url: str) -> None:
        super().__init__(base_url=url, timeout=30)

    def price(self, product_id: int) -> int:
        self.cookies.clear()
        answer = self.get(f"/products/{product_id}")
        assert answer.status_code == 200, answer.text
        price: int = answer.json()["price_cents"]
        return price

    def change(self, product_id: int, price: int) -> None:
        answer = self.patch(f"/products/{product_id}", json={"price_cents": price})
        assert answer.status_code == 200, answer.text
        assert answer.json()["price_cents"] == price


@contextmanager
def sold(system: System, product_id: int, price: int) -> Iterator[psycopg.Connection]:
    """A product at this price in the database, before any client has seen it."""
    with psycopg.connect(system.database_url, autocommit=True) as database:
        database.execute("UPDATE products SET price_cents = %s WHERE id = %s", (price, product_id))
        yield database
