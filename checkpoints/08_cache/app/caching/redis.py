"""The shared cache: what one request has fetched is in Redis for all that follow."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from secrets import token_bytes
from typing import Any, Literal, NamedTuple, Self
from zlib import crc32

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.logs import log
from app.settings import settings

VERSION = 1  # of the entries. Raise it when responses change shape: old and new code may meet.
NEGATIVE_ENTRY = b"null"  # for a product that does not exist: to ask again is then a hit, too
LEASE = b"lease "  # stands under a key while a request fetches what belongs there
LEASE_MS = 5_000  # longer than any statement should take

redis = Redis.from_pool(
    BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=settings.cache_connections,
        timeout=settings.cache_timeout,
        socket_timeout=settings.cache_timeout,
        socket_connect_timeout=settings.cache_timeout,
        retry=Retry(NoBackoff(), 0),  # asking the database is quicker than asking Redis again
    )
)
redis_disabled_until = 0.0  # after a failure; by the monotonic clock
pending_invalidations: dict[str, object] = {}  # keys to delete, each with a mark of its change

CacheStatus = Literal["hit", "miss"]
Load = Callable[[], Awaitable[bytes]]


class CacheEntry(NamedTuple):
    """What Redis stores under a key: a checksum and the body of a response."""

    raw: bytes

    @classmethod
    def make(cls, body: bytes) -> Self:
        return cls(b"%08x %b" % (crc32(body), body))

    @property
    def is_valid(self) -> bool:
        """Whether it is complete, and an entry at all."""
        checksum, _, rest = self.raw.partition(b" ")
        return checksum == b"%08x" % crc32(rest)

    @property
    def body(self) -> bytes:
        return self.raw.split(b" ", 1)[1]


def key(*parts: object) -> str:
    return ":".join(map(str, (settings.cache_prefix, VERSION, *parts)))


async def read_through(key: str, load: Load) -> tuple[bytes, CacheStatus]:
    """Return the cached body. On a miss, load it, and cache it for the requests that follow."""
    if pending_invalidations and not await invalidate():
        return await load(), "miss"
    found = await execute_or_none("GET", key)
    if found and (entry := CacheEntry(found)).is_valid:
        return entry.body, "hit"
    if found is not None:
        # A slow request's lease, or no entry of ours. Limit its lifetime to that of a lease.
        await execute_or_none("PEXPIRE", key, LEASE_MS, "LT")
    # A change that is committed during the load deletes our lease: then the body may be older.
    lease = LEASE + token_bytes(8)
    leased = found is None and await execute_or_none("SET", key, lease, "NX", "PX", LEASE_MS)
    entry = CacheEntry.make(await load())
    if leased:
        await execute_or_none("SET", key, entry.raw, "IFEQ", lease, "PX", lifetime(entry.body))
    return entry.body, "miss"


def lifetime(body: bytes) -> int:
    """Milliseconds. Each lifetime differs: entries made together must not expire together."""
    seconds = settings.cache_missing if body == NEGATIVE_ENTRY else settings.cache_seconds
    return round(1000 * seconds * random.uniform(0.9, 1.1))  # noqa: S311 - no secret


async def invalidate(*keys: str) -> bool:
    """Delete entries after the commit. Before it, a reader could cache the old row once more.

    Until Redis confirms it, the keys are pending: no entry is read before they are deleted.
    """
    pending_invalidations.update(dict.fromkeys(keys, object()))
    sent = dict(pending_invalidations)
    if await execute_or_none("DEL", *sent) is None:
        return False
    for key, change in sent.items():
        if pending_invalidations.get(key) is change:  # otherwise it has changed again meanwhile
            del pending_invalidations[key]
    return True


async def retry_invalidations() -> None:
    """Do not wait for the next request: other instances still read the entries in Redis."""
    while True:
        await asyncio.sleep(settings.cache_timeout)
        if pending_invalidations:
            await invalidate()


async def execute_or_none(*command: Any) -> Any:
    """Redis's answer, or None if there is none: a cache that fails is a cache that is empty."""
    global redis_disabled_until
    if time.monotonic() < redis_disabled_until:
        return None
    try:
        return await redis.execute_command(*command)
    except RedisError as error:
        if str(error).startswith("WRONGTYPE"):
            return b""  # the key has no text, so it is no entry; Redis itself works
        redis_disabled_until = time.monotonic() + settings.cache_pause
        log.warning("no cache", error=type(error).__name__)
        return None
