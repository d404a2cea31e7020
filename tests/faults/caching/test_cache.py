"""A cache never shows what is not true any more, and nobody needs it to be there."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import httpx2
import psycopg
import pytest
import redis
from caches import CACHED, TIERED, WAITING, cache_stopped, stopped
from steps import alone, each, inside, teaching

from stack.checkpoint import Checkpoint
from stack.processes.ports import free_port
from stack.seed.data import hot_ids
from stack.system import System
from surge.count.sql import Ledger
from surge.machine.waiting import wait_until


class Shopper(httpx2.Client):
    """Somebody who keeps no cookies: what others see."""

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
    """A product at this price, as the database knows it, before anybody has seen it."""
    with psycopg.connect(system.database_url, autocommit=True) as database:
        database.execute("UPDATE products SET price_cents = %s WHERE id = %s", (price, product_id))
        yield database


@each(CACHED)
def test_a_cache_that_is_not_there_is_not_missed(step: Checkpoint) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    with (
        alone(step, {"REDIS_URL": nobody}) as system,
        Shopper(system.urls[0]) as shopper,
    ):
        shopper.change(7, 777)
        assert shopper.price(7) == 777
        assert shopper.get("/readyz").json()["checks"] == {"postgres": "ok", "redis": "failed"}


@each(CACHED)
def test_a_cache_killed_and_restarted_costs_nobody_an_answer(step: Checkpoint) -> None:
    ids = hot_ids("tiny", 20)
    over = Event()
    with alone(step) as system, Shopper(system.urls[0]) as shopper:
        expected = {id: shopper.get(f"/products/{id}").json() for id in ids}

        def shop(start: int) -> int:
            looked = 0
            with Shopper(system.urls[0]) as one:
                while not over.is_set():
                    id = ids[(start + looked) % len(ids)]
                    answer = one.get(f"/products/{id}")
                    assert answer.status_code == 200, answer.text
                    assert answer.json() == expected[id]
                    looked += 1
            return looked

        with ThreadPoolExecutor(8) as crowd:
            shopping = [crowd.submit(shop, start) for start in range(8)]
            try:
                time.sleep(0.3)
                for _ in range(2):
                    system.backing.restart_redis()
                    time.sleep(1.2)  # longer than the service leaves a silent Redis alone
            finally:
                over.set()
            assert sum(one.result() for one in shopping) > 100
        shopper.price(ids[0])
        with redis.Redis.from_url(system.redis_url) as kept:
            wait_until(lambda: shopper.price(ids[0]) > 0 and kept.dbsize() > 0, "the cache's use")


@each(CACHED)
def test_a_change_is_not_forgotten_while_the_cache_does_not_move(step: Checkpoint) -> None:
    with alone(step) as system, Shopper(system.urls[0]) as shopper:
        ids = (7, 8, 9)
        before = {id: shopper.price(id) for id in ids}
        assert {id: shopper.price(id) for id in ids} == before
        with cache_stopped(system):
            for id in ids:  # the first is told to a deaf ear, the others not at all
                shopper.change(id, before[id] + 1)
                assert shopper.price(id) == before[id] + 1
        deadline = time.monotonic() + 1.5  # and once it moves again, with the old prices in it
        while time.monotonic() < deadline:
            assert {id: shopper.price(id) - 1 for id in ids} == before


LATE = """
import asyncio
from app.caching import redis as cache

async def main():
    answered, execute = asyncio.Event(), cache.redis.execute_command

    async def late(*command):  # Redis has done it, and we have yet to hear of it
        answer = await execute(*command)
        await answered.wait()
        return answer

    cache.redis.execute_command = late
    first = asyncio.create_task(cache.invalidate("key"))
    await asyncio.sleep(0.1)
    cache.redis_disabled_until = float("inf")
    assert not await cache.invalidate("key")  # changed again, and now Redis cannot be told
    cache.redis_disabled_until = 0.0
    answered.set()
    assert await first
    assert [*cache.pending_invalidations] == ["key"]
    await cache.redis.aclose()

asyncio.run(main())
"""


@each(CACHED)
def test_a_change_is_not_crossed_off_by_the_answer_to_an_earlier_one(step: Checkpoint) -> None:
    with alone(step) as system:
        inside(step, LATE, REDIS_URL=system.redis_url)


SLOW_FOR_THE_OLD = """
    ALTER TABLE sellers RENAME TO sellers_of_all;
    CREATE VIEW sellers AS SELECT * FROM sellers_of_all AS seller
    WHERE NOT EXISTS (
        SELECT FROM products WHERE id = 7 AND seller_id = seller.id AND price_cents = 777
    ) OR pg_advisory_xact_lock_shared(1) IS NOT NULL
"""


@each(CACHED)
def test_who_saw_the_old_price_does_not_keep_it(step: Checkpoint) -> None:
    """A look that began before the change ends after it: its answer must not be kept."""
    with (
        alone(step, instances=2) as system,
        Shopper(system.urls[0]) as shopper,
        Shopper(system.urls[1]) as seller,
        sold(system, 7, 777) as database,
        ThreadPoolExecutor(1) as slow,
    ):
        database.execute(SLOW_FOR_THE_OLD)
        database.execute("SELECT pg_advisory_lock(1)")
        looking = slow.submit(shopper.price, 7)
        wait_until(lambda: database.execute(WAITING).fetchone() == (1,), "a look at the database")
        seller.change(7, 888)
        time.sleep(0.5)  # the news travels to the other instance
        database.execute("SELECT pg_advisory_unlock(1)")
        assert looking.result() == 777
        for client in (shopper, seller, shopper):
            assert client.price(7) == 888


@pytest.fixture(scope="module", params=TIERED, ids=lambda step: step.label)
def pair(request: pytest.FixtureRequest) -> Iterator[System]:
    """Two instances that remember for longer than the tests take."""
    with alone(request.param, {"MEMORY_SECONDS": "3600"}, instances=2) as system:
        yield system


def test_other_instances_hear_of_a_change(pair: System) -> None:
    with (
        Shopper(pair.urls[0]) as seller,
        Shopper(pair.urls[1]) as shopper,
        redis.Redis.from_url(pair.redis_url) as cache,
    ):
        price = shopper.price(7)
        for channel in cache.pubsub_channels():
            assert cache.publish(channel, b"\xff\xfe") == 2  # nonsense, which ends nobody's hearing
        for new in range(price + 1, price + 11):
            seller.change(7, new)
            wait_until(lambda new=new: shopper.price(7) == new, "the news")


def test_the_author_sees_the_change_whoever_answers(pair: System) -> None:
    with httpx2.Client(timeout=30) as author:
        there, here = (f"{url}/products/7" for url in pair.urls)
        for price in range(100, 120):
            author.get(here)
            changed = author.patch(there, json={"price_cents": price})
            cookie = changed.headers["set-cookie"].partition(";")[0]
            answer = author.get(here, headers={"Cookie": cookie})
            assert answer.json()["price_cents"] == price
            assert answer.headers["X-Cache"] == "bypass"


@each(TIERED)
def test_a_lost_message_costs_no_more_than_the_age_of_an_answer(step: Checkpoint) -> None:
    with (
        alone(step, {"MEMORY_SECONDS": "2"}) as system,
        Shopper(system.urls[0]) as shopper,
        sold(system, 7, 777) as database,
        redis.Redis.from_url(system.redis_url) as kept,
    ):
        assert shopper.price(7) == 777
        database.execute("UPDATE products SET price_cents = 888 WHERE id = 7")
        kept.flushdb()  # as another instance would, but nobody says a word
        assert shopper.price(7) == 777, "not in memory: nothing was tested"
        time.sleep(2)
        assert shopper.price(7) == 888


@each(TIERED)
def test_what_is_gone_is_gone_for_who_asks_again(step: Checkpoint) -> None:
    """Its address is known by then, and what is kept under it says that there is nothing."""
    short = {"MEMORY_SECONDS": "0.5", "CACHE_SECONDS": "0.1", "CACHE_STALE": "0.1"}
    with (
        alone(step, short) as system,
        Shopper(system.urls[0]) as shopper,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):
        database.execute(
            "INSERT INTO products SELECT 1001, seller_id, name, description, category, "
            "price_cents, stock, created_at FROM products WHERE id = 7"
        )
        assert shopper.get("/products/1001").status_code == 200
        database.execute("DELETE FROM products WHERE id = 1001")
        wait_until(lambda: shopper.get("/products/1001").status_code == 404, "its end")
        for _ in range(3):
            assert shopper.get("/products/1001").status_code == 404


@each(teaching("batching"))
def test_a_row_that_does_not_fit_is_nobody_elses_error(step: Checkpoint) -> None:
    with (
        alone(step) as system,
        Shopper(system.urls[0]) as shopper,
        psycopg.connect(system.database_url, autocommit=True) as database,
        ThreadPoolExecutor(20) as crowd,
        Ledger(system) as ledger,
    ):
        for number in range(20):  # connections that are open, and shoppers who are there
            list(crowd.map(lambda id: shopper.get(f"/products/{id}"), [100 + number] * 20))
        before = ledger.statements().calls
        database.execute("UPDATE products SET category = 'odd' WHERE id = 7")
        with stopped(system, "app"):
            asked = [crowd.submit(shopper.get, f"/products/{id}") for id in range(1, 21)]
            time.sleep(0.5)  # all of them are there, and meet in a batch
        met = {id: one.result().status_code for id, one in enumerate(asked, 1)}
        assert {id for id, status in met.items() if status != 200} == {7}
        asked_together = ledger.statements().calls
        assert asked_together - before < 10, "they did not meet: nothing was tested"
        assert shopper.get("/products/7").status_code == 500
        assert ledger.statements().calls == asked_together + 1, "it was looked up again, in vain"


@each(TIERED)
def test_nobody_waits_for_a_stale_answer_to_be_renewed(step: Checkpoint) -> None:
    with (
        alone(step, {"CACHE_SECONDS": "0.2", "MEMORY_SECONDS": "0.1"}) as system,
        Shopper(system.urls[0]) as shopper,
        sold(system, 7, 777) as database,
    ):
        assert shopper.price(7) == 777
        database.execute("UPDATE products SET price_cents = 888 WHERE id = 7")
        time.sleep(0.4)
        with database.transaction():
            database.execute("LOCK TABLE reviews IN ACCESS EXCLUSIVE MODE")
            assert shopper.price(7) == 777  # the database would not have answered
        wait_until(lambda: shopper.price(7) == 888, "the new answer")


@pytest.fixture(scope="module", params=TIERED, ids=lambda step: step.label)
def lone(request: pytest.FixtureRequest) -> Iterator[System]:
    """One instance with its usual settings."""
    with alone(request.param) as system:
        yield system


def test_a_known_answer_is_not_sent_again(lone: System) -> None:
    with Shopper(lone.urls[0]) as shopper:
        for path in ("/products/7", "/products/7?fields=id,name", "/products?category=books"):
            first = shopper.get(path)
            known = {"If-None-Match": first.headers["ETag"]}
            for _ in range(2):
                again = shopper.get(path, headers=known)
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["ETag"] == first.headers["ETag"]
                asks = again.headers["Cache-Control"].split(", ")
                assert {"no-cache", "max-age=0"} & set(asks), "a browser would not ask again"
                assert "Accept-Encoding" in again.headers["Vary"]
        shopper.change(7, 777)
        shopper.cookies.clear()
        answer = shopper.get("/products/7", headers={"If-None-Match": known["If-None-Match"]})
        assert answer.status_code == 200
        assert answer.json()["price_cents"] == 777


def test_compressed_or_not_it_is_the_same_answer(lone: System) -> None:
    with Shopper(lone.urls[0]) as shopper:
        answers: list[dict[str, Any]] = []
        for encoding in ("identity", "gzip", "identity", "gzip"):
            answer = shopper.get("/products/7", headers={"Accept-Encoding": encoding})
            assert answer.headers.get("Content-Encoding", "identity") == encoding
            answers.append(answer.json())
        assert all(answer == answers[0] for answer in answers)


def test_no_spelling_is_answered_with_another_ones_answer(lone: System) -> None:
    """Keys are made of what was validated: unknown parameters, escapes and order do not matter."""
    with Shopper(lone.urls[0]) as shopper:
        for _ in range(2):  # the second time from memory
            plain = shopper.get("/products/7").content
            for same in ("/products/7?", "/products/7?a=b", "/products/%37", "/products/07"):
                assert shopper.get(same).content == plain
            page = shopper.get("/products?category=books&page=2").content
            assert shopper.get("/products?page=2&category=books&x=1").content == page
            assert shopper.get("/products?page=2&category=music").content != page
            assert shopper.get("/products?page=3&category=books").content != page
            assert shopper.get("/products?page=2&category=books&size=21").content != page
            assert shopper.get("/products/7?fields=id").json() == {"id": 7}
            assert shopper.get("/products/7?fields=colour").status_code == 422
            assert shopper.get("/products/1001").status_code == 404
