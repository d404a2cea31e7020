"""What is found in Redis may be nonsense: then it is not there, and soon not even in the way."""

from collections.abc import Callable

import httpx2
import redis
from steps import each, introduced_in, without_worker

from stack.checkpoint import Checkpoint, find
from surge.machine.waiting import wait_until

LEASE = 5_000  # milliseconds
Value = bytes | list[bytes] | dict[bytes, bytes]

POISONS: dict[str, Callable[[bytes], Value]] = {
    "no UTF-8": lambda kept: b"\xff\x00\xfe",
    "empty": lambda kept: b"",
    "a blank": lambda kept: b" ",
    "an answer without more": lambda kept: kept[kept.index(b"{") :],
    "as another version keeps it": lambda kept: kept.partition(b" ")[2],
    "cut off": lambda kept: kept[:-10],
    "a bit that has tipped over": lambda kept: kept[:-9] + bytes([kept[-9] ^ 1]) + kept[-8:],
    "nothing that ever ends": lambda kept: b"inf {}",
    "no number": lambda kept: b"nan {}",
    "a large number": lambda kept: b"9" * 400 + b" {}",
    "no such product": lambda kept: b"null",
    "a lease without an owner": lambda kept: b"lease ",
    "a lease without an end": lambda kept: b"lease 12345678",
    "a list": lambda kept: [b"a", b"b"],
    "a hash": lambda kept: {b"a": b"b"},
    "fifty megabytes": lambda kept: b"x" * 50_000_000,
}


def poison(cache: "redis.Redis", key: bytes, value: Value) -> None:
    """Leave it under the key, for good."""
    cache.delete(key)
    match value:
        case bytes():
            cache.set(key, value)
        case list():
            cache.rpush(key, *value)
        case dict():
            cache.hset(key, mapping=value)


@each(introduced_in("cache", "tiers"))
def test_poisoned_value_is_a_miss_and_does_not_stay(step: Checkpoint) -> None:
    with (
        without_worker(step, {"MEMORY_SECONDS": "0", "CACHE_TIMEOUT": "5"}) as system,
        httpx2.Client(base_url=system.urls[0], timeout=30) as shopper,
        redis.Redis.from_url(system.redis_url) as cache,
    ):
        paths = {name: f"/products/{id}" for id, name in enumerate(POISONS, 1)}
        expected = {path: shopper.get(path).json() for path in paths.values()}

        def look(path: str) -> str:
            answer = shopper.get(path)
            assert answer.status_code == 200, answer.text
            assert answer.json() == expected[path]
            return answer.headers["X-Cache"]

        assert {look(path) for path in paths.values()} == {"hit"}, "not kept: nothing was tested"
        wrong = {}
        sent = cache.info("stats")["total_net_output_bytes"]
        for name, make in POISONS.items():
            id = paths[name].rpartition("/")[2]
            [key] = cache.scan_iter(f"*:product:{id}")
            poison(cache, key, make(cache.get(key)))
            try:
                if look(paths[name]) != "miss":
                    wrong[name] = "was taken for an answer"
            except (AssertionError, ValueError) as error:
                wrong[name] = str(error)[:100]
        sent = cache.info("stats")["total_net_output_bytes"] - sent
        if step.number >= find("batching").number and sent > 10_000_000:
            wrong["fifty megabytes"] = "travelled"
        for name, path in paths.items():
            if look(path) == "miss":
                [key] = cache.scan_iter(f"*:product:{path.rpartition('/')[2]}")
                if not 0 < cache.pttl(key) <= LEASE:
                    wrong[name] = "stays"
                cache.delete(key)
        wait_until(lambda: set(map(look, paths.values())) == {"hit"}, "all to be kept again")
        if b"no cache" in system.service.log():
            wrong["one of them"] = "switched the cache off for all"
        assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
