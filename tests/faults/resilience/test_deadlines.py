"""A request is answered before its deadline, and no work goes on for one that has passed."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import psycopg
import pytest
import redis
from caches import cache_stopped
from crowds import KEPT_NOWHERE, order
from resilient import RESILIENT, lines, refused

from stack.stubs.client import configure_partners, partner_stats
from stack.system import System
from surge.count.telemetry import scrape_instances
from surge.machine.waiting import wait_until

WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE usename = current_user AND state = 'active' AND wait_event_type = 'Lock'
"""
PATIENT = {**KEPT_NOWHERE, "REQUEST_SECONDS": "600"}
"""Longer than any test waits: an answer in time is due to the deadline of its request."""


@pytest.fixture(scope="module", params=RESILIENT, ids=lambda step: step.label)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with System(request.param, size="tiny", environment=PATIENT) as system:
        yield system


@pytest.fixture
def client(system: System) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=system.url, timeout=30) as client:
        yield client


@pytest.fixture
def database(system: System) -> Iterator[psycopg.Connection]:
    with psycopg.connect(system.database_url, autocommit=True) as database:
        yield database


@contextmanager
def locked(database: psycopg.Connection, table: str) -> Iterator[None]:
    """Every other statement on this table waits."""
    with database.transaction():
        database.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


Watch = Callable[[], int]


@pytest.fixture
def watch(system: System) -> Iterator[Watch]:
    """How many statements of the service are under way."""
    with psycopg.connect(system.database_url, autocommit=True) as watcher:

        def watch() -> int:
            row = watcher.execute(WAITING).fetchone()
            assert row
            return int(row[0])

        yield watch


def within(seconds: float) -> dict[str, str]:
    return {"Request-Timeout": f"{seconds}"}


PATHS = ("/products/{}", "/products/{}/stock", "/products/{}/offers", "/products?page={}")


@pytest.mark.parametrize("path", PATHS)
def test_blocked_request_gets_504_at_its_deadline(
    client: httpx2.Client, database: psycopg.Connection, path: str
) -> None:
    with locked(database, "products"):
        began = time.monotonic()
        refused(client.get(path.format(7), headers=within(0.3)), 504)
        assert time.monotonic() - began > 0.2
    assert client.get(path.format(7)).status_code == 200


def test_request_without_time_left_costs_no_work(system: System, client: httpx2.Client) -> None:
    before = partner_stats(system.partners_url)["calls"]
    for path in PATHS:
        refused(client.get(path.format(9), headers=within(0)), 504)
    refused(client.post("/orders", json=order(9, 1)["json"], headers=within(0)), 504)
    assert scrape_instances(system)["requests_shed_total", "hurry"] >= len(PATHS) + 1
    assert partner_stats(system.partners_url)["calls"] == before


def test_request_during_a_cancelled_fetch_starts_its_own(
    system: System, database: psycopg.Connection
) -> None:
    """Cancelling takes a moment: it releases a lease, here in a Redis that is frozen."""
    with ThreadPoolExecutor(1) as other, httpx2.Client(base_url=system.urls[0], timeout=30) as one:
        with locked(database, "reviews"):
            leaving = other.submit(one.get, "/products/11", headers=within(0.5))
            time.sleep(0.3)
            with cache_stopped(system):
                refused(leaving.result(), 504)
                staying = other.submit(one.get, "/products/11")
                time.sleep(0.3)
            assert not staying.done()
        assert staying.result().status_code == 200


def test_expired_request_leaves_no_lease(system: System) -> None:
    """Others would wait for it; nor is Redis taken for broken."""
    before = len(lines(system, "no cache"))

    def hurry(first: int) -> None:
        for number in range(100):
            wish = {"Request-Timeout": f"{1e-6 if number % 2 else 0.002 + number * 1e-4:.6f}"}
            status = hurried.get(f"/products/{first + number}", headers=wish).status_code
            assert status in (200, 504)

    with (
        httpx2.Client(base_url=system.urls[0], timeout=30) as hurried,
        ThreadPoolExecutor(8) as crowd,
        redis.Redis.from_url(system.redis_url) as kept,
    ):
        list(crowd.map(hurry, range(100, 900, 100)))
        time.sleep(0.5)
        left = [kept.get(key) or b"" for key in kept.scan_iter("*:product:*")]
        assert not [value for value in left if value.startswith(b"lease ")]
    assert len(lines(system, "no cache")) == before


@pytest.mark.parametrize("wish", ["", "soon", "-1", "1e3", "9" * 400, "0x1", "nan"])
def test_malformed_request_timeout_is_ignored(client: httpx2.Client, wish: str) -> None:
    assert client.get("/products/7/stock", headers={"Request-Timeout": wish}).status_code == 200


def test_offers_hold_what_arrived_before_the_deadline(
    client: httpx2.Client, system: System
) -> None:
    """Partners are told how long we wait, which is a little less than we have."""
    configure_partners(system.partners_url, partner="northwind", hold=True)
    try:
        answer = client.get("/products/7/offers", headers=within(3))
    finally:
        configure_partners(system.partners_url, partner="northwind", hold=False)
    assert answer.status_code == 200
    assert answer.json()["missing"] == ["northwind"]
    assert len(answer.json()["offers"]) == 2


def test_shared_fetch_outlives_the_deadline_of_one_caller(
    system: System, database: psycopg.Connection, watch: Watch
) -> None:
    """Six requests share a fetch at one instance; the one that began it has the short deadline."""
    with (
        httpx2.Client(base_url=system.urls[0], timeout=30) as client,
        ThreadPoolExecutor(6) as pool,
    ):
        with locked(database, "reviews"):
            hurried = pool.submit(client.get, "/products/21", headers=within(4))
            wait_until(lambda: watch() == 1, "a look at the database")
            patient = [pool.submit(client.get, "/products/21") for _ in range(5)]
            refused(hurried.result(), 504)
            assert watch() == 1, "the others would have to begin anew"
        assert [one.result().status_code for one in patient] == [200] * 5


def test_abandoned_queries_are_cancelled(
    client: httpx2.Client, database: psycopg.Connection, watch: Watch
) -> None:
    with ThreadPoolExecutor(4) as pool, locked(database, "products"):
        paths = [f"/products/{number}/stock" for number in range(30, 34)]
        asked = [pool.submit(client.get, path, headers=within(4)) for path in paths]
        wait_until(lambda: watch() == 4, "looks at the database")
        for one in asked:
            refused(one.result(), 504)
        wait_until(lambda: watch() == 0, "their end")


def test_order_after_a_504_is_made_once_for_its_key(
    client: httpx2.Client, database: psycopg.Connection
) -> None:
    mine = order(11, 1)
    left = client.get("/products/11/stock").json()["stock"]
    with database.transaction():
        database.execute("SELECT FROM products WHERE id = 11 FOR UPDATE")
        late = client.post("/orders", json=mine["json"], headers=mine["headers"] | within(0.3))
        refused(late, 504)
    answers = [client.post("/orders", **mine) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert client.get("/products/11/stock").json()["stock"] == left - 1
