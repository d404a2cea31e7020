"""A shop to walk around in: a running checkpoint, with the questions one wants to ask of it."""

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
    """What one request asked the database, the same text counted together."""

    calls: int
    rows: int
    blocks: int
    text: str


@dataclass(frozen=True)
class Rush:
    """What a crowd that came all at once was answered."""

    statuses: Counter[int]
    seconds: list[float]
    """How long each waited, the quickest first."""


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
        """What a GET of this path asks the database."""
        with StatementStats(self.system) as sql:
            self.client.get(path)
            sql.statements()  # waits until all is done
            found = sql.connection.execute(STATEMENTS, [sql.role]).fetchall()
        return [Statement(*row) for row in found]

    def sql(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """Ask the database yourself, as the service's role."""
        with psycopg.connect(self.system.database_url, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def partners(self, **settings: float | bool) -> None:
        """Change the partners' settings: `latency_ms`, `jitter_ms`, `error_rate`, `hold`."""
        configure_partners(self.system.partners_url, **settings)

    def rush(self, shoppers: int, path: str, order: dict[str, object] | None = None) -> Rush:
        """Send so many shoppers at the same moment; with an `order`, they all POST it.

        `{}` in the path stands for the number of the shopper, from 1 on.
        """
        shoppers = min(shoppers, self.most_shoppers)
        gate = threading.Barrier(shoppers)

        def shop(number: int) -> tuple[int, float]:
            gate.wait()
            began = time.perf_counter()
            own = path.format(number + 1)
            answer = self.client.request("POST" if order else "GET", own, json=order)
            return answer.status_code, time.perf_counter() - began

        with ThreadPoolExecutor(shoppers) as crowd:
            met = list(crowd.map(shop, range(shoppers)))
        return Rush(Counter(status for status, _ in met), sorted(waited for _, waited in met))


@contextmanager
def serve(system: System, most_shoppers: int) -> Iterator[Shop]:
    """Bring a system up on a fresh copy of the data, and take it down at the end."""
    unlimited = httpx2.Limits(max_connections=None)
    with system as running, httpx2.Client(limits=unlimited, timeout=60) as client:
        client.base_url = running.url
        yield Shop(running, client, most_shoppers)
