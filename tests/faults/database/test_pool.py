"""A pool notices that its connections are gone before a shopper does."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import httpx2
import psycopg
from steps import alone, each, teaching

from stack.checkpoint import Checkpoint

POOLED = teaching("pool", "async", "lean")

HANG_UP = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE usename = current_user AND pid <> pg_backend_pid()
"""


@each(POOLED)
def test_connections_closed_behind_its_back_cost_nobody_an_answer(step: Checkpoint) -> None:
    with (
        alone(step) as system,
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
def test_who_changes_a_product_sees_what_others_have_changed(step: Checkpoint) -> None:
    with (
        alone(step) as system,
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
