"""Without Redis or PostgreSQL, the shop answers what it can, and tells the rest when to retry."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import psycopg
from caches import cache_stopped
from crowds import HOT, KEPT_NOWHERE, Looks, crowd, order
from resilient import RESILIENT, refused
from steps import each

from stack.checkpoint import Checkpoint
from stack.stubs.fault_proxy import FaultProxy
from stack.system import System
from surge.count.telemetry import scrape_instances
from surge.machine.waiting import wait_until


def warm(client: httpx2.Client, *urls: str) -> None:
    """Let every instance see what readers will ask for."""
    for url in urls:
        for number in HOT:
            assert client.get(f"{url}/products/{number}").status_code == 200
            assert client.get(f"{url}/products?page={number}").status_code == 200


@contextmanager
def faulty(system: System, server: str) -> Iterator[FaultProxy]:
    """The service reaches a server by way of a proxy."""
    url = {"DATABASE_URL": system.database_url, "REDIS_URL": system.redis_url}[server]
    with FaultProxy(url) as proxy:
        system.restart_app({**KEPT_NOWHERE, server: proxy.url})
        yield proxy
        system.service.stop_all()
        system.workers.stop()


@each(RESILIENT)
def test_reads_survive_a_frozen_redis(step: Checkpoint) -> None:
    short = {**KEPT_NOWHERE, "MEMORY_SECONDS": "0.2"}
    looks = Looks()
    paths = ("/products/{}", "/products?page={}", "/products/{}/stock")
    with System(step, size="tiny", environment=short) as system:
        with crowd(system, *map(looks.at, paths)):
            with cache_stopped(system):
                for path in paths:
                    looks.more(path, 200)
            for path in paths:
                looks.more(path)
        with httpx2.Client(base_url=system.urls[0], timeout=30) as client:
            kept_again(client)


def kept_again(client: httpx2.Client) -> None:
    """Wait until Redis is in use again: what memory has forgotten is a hit."""

    def hit() -> bool:
        answer = client.get("/products/7")
        time.sleep(0.3)
        return answer.headers["X-Cache"] == "hit"

    wait_until(hit, "the cache's use")


@each(RESILIENT)
def test_reads_survive_redis_connection_faults(step: Checkpoint) -> None:
    looks = Looks()
    with (
        System(step, size="tiny") as system,
        faulty(system, "REDIS_URL") as proxy,
        crowd(system, looks.at("/products/{}"), looks.at("/products/{}/stock")),
    ):
        for fault, cure in (
            (proxy.reset, proxy.resume),
            (proxy.stall, proxy.resume),
            (proxy.refuse, proxy.accept),
        ):
            fault()
            looks.more("/products/{}/stock")
            looks.more("/products/{}")
            cure()
            looks.more("/products/{}")


@each(RESILIENT)
def test_cached_reads_survive_a_postgres_restart(step: Checkpoint) -> None:
    looks = Looks()
    short = {**KEPT_NOWHERE, "MEMORY_SECONDS": "0.5", "CACHE_SECONDS": "1"}
    bought: Counter[int] = Counter()

    def buy(client: httpx2.Client, number: int) -> None:
        answer = client.post("/orders", **order(HOT[number % len(HOT)], number))
        bought[answer.status_code] += 1
        if answer.status_code != 201:
            refused(answer)

    with (
        System(step, size="tiny", environment=short) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        with psycopg.connect(system.database_url, autocommit=True) as database:
            database.execute("UPDATE products SET stock = 10000")
        warm(client, *system.urls)
        with crowd(system, looks.at("/products/{}"), looks.at("/products?page={}"), buy):
            wait_until(lambda: bought[201] > 20, "orders")
            system.backing.stop_postgres()
            for path in looks.done:
                looks.more(path, 200)
            wait_until(lambda: bought[503] > 20, "orders to be refused")
            refused(client.get("/products/999"))
            refused(client.get("/products/7/stock"))
            refused(client.get("/orders/1"))
            refused(client.patch("/products/7", json={"price_cents": 1}))
            refused(client.post("/reports", json={"category": "books"}))
            system.backing.restart_postgres()
            assert scrape_instances(system)["requests_shed_total", "database"] >= bought[503]
            goal = bought[201] + 20
            wait_until(lambda: bought[201] >= goal, "orders to be taken again")
            for path in looks.done:
                looks.more(path)
        assert set(bought) == {201, 503}
        with psycopg.connect(system.database_url) as database:
            row = database.execute(
                "SELECT count(*) FROM orders WHERE idempotency_key LIKE '%-%'"
            ).fetchone()
        assert row and row[0] >= bought[201]  # a refused order may still be in: hence its key
        assert client.get("/products/999").status_code == 200


@each(RESILIENT)
def test_memory_answers_without_postgres_and_redis(step: Checkpoint) -> None:
    short = {**KEPT_NOWHERE, "MEMORY_SECONDS": "0.2", "CACHE_STALE": "8"}
    with (
        System(step, size="tiny", environment=short, instances=1) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        expected = client.get("/products/7").json()
        before = time.monotonic()
        system.backing.stop_postgres()
        with cache_stopped(system):
            time.sleep(0.3)
            for _ in range(5):
                assert client.get("/products/7").json() == expected
            refused(client.get("/products/8"))
            time.sleep(max(0.0, 9 - (time.monotonic() - before)))
            refused(client.get("/products/7"))  # too old to be better than nothing
        system.backing.restart_postgres()
        wait_until(lambda: client.get("/products/7").status_code == 200, "PostgreSQL")


@each(RESILIENT)
def test_stalled_postgres_holds_no_request_beyond_its_deadline(step: Checkpoint) -> None:
    looks = Looks()
    with (
        System(step, size="tiny") as system,
        faulty(system, "DATABASE_URL") as proxy,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        warm(client, *system.urls)
        with crowd(system, looks.at("/products/{}")):
            proxy.stall()
            for path in ("/products/999", "/products/7/stock", "/orders/1"):
                refused(client.get(path, headers={"Request-Timeout": "0.5"}), 504)
            late = client.post("/orders", json=order(7, 1)["json"])
            assert late.status_code in (503, 504), late.text
            looks.more("/products/{}")
            proxy.resume()
            wait_until(lambda: client.get("/products/999").status_code == 200, "PostgreSQL")


@each(RESILIENT)
def test_reads_on_cut_connections_are_retried(step: Checkpoint) -> None:
    looks = Looks()
    with System(step, size="tiny") as system, faulty(system, "DATABASE_URL") as proxy:
        proxy.delay = 0.01  # so that there is something under way to be reset
        with crowd(system, looks.at("/products/{}/stock"), looks.at("/products/feed?size={}")):
            for _ in range(5):
                proxy.reset()
                looks.more("/products/{}/stock", 20)
        told = scrape_instances(system)
        assert told["retries_total", "read"], "no read was cut: nothing was tested"
        assert told["requests_shed_total", "database"] == 0  # a retried read is not a refused one


@each(RESILIENT)
def test_retry_budget_bounds_retries(step: Checkpoint) -> None:
    few = {"RETRY_BURST": "7", "RETRY_SHARE": "0.1"}
    with (
        System(step, size="tiny", environment=few, instances=1) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        assert client.get("/products/7/stock").status_code == 200
        system.backing.stop_postgres()
        began = time.monotonic()
        refused(client.get("/products/7/stock"))
        assert time.monotonic() - began >= 0.05 + 0.1 + 0.2  # the first waits as the others do
        tried_once = scrape_instances(system)["retries_total", "read"]
        for _ in range(99):
            refused(client.get("/products/7/stock"))
        tried = scrape_instances(system)["retries_total", "read"]
        assert scrape_instances(system)["requests_shed_total", "database"] == 100
        system.backing.restart_postgres()
    assert tried_once == 3  # while there is something to spend, each read has its three
    assert 7 + 0.1 * 90 <= tried <= 7 + 0.1 * 101
