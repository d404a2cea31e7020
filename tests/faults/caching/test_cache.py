"""A cache never shows what is no longer true, and the shop works without it."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import redis
from caches import CACHED, LEASED, WAITING, Shopper, cache_stopped, sold
from steps import each, run_program, without_worker

from stack.checkpoint import Checkpoint
from stack.processes.ports import free_port
from stack.seed.data import hot_ids
from surge.machine.waiting import wait_until


@each(CACHED)
def test_shop_works_without_redis(step: Checkpoint) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    with (
        without_worker(step, {"REDIS_URL": nobody}) as system,
        Shopper(system.urls[0]) as shopper,
    ):
        shopper.change(7, 777)
        assert shopper.price(7) == 777
        assert shopper.get("/readyz").json()["checks"] == {"postgres": "ok", "redis": "failed"}


@each(CACHED)
def test_reads_survive_redis_restarts(step: Checkpoint) -> None:
    ids = hot_ids("tiny", 20)
    over = Event()
    with without_worker(step) as system, Shopper(system.urls[0]) as shopper:
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
def test_invalidations_survive_a_frozen_redis(step: Checkpoint) -> None:
    with without_worker(step) as system, Shopper(system.urls[0]) as shopper:
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


@each(CACHED)
def test_late_reply_clears_no_newer_invalidation(step: Checkpoint) -> None:
    with without_worker(step) as system:
        run_program(step, "late_reply.py", REDIS_URL=system.redis_url)


SLOW_FOR_THE_OLD = """
    ALTER TABLE sellers RENAME TO sellers_of_all;
    CREATE VIEW sellers AS SELECT * FROM sellers_of_all AS seller
    WHERE NOT EXISTS (
        SELECT FROM products WHERE id = 7 AND seller_id = seller.id AND price_cents = 777
    ) OR pg_advisory_xact_lock_shared(1) IS NOT NULL
"""


@each(LEASED)
def test_read_that_overlaps_a_change_is_not_cached(step: Checkpoint) -> None:
    """The read begins before the change and ends after it: its answer must not be cached."""
    with (
        without_worker(step, instances=2) as system,
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
