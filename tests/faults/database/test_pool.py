"""A pool notices lost connections before a client does."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import httpx2
import psycopg
from steps import each, introduced_in, without_worker

from stack.checkpoint import Checkpoint

POOLED = introduced_in("pool", "async", "lean")

HANG_UP = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE usename = current_user AND pid <> pg_backend_pid()
"""


@each(POOLED)
def test_reads_survive_terminated_pool_connections(step: Checkpoint) -> None:
    with (
        without_worker(step) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        ThreadPoolExecutor(20) as shoppers,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):

        def look(number: int) -> int:
            return client.get(f"/products/{number}/stock").status_code  # which no cache has

        for _ in range(2):
            assert set(shoppers.map(look, range(1, 101))) == {200}
            closed = database.execute(HANG_UP).fetchone()
            assert closed
            assert closed[0] > 5, "the pool was not warm: nothing was tested"
            sleep(0.2)  # the news travels through a socket
        assert set(shoppers.map(look, range(1, 101))) == {200}


@each(POOLED)
def test_change_waits_for_a_concurrent_one_and_keeps_it(step: Checkpoint) -> None:
    with (
        without_worker(step) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        ThreadPoolExecutor(1) as seller,
        psycopg.connect(system.database_url) as other,
    ):
        other.execute("UPDATE products SET description = 'new' WHERE id = 7")
        changing = seller.submit(client.patch, "/products/7", json={"price_cents": 777})
        sleep(0.5)  # it has read the product, and waits for its row
        assert not changing.done()
        other.commit()
        answer = changing.result().json()
        assert (answer["price_cents"], answer["description"]) == (777, "new")
