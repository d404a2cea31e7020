"""The second tier: what one instance has fetched is kept in Redis, for all of them."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from secrets import token_bytes
from typing import Any, NamedTuple, Self
from zlib import crc32

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.data_loader import Batch
from app.logs import log
from app.settings import settings

VERSION = 2  # of what is kept. Raise it with the shape of an answer: old and new code may meet.
NOTHING = b"null"  # kept where there is no such thing, so that nobody goes and looks again
LEASE = b"lease "  # stands where an answer will, while somebody fetches it
LEASE_SECONDS = 5  # longer than any look at the database should take
LONGEST = 1_000_000  # bytes; what is longer is none of ours, and need not travel
CHANGES = f"{settings.cache_prefix}:changes"  # where all instances listen

redis = Redis.from_pool(
    BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=settings.cache_connections,
        timeout=settings.cache_timeout,
        socket_timeout=settings.cache_timeout,
        socket_connect_timeout=settings.cache_timeout,
        retry=Retry(NoBackoff(), 0),  # who waits for a cache may as well ask the database
    )
)
silent_until = 0.0  # until then we leave a Redis that failed alone
unsaid: dict[str, object] = {}  # what Redis must still forget, and for which change

Load = Callable[[], Awaitable[bytes]]


class Kept(NamedTuple):
    """What Redis has under a key: a checksum, the time until which it is fresh, and the answer."""

    raw: bytes

    @classmethod
    def until(cls, seconds: float, body: bytes) -> Self:
        rest = b"%.3f %b" % (seconds, body)
        return cls(b"%08x %b" % (crc32(rest), rest))

    @property
    def is_ours(self) -> bool:
        """Whether all of it is there, as one of us has written it."""
        checksum, _, rest = self.raw.partition(b" ")
        return checksum == b"%08x" % crc32(rest)

    @property
    def fresh_until(self) -> float:
        return float(self.raw.split(b" ", 2)[1])

    @property
    def body(self) -> bytes:
        return self.raw.split(b" ", 2)[2]

    @property
    def stale(self) -> bool:
        return time.time() > self.fresh_until


def key(*parts: object) -> str:
    return ":".join(map(str, (settings.cache_prefix, VERSION, *parts)))


async def read_through(key: str, load: Load) -> tuple[Kept, bool]:
    """What is kept under the key, or what `load` finds; and whether it was kept.

    Of all instances that miss it, one fetches it. The others wait for what that one finds.
    """
    if unsaid and not await forget():
        return fresh(await load()), False
    patience = time.monotonic() + settings.cache_patience
    found, lease = await take.ask(key)
    while found and found.startswith(LEASE) and time.monotonic() < patience:
        await asyncio.sleep(0.01)
        found, lease = await take.ask(key)
    if found and Kept(found).is_ours:
        return Kept(found), True
    if found is not None:
        # A slow instance's lease, or nothing of ours. It may stay no longer than a lease does.
        await ask("PEXPIRE", key, 1000 * LEASE_SECONDS, "LT")
    kept = fresh(await load())
    if found is None:
        await put(key, kept, lease)
    return kept, False


# Both are scripts, which nobody else's command can come between: one round trip for a whole batch.

TAKE = """
local found = redis.call('MGET', unpack(KEYS))
for i, key in ipairs(KEYS) do
    if not found[i] then redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    elseif #found[i] > tonumber(ARGV[3]) then found[i] = '' end
end
return found
"""

PUT = """
local done = {}
for i, key in ipairs(KEYS) do
    local over, new, lifetime = unpack(ARGV, 3 * i - 2, 3 * i)
    done[i] = redis.call('SET', key, new, 'IFEQ', over, 'PX', lifetime) and 1 or 0
end
return done
"""


async def take_many(keys: list[str]) -> list[tuple[bytes | None, bytes]]:
    """What there is under each key, or None: then our lease is there from now on."""
    lease = LEASE + token_bytes(8)
    limits = 1000 * LEASE_SECONDS, LONGEST
    found = await ask("EVAL", TAKE, len(keys), *keys, lease, *limits)
    # No answer is not the same as nothing there. Redis may have heard us, or may do so later: then
    # the lease is no proof that nothing has changed since we looked at the database.
    return [(one, lease) for one in found or [b""] * len(keys)]


async def put_many(puts: list[tuple[str, bytes, bytes, int]]) -> list[bool]:
    """Keeps each under its key for so many milliseconds, if what it takes the place of is there."""
    keys = [key for key, *_ in puts]
    values = itertools.chain.from_iterable(values for _, *values in puts)
    done = await ask("EVAL", PUT, len(keys), *keys, *values)
    return [bool(one) for one in done or [0] * len(keys)]


take, put_one = Batch(take_many), Batch(put_many)


async def refresh(key: str, old: Kept, load: Load) -> Kept | None:
    """What takes the place of a stale answer; None if somebody else sees to it, or it is gone."""
    # The old one is called fresh for a moment. Who succeeds in that is the one who fetches.
    claimed = Kept.until(time.time() + LEASE_SECONDS, old.body)
    if not await ask("SET", key, claimed.raw, "IFEQ", old.raw, "KEEPTTL"):
        return None
    kept = fresh(await load())
    return kept if await put(key, kept, claimed.raw) else None


async def put(key: str, kept: Kept, over: bytes) -> bool:
    """Keeps an answer, unless what we left in its place has been taken away: then it is old."""
    # Once for each key: what was kept together would otherwise expire together.
    seconds = kept.fresh_until - time.time() + settings.cache_stale
    return await put_one.ask((key, over, kept.raw, round(1000 * seconds)))


def fresh(body: bytes) -> Kept:
    seconds = settings.cache_missing if body == NOTHING else settings.cache_seconds
    seconds *= random.uniform(0.9, 1.1)  # noqa: S311 - or all would expire together; no secret
    return Kept.until(time.time() + seconds, body)


async def forget(*keys: str) -> bool:
    """Takes away what is not true any more. After the commit: before, it would be fetched again.

    What cannot be said now is said before we read anything again, and as soon as it can.
    """
    unsaid.update(dict.fromkeys(keys, object()))
    saying = dict(unsaid)
    if await ask("DEL", *saying) is None:
        return False
    if await ask("PUBLISH", CHANGES, " ".join(saying)) is None:
        return False
    for key, change in saying.items():
        if unsaid.get(key) is change:  # otherwise it has changed again meanwhile
            del unsaid[key]
    return True


async def keep_saying() -> None:
    """Others read on in Redis: it must hear of a change once it answers, even if nobody asks us."""
    while True:
        await asyncio.sleep(settings.cache_timeout)
        if unsaid:
            await forget()


async def ask(*command: Any) -> Any:
    """Redis's answer, or None if there is none: a cache that fails is a cache that is empty."""
    global silent_until
    if time.monotonic() < silent_until:
        return None
    try:
        return await redis.execute_command(*command)
    except RedisError as error:
        if str(error).startswith("WRONGTYPE"):
            return b""  # what is there is no text, so it is not ours; Redis itself is well
        silent_until = time.monotonic() + settings.cache_pause
        log.warning("no cache", error=type(error).__name__)
        return None
