"""A shop to explore: a running checkpoint, with the questions that a notebook asks of it."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import httpx2
import psycopg

from stack.stubs.client import configure_partners
from stack.system import System
from surge.count.sql import OF_SERVICE, StatementStats

STATEMENTS: LiteralString = f"""
    SELECT sum(calls)::int, sum(rows)::int, sum(shared_blks_hit + shared_blks_read)::int, query
    FROM pg_stat_statements WHERE {OF_SERVICE}
    GROUP BY query
    ORDER BY sum(calls) DESC, query
"""  # noqa: S608 - both halves are ours


@dataclass(frozen=True)
class Statement:
    """A statement that one request sent to the database, all calls of the same text together."""

    calls: int
    rows: int
    blocks: int
    text: str


@dataclass(frozen=True)
class Rush:
    """The answers to a crowd whose requests came all at once."""

    statuses: Counter[int]
    seconds: list[float]
    """How long each shopper waited, the quickest first."""


class Shop:
    """A running checkpoint; `client` speaks HTTP to it."""

    def __init__(self, system: System, client: httpx2.Client, most_shoppers: int) -> None:
        self.system = system
        self.client = client
        self.most_shoppers = most_shoppers

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return self.client.get(path).json()

    def statements(self, path: str) -> list[Statement]:
        """The statements that a GET of this path sends to the database."""
        with StatementStats(self.system) as sql:
            self.client.get(path)
            sql.statements()  # waits until the database has finished
            found = sql.connection.execute(STATEMENTS, [sql.role]).fetchall()
        return [Statement(*row) for row in found]

    def sql(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """Run a query of your own, as the service's role."""
        with psycopg.connect(self.system.database_url, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def partners(self, **settings: float | bool) -> None:
        """Change the partners' settings: `latency_ms`, `jitter_ms`, `error_rate`, `hold`."""
        configure_partners(self.system.partners_url, **settings)

    def rush(self, shoppers: int, path: str, order: dict[str, object] | None = None) -> Rush:
        """Send so many shoppers at the same moment; with an `order`, each of them POSTs it.

        `{}` in the path stands for the number of the shopper, from 1 on.
        """
        shoppers = min(shoppers, self.most_shoppers)
        gate = threading.Barrier(shoppers)

        def shop(number: int) -> tuple[int, float]:
            gate.wait()
            began = time.perf_counter()
            url = path.format(number + 1)
            answer = self.client.request("POST" if order else "GET", url, json=order)
            return answer.status_code, time.perf_counter() - began

        with ThreadPoolExecutor(shoppers) as crowd:
            answers = list(crowd.map(shop, range(shoppers)))
        return Rush(
            Counter(status for status, _ in answers), sorted(waited for _, waited in answers)
        )


@contextmanager
def serve(system: System, most_shoppers: int) -> Iterator[Shop]:
    """Bring a system up on a fresh copy of the data, and down at the end of the block."""
    unlimited = httpx2.Limits(max_connections=None)
    with system as running, httpx2.Client(limits=unlimited, timeout=60) as client:
        client.base_url = running.url
        yield Shop(running, client, most_shoppers)
