"""Requests for garbage cost the shop no more than their answers."""

import golden
import httpx2
import redis
from caches import CACHED

from stack.seed.data import CATEGORIES, COUNTS, hot_ids
from stack.system import System
from surge.load.generator import LoadGenerator
from surge.load.plan import Plan
from surge.machine.waiting import wait_until

HALF = 12_500
FEW = 32  # connections: so many are never refused, and every request counts
SORTS = ("newest", "price", "-price", "rating")
KEPT_PAGES = 5

SMALL = {
    "MEMORY_BYTES": "3000000",  # the first half fills both
    "MEMORY_SPELLINGS": "500",
    "CACHE_MISSING": "1",
    "CACHE_STALE": "1",  # so long a key stays when its answer is not fresh any more
    "LOG_QUEUE": "1000",
}

# A fifth of all URLs have an answer that is kept. A service that also kept each of these URLs, with
# its place in a dict some 400 bytes, would grow by a million and what allocators need; one that
# keeps a bounded number of them has them all after the first half.
MORE = 625_000


def test_garbage_urls_fill_neither_memory_nor_redis() -> None:
    kept_at_most = COUNTS["tiny"].products + (len(CATEGORIES) + 1) * len(SORTS) * KEPT_PAGES
    with (
        System(CACHED[-1], size="tiny", environment=SMALL, instances=1) as system,
        LoadGenerator() as generator,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        redis.Redis.from_url(system.redis_url) as cache,
    ):
        sizes = []
        for _ in range(2):
            plan = Plan(system.urls, "garbage", connections=FEW, count=HALF, size="tiny")
            result = generator.run(plan)
            assert not result.errors, result.errors
            assert result.good == HALF
            sizes.append(sum(one.memory_info().rss for one in system.service.processes()))
        assert sizes[1] - sizes[0] < MORE
        wait_until(lambda: cache.dbsize() <= kept_at_most, "the end of what there is not")

        for id in hot_ids("tiny", 20):
            for found in ("miss or hit", "hit"):
                answer = client.get(f"/products/{id}")
                assert answer.json() == golden.detail(golden.products()[id])
                assert answer.headers["X-Cache"] in found
        assert client.get("/products?category=books").json() == golden.page("books")
