"""A transient refusal of PostgreSQL is a 503; nothing is done twice, and service resumes."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx2
import psycopg
import pytest
import redis
from crowds import KEPT_NOWHERE, order
from queues import opened
from resilient import RESILIENT, refused
from steps import each

from stack.checkpoint import Checkpoint
from stack.system import System
from surge.machine.waiting import wait_until

ONE_CONNECTION = {**KEPT_NOWHERE, "POOL_SIZE": "1", "MEMORY_SECONDS": "0.1"}
PRODUCT = 7

numbers = count()


class Shop:
    """A shop on one connection, whose PostgreSQL is made to refuse."""

    def __init__(self, system: System, client: httpx2.Client, database: Any) -> None:
        self.system = system
        self.client = client
        self.database = database

    def read(self) -> httpx2.Response:
        return self.client.get(f"/products/{PRODUCT}/stock")

    def buy(self, key: int) -> httpx2.Response:
        return self.client.post("/orders", **order(PRODUCT, key))

    def patch(self) -> httpx2.Response:
        return self.client.patch(f"/products/{PRODUCT}", json={"price_cents": 100 + next(numbers)})

    def report(self) -> httpx2.Response:
        return self.client.post("/reports", json={"category": "toys"})

    def counted(self, table: str) -> int:
        [number] = self.database.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(number)

    def stock(self) -> int:
        query = "SELECT stock FROM products WHERE id = %s"
        [stock] = self.database.execute(query, [PRODUCT]).fetchone()
        return int(stock)

    @contextmanager
    def configured(self, setting: str) -> Iterator[None]:
        """New connections of the service have this setting; it has no old ones."""
        name = setting.partition("=")[0]
        self.database.execute(f"ALTER ROLE CURRENT_USER SET {setting}")
        try:
            self.reconnect()
            yield
        finally:
            self.database.execute(f"ALTER ROLE CURRENT_USER RESET {name}")

    def reconnect(self) -> None:
        self.database.execute("""
            SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE usename = current_user AND pid <> pg_backend_pid()
        """)
        wait_until(lambda: self.client.get("/orders/1").status_code == 200, "a new connection")

    @contextmanager
    def elsewhere(self) -> Iterator[psycopg.Connection]:
        """A transaction of another client."""
        with psycopg.connect(self.system.database_url) as other:
            yield other

    def waiting(self) -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        found: bool = self.database.execute(query).fetchone() == (1,)
        return found

    def recovers(self, key: int, stock: int, orders: int) -> None:
        """All is served again; the order that was refused, by its key, is sold once."""
        for act in (self.read, self.patch):
            wait_until(lambda act=act: act().status_code == 200, "the end of it")
        wait_until(lambda: self.report().status_code == 202, "reports")
        wait_until(lambda: self.buy(key).status_code == 201, "the order")
        assert self.buy(key).status_code == 201
        assert (self.stock(), self.counted("orders")) == (stock - 1, orders + 1)


@pytest.fixture(scope="module", params=RESILIENT, ids=lambda step: step.label)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with opened(request.param, worker=False, **ONE_CONNECTION) as shop:
        shop.database.execute("UPDATE products SET stock = 1000 WHERE id = %s", [PRODUCT])
        yield Shop(shop.system, shop.client, shop.database)


@contextmanager
def unharmed(shop: Shop) -> Iterator[int]:
    """A refused request changes nothing, and is done once when it is sent again."""
    key, stock, orders = next(numbers), shop.stock(), shop.counted("orders")
    reports, jobs = shop.counted("reports"), shop.counted("procrastinate_jobs")
    yield key
    assert (shop.stock(), shop.counted("orders")) == (stock, orders)
    assert (shop.counted("reports"), shop.counted("procrastinate_jobs")) == (reports, jobs)
    shop.recovers(key, stock, orders)


def test_read_only_postgres_refuses_writes_and_loses_the_connection(
    shop: Shop,
) -> None:
    """25006: after a failover, the pool is connected to what has become the standby."""
    with unharmed(shop) as key, shop.configured("default_transaction_read_only = on"):
        for write in (lambda: shop.buy(key), shop.patch, shop.report):
            refused(write())
            assert shop.read().status_code == 200


@pytest.mark.parametrize("setting", ["lock_timeout = '50ms'", "statement_timeout = '50ms'"])
def test_postgres_timeout_is_a_503(shop: Shop, setting: str) -> None:
    """55P03 and 57014."""
    with unharmed(shop) as key, shop.configured(setting), shop.elsewhere() as other:
        other.execute("LOCK TABLE products, reports IN ACCESS EXCLUSIVE MODE")
        for act in (shop.read, lambda: shop.buy(key), shop.patch, shop.report):
            refused(act())


def test_no_stale_answer_while_postgres_still_takes_changes(shop: Shop) -> None:
    """After a statement timeout, others may still commit; after an outage, no client can."""
    path = f"/products/{PRODUCT}"
    with unharmed(shop), shop.configured("lock_timeout = '50ms'"), shop.elsewhere() as other:
        assert shop.client.get(path).status_code == 200
        other.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
        with redis.Redis.from_url(shop.system.redis_url) as cache:
            cache.flushdb()
        time.sleep(0.3)  # longer than memory sends it without asking
        refused(shop.client.get(path))


def test_deadlock_victim_gets_503(shop: Shop) -> None:
    """40P01: after a second, PostgreSQL looks why it waits; it has waited longer than we have."""
    with unharmed(shop) as key, ThreadPoolExecutor(1) as pool:
        for act, held, wanted in (
            (lambda: shop.buy(key), "orders", "products"),
            (shop.report, "procrastinate_jobs", "reports"),
        ):
            with shop.elsewhere() as other:
                other.execute(f"LOCK TABLE {held} IN ACCESS EXCLUSIVE MODE".encode())
                answer = pool.submit(act)
                wait_until(shop.waiting, "it to wait")
                other.execute(f"LOCK TABLE {wanted} IN ACCESS EXCLUSIVE MODE".encode())
                refused(answer.result())


# A policy is asked about every row that is read or written: it can fail as PostgreSQL does.
FAILS = """
    CREATE OR REPLACE FUNCTION fails() RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '{}'; END $$
"""


@contextmanager
def failing(shop: Shop, state: str) -> Iterator[None]:
    shop.database.execute(FAILS.format(state))
    for table in ("products", "reports"):
        shop.database.execute(f"CREATE POLICY fails ON {table} USING (fails())")
        shop.database.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        shop.database.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    try:
        yield
    finally:
        for table in ("products", "reports"):
            shop.database.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
            shop.database.execute(f"DROP POLICY fails ON {table}")


PASSING = ["40001", "53100", "53200", "57P01", "58030", "XX000", "XX001"]


@pytest.mark.parametrize("state", PASSING)
def test_transient_postgres_error_is_a_503(shop: Shop, state: str) -> None:
    with unharmed(shop) as key, failing(shop, state):
        for act in (shop.read, lambda: shop.buy(key), shop.patch, shop.report):
            refused(act())


@pytest.mark.parametrize("state", ["0A000", "22012", "42P01", "P0001"])
def test_lasting_postgres_error_is_a_500(shop: Shop, state: str) -> None:
    with unharmed(shop) as key, failing(shop, state):
        for act in (shop.read, lambda: shop.buy(key), shop.patch, shop.report):
            assert act().status_code == 500


def test_serialization_failure_is_a_503(shop: Shop) -> None:
    """40001, by PostgreSQL itself."""
    isolation = "default_transaction_isolation = 'repeatable read'"
    change = "UPDATE products SET description = 'new' WHERE id = %s"
    with unharmed(shop) as key, ThreadPoolExecutor(1) as pool, shop.configured(isolation):
        for act in (lambda: shop.buy(key), shop.patch):
            with shop.elsewhere() as other:
                other.execute(change, [PRODUCT])
                answer = pool.submit(act)
                wait_until(shop.waiting, "it to wait")
            refused(answer.result())


def test_widened_column_refuses_one_write_and_no_read(
    shop: Shop,
) -> None:
    """0A000, for a statement that was prepared before."""
    with unharmed(shop):
        assert (shop.read().status_code, shop.patch().status_code) == (200, 200)
        shop.database.execute("ALTER TABLE products ALTER stock TYPE bigint")
        refused(shop.patch())
        assert shop.read().status_code == 200
        shop.database.execute("ALTER TABLE products ALTER stock TYPE integer")
        assert shop.read().status_code == 200


@each(RESILIENT)
def test_job_refused_by_postgres_is_done_later(step: Checkpoint) -> None:
    with opened(step) as shop:
        with shop.database.transaction():
            shop.database.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")  # no report is made
            report = shop.promise("toys")
            wait_until(lambda: shop.status(report) == "running", "the report to be begun")
            shop.database.execute("""
                ALTER ROLE CURRENT_USER SET default_transaction_read_only = on
            """)
            shop.database.execute("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE usename = current_user AND pid <> pg_backend_pid()
            """)
        wait_until(lambda: bool(shop.said("job failed")), "the job to be refused")
        assert shop.jobs("todo", "doing")
        shop.database.execute("ALTER ROLE CURRENT_USER RESET default_transaction_read_only")
        wait_until(lambda: shop.status(report) == "done", "the report")
