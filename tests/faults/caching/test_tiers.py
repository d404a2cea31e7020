"""Memory, batches and conditional requests: no client gets an old or a wrong answer from them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psycopg
import pytest
import redis
from caches import TIERED, Shopper, sold, stopped
from steps import each, introduced_in, without_worker

from stack.checkpoint import Checkpoint
from stack.system import System
from surge.count.sql import StatementStats
from surge.machine.waiting import wait_until


@pytest.fixture(scope="module", params=TIERED, ids=lambda step: step.label)
def pair(request: pytest.FixtureRequest) -> Iterator[System]:
    """Two instances that remember for longer than the tests take."""
    with without_worker(request.param, {"MEMORY_SECONDS": "3600"}, instances=2) as system:
        yield system


def test_change_is_invalidated_in_other_instances(pair: System) -> None:
    with (
        Shopper(pair.urls[0]) as seller,
        Shopper(pair.urls[1]) as shopper,
        redis.Redis.from_url(pair.redis_url) as cache,
    ):
        price = shopper.price(7)
        for channel in cache.pubsub_channels():
            assert cache.publish(channel, b"\xff\xfe") == 2  # nonsense, which ends no subscription
        for new in range(price + 1, price + 11):
            seller.change(7, new)
            wait_until(lambda new=new: shopper.price(7) == new, "the news")


def test_author_reads_the_change_from_every_instance(pair: System) -> None:
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
def test_lost_invalidation_ends_with_the_memory_ttl(step: Checkpoint) -> None:
    with (
        without_worker(step, {"MEMORY_SECONDS": "2"}) as system,
        Shopper(system.urls[0]) as shopper,
        sold(system, 7, 777) as database,
        redis.Redis.from_url(system.redis_url) as kept,
    ):
        assert shopper.price(7) == 777
        database.execute("UPDATE products SET price_cents = 888 WHERE id = 7")
        kept.flushdb()  # as another instance would, but without a message
        assert shopper.price(7) == 777, "not in memory: nothing was tested"
        time.sleep(2)
        assert shopper.price(7) == 888


@each(TIERED)
def test_deleted_product_stays_404_from_cache(step: Checkpoint) -> None:
    """Its URL is known by then, and the cached entry is a negative one."""
    short = {"MEMORY_SECONDS": "0.5", "CACHE_SECONDS": "0.1", "CACHE_STALE": "0.1"}
    with (
        without_worker(step, short) as system,
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


@each(introduced_in("batching"))
def test_bad_row_fails_no_other_request_of_its_batch(step: Checkpoint) -> None:
    with (
        without_worker(step) as system,
        Shopper(system.urls[0]) as shopper,
        psycopg.connect(system.database_url, autocommit=True) as database,
        ThreadPoolExecutor(20) as crowd,
        StatementStats(system) as sql,
    ):
        for number in range(20):  # so that connections are open, and clients run
            list(crowd.map(lambda id: shopper.get(f"/products/{id}"), [100 + number] * 20))
        before = sql.statements().calls
        database.execute("UPDATE products SET category = 'odd' WHERE id = 7")
        with stopped(system, "app"):
            asked = [crowd.submit(shopper.get, f"/products/{id}") for id in range(1, 21)]
            time.sleep(0.5)  # all of them are there, and meet in a batch
        met = {id: one.result().status_code for id, one in enumerate(asked, 1)}
        assert {id for id, status in met.items() if status != 200} == {7}
        asked_together = sql.statements().calls
        assert asked_together - before < 10, "they did not meet: nothing was tested"
        assert shopper.get("/products/7").status_code == 500
        assert sql.statements().calls == asked_together + 1, "it was looked up again, in vain"


@each(TIERED)
def test_stale_answer_is_sent_while_it_is_refreshed(step: Checkpoint) -> None:
    with (
        without_worker(step, {"CACHE_SECONDS": "0.2", "MEMORY_SECONDS": "0.1"}) as system,
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
    with without_worker(request.param) as system:
        yield system


def test_matching_etag_gets_304(lone: System) -> None:
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


def test_compressed_and_plain_answers_are_equal(lone: System) -> None:
    with Shopper(lone.urls[0]) as shopper:
        answers: list[dict[str, Any]] = []
        for encoding in ("identity", "gzip", "identity", "gzip"):
            answer = shopper.get("/products/7", headers={"Accept-Encoding": encoding})
            assert answer.headers.get("Content-Encoding", "identity") == encoding
            answers.append(answer.json())
        assert all(answer == answers[0] for answer in answers)


def test_equivalent_urls_share_an_answer_and_others_do_not(lone: System) -> None:
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
