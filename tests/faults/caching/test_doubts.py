"""A COMMIT whose answer never came: however it ends, no cache shows the old price for long."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import psycopg
import pytest
from crowds import order
from resilient import RESILIENT
from steps import PROGRAMS, introduced_in, without_worker

from stack.checkpoint import Checkpoint
from stack.stubs.fault_proxy import FaultProxy
from stack.system import System
from surge.machine.waiting import wait_until

LONG = {"CACHE_SECONDS": "600", "MEMORY_SECONDS": "600"}
"""No entry expires during a test."""

COMMITTING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE query = 'COMMIT;' AND state = 'active' AND wait_event IN ('advisory', 'SyncRep')
"""
LOOKED = """
    SELECT count(*) > 0 FROM pg_stat_activity
    WHERE query ~ 'pg_xact_status' AND state = 'idle' AND query_start > %s
"""
ABORT = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_locks
    WHERE locktype = 'advisory' AND NOT granted
"""


class Shop:
    """Instances that reach PostgreSQL by way of a proxy, and what others see of them."""

    def __init__(self, system: System, proxy: FaultProxy) -> None:
        self.system, self.proxy = system, proxy
        self.client = httpx2.Client(timeout=30)
        self.authors = ThreadPoolExecutor(4)

    def look(self, url: str, product_id: int) -> tuple[int, str]:
        """The price there and whether it was kept; a connection may turn out to have been cut."""
        answers: list[httpx2.Response] = []

        def answered() -> bool:
            self.client.cookies.clear()
            answers.append(self.client.get(f"{url}/products/{product_id}"))
            return answers[-1].status_code == 200

        wait_until(answered, "an answer")
        return answers[-1].json()["price_cents"], answers[-1].headers["X-Cache"]

    def prices(self, product_id: int) -> set[int]:
        """All that shoppers see, wherever they look."""
        urls = {*self.system.urls, *self.system.public_urls}
        return {self.look(url, product_id)[0] for url in urls}

    def refill(self, product_id: int) -> int:
        """Shoppers look until every instance has the answer, which is still the old one."""
        for url in self.system.urls:
            wait_until(lambda url=url: self.look(url, product_id)[1] == "hit", "a hit")
        [price] = self.prices(product_id)
        return price

    def looks_in_vain(self) -> int:
        """So often PostgreSQL could not be asked how a transaction has ended."""
        return self.system.service.log().count(b'"still in doubt"')

    def change(
        self, instance: int, product_id: int, price: int, seconds: float = 60.0
    ) -> Future[httpx2.Response]:
        """Under way."""
        url = f"{self.system.urls[instance]}/products/{product_id}"
        return self.authors.submit(
            httpx2.patch,
            url,
            json={"price_cents": price},
            headers={"Request-Timeout": f"{seconds}"},
            timeout=30,
        )


def at(steps: Sequence[Checkpoint]) -> pytest.MarkDecorator:
    """The test is made for each of these steps, of which all tests share one system."""
    return pytest.mark.parametrize("shop", steps, indirect=True, ids=lambda step: step.label)


# The last step first, as in RESILIENT: pytest brings together what has the same place in a list.
IN_DOUBT = at(introduced_in("cache", "tiers")[::-1])


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with (
        without_worker(request.param, LONG, instances=2) as system,
        FaultProxy(system.database_url) as proxy,
    ):
        system.restart_app({**LONG, "DATABASE_URL": proxy.url})
        with psycopg.connect(system.database_url, autocommit=True) as database:
            database.execute((PROGRAMS / "slow_commit.sql").read_text())
        shop = Shop(system, proxy)
        with shop.client, shop.authors:
            yield shop
        system.service.stop_all()


@pytest.fixture
def database(shop: Shop) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shop.system.database_url, autocommit=True) as database:
        yield database


@contextmanager
def held(database: psycopg.Connection) -> Iterator[None]:
    """No COMMIT ends meanwhile."""
    database.execute("SELECT pg_advisory_lock(1)")
    try:
        yield
    finally:
        database.execute("SELECT pg_advisory_unlock(1)")


def wait_for_commits(database: psycopg.Connection, number: int = 1) -> None:
    wait_until(lambda: database.execute(COMMITTING).fetchone() == (number,), "a COMMIT")


def wait_for_look(database: psycopg.Connection) -> None:
    """It says that they have not ended. To invalidate again by now would not be enough."""
    since = database.execute("SELECT clock_timestamp()").fetchone()
    wait_until(lambda: database.execute(LOOKED, since).fetchone() == (True,), "a look")


@IN_DOUBT
def test_changes_on_cut_connections_are_seen_once_committed(
    shop: Shop, database: psycopg.Connection
) -> None:
    old = {id: shop.refill(id) for id in (7, 8)}
    with held(database):
        changing = [shop.change(id % 2, id, old[id] + 1) for id in old]
        wait_for_commits(database, 2)
        shop.proxy.reset()
        assert all(change.result().status_code >= 500 for change in changing)
        wait_for_look(database)
        assert {id: shop.refill(id) for id in old} == old
    for id in old:
        wait_until(lambda id=id: shop.prices(id) == {old[id] + 1}, "the new price")


@IN_DOUBT
def test_change_in_doubt_that_rolls_back_leaves_the_old_price(
    shop: Shop, database: psycopg.Connection
) -> None:
    old = shop.refill(9)
    with held(database):
        changing = shop.change(0, 9, old + 1)
        wait_for_commits(database)
        shop.proxy.reset()
        assert changing.result().status_code >= 500
        assert shop.refill(9) == old
        assert database.execute(ABORT).fetchall() == [(True,)]
    wait_until(lambda: shop.look(shop.system.urls[0], 9)[1] == "miss", "a second invalidation")
    assert shop.prices(9) == {old}
    assert shop.change(1, 9, old + 2).result().status_code == 200
    wait_until(lambda: shop.prices(9) == {old + 2}, "the next change")


@at(RESILIENT)
def test_change_cancelled_by_its_deadline_is_seen_once_committed(
    shop: Shop, database: psycopg.Connection
) -> None:
    old = shop.refill(10)
    with held(database):
        changing = shop.change(0, 10, old + 1, seconds=1)
        wait_for_commits(database)
        assert changing.result().status_code == 504
        wait_for_look(database)
        assert shop.refill(10) == old
    wait_until(lambda: shop.prices(10) == {old + 1}, "the new price")


@at(RESILIENT)
def test_order_in_doubt_is_made_once_for_its_key(shop: Shop, database: psycopg.Connection) -> None:
    stock, orders = f"{shop.system.urls[0]}/products/11/stock", f"{shop.system.urls[1]}/orders"
    mine = order(11, 1)
    hurried = mine["headers"] | {"Request-Timeout": "0.3"}
    left = shop.client.get(stock).json()["stock"]
    with held(database):
        first = shop.authors.submit(httpx2.post, orders, timeout=30, **mine)
        wait_for_commits(database)
        shop.proxy.reset()
        assert first.result().status_code == 503
        again = shop.client.post(orders, json=mine["json"], headers=hurried)
        assert again.status_code == 504, "it waits for the first one to end"
    answers = [shop.client.post(orders, **mine) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert len({answer.text for answer in answers}) == 1
    assert shop.client.get(stock).json()["stock"] == left - 1


@IN_DOUBT
def test_change_in_doubt_across_a_postgres_restart_is_seen(
    shop: Shop, database: psycopg.Connection
) -> None:
    """It waited for a standby that does not answer; a shutdown ends the wait, not what it wrote."""
    old = shop.refill(12)
    [server] = shop.system.pids()["database"]
    standby = shop.system.run_dir / "data" / "postgresql.auto.conf"
    standby.write_text("synchronous_standby_names = 'nobody'\n")
    os.kill(server, signal.SIGHUP)
    wait_until(
        lambda: database.execute("SHOW synchronous_standby_names").fetchone() == ("nobody",),
        "its settings",
    )
    changing = shop.change(0, 12, old + 1)
    wait_for_commits(database)
    standby.write_text("")
    shop.proxy.reset()
    assert changing.result().status_code >= 500
    assert shop.refill(12) == old
    before = shop.looks_in_vain()
    shop.system.backing.stop_postgres()
    wait_until(lambda: shop.looks_in_vain() > before, "a look in vain")
    shop.system.backing.restart_postgres()
    wait_until(lambda: shop.prices(12) == {old + 1}, "the new price")
