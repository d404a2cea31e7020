"""The shared cache: what one request has fetched is in Redis for all that follow."""

import asyncio
import itertools
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

from app.data_loader import DataLoader
from app.logs import log
from app.settings import settings

VERSION = 2  # of the entries. Raise it when responses change shape: old and new code may meet.
NEGATIVE_ENTRY = b"null"  # for a product that does not exist: to ask again is then a hit, too
LEASE = b"lease "  # stands under a key while a request fetches what belongs there
LEASE_MS = 5_000  # longer than any statement should take
MAX_ENTRY_BYTES = 1_000_000  # a longer value is no entry of ours, and need not travel
INVALIDATION_CHANNEL = f"{settings.cache_prefix}:changes"  # all instances subscribe to it

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

CacheStatus = Literal["hit", "miss", "bypass"]
Load = Callable[[], Awaitable[bytes]]


class CacheEntry(NamedTuple):
    """What Redis stores under a key: a checksum, the soft expiry, and the body of a response."""

    raw: bytes

    @classmethod
    def make(cls, body: bytes, seconds: float) -> Self:
        rest = b"%.3f %b" % (time.time() + seconds, body)
        return cls(b"%08x %b" % (crc32(rest), rest))

    @property
    def is_valid(self) -> bool:
        """Whether it is complete, and an entry at all."""
        checksum, _, rest = self.raw.partition(b" ")
        return checksum == b"%08x" % crc32(rest)

    @property
    def expires_at(self) -> float:
        return float(self.raw.split(b" ", 2)[1])

    @property
    def is_stale(self) -> bool:
        return time.time() > self.expires_at

    @property
    def body(self) -> bytes:
        return self.raw.split(b" ", 2)[2]


class Lease(NamedTuple):
    token: bytes  # stands under a key that had no entry, until we fill it


Lookup = CacheEntry | Lease | Literal["busy", "unavailable"]


def key(*parts: object) -> str:
    return ":".join(map(str, (settings.cache_prefix, VERSION, *parts)))


async def read_through(key: str, load: Load) -> tuple[CacheEntry, CacheStatus]:
    """Return the cached entry. On a miss, one instance loads it, and the others wait for that."""
    if pending_invalidations and not await invalidate():
        return make_entry(await load()), "miss"
    deadline = time.monotonic() + settings.cache_patience
    lookup = await get_or_lease(key)
    while lookup == "busy" and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
        lookup = await get_or_lease(key)
    match lookup:
        case CacheEntry():
            return lookup, "hit"
        case Lease(token):
            entry = make_entry(await load())
            await compare_and_set(key, token, entry)
            return entry, "miss"
    # A lease that takes too long, or no entry of ours. Limit its lifetime to that of a lease.
    await execute_or_none("PEXPIRE", key, LEASE_MS, "LT")
    return make_entry(await load()), "miss"


async def get_or_lease(key: str) -> Lookup:
    """Return the entry. On a miss, leave a lease."""
    return await lookups.load(key)


def parse(found: bytes) -> Lookup:
    if found.startswith(LEASE):
        return "busy"
    entry = CacheEntry(found)
    return entry if entry.is_valid else "unavailable"


async def refresh_entry(key: str, stale: CacheEntry, load: Load) -> CacheEntry | None:
    """Replace a stale entry. None if another instance does so, or if it has been invalidated."""
    # Extend its expiry by compare-and-set. Only the instance that succeeds loads a new one.
    extended = CacheEntry.make(stale.body, LEASE_MS / 1000)
    if not await execute_or_none("SET", key, extended.raw, "IFEQ", stale.raw, "KEEPTTL"):
        return None
    entry = make_entry(await load())
    return entry if await compare_and_set(key, extended.raw, entry) else None


async def compare_and_set(key: str, expected: bytes, entry: CacheEntry) -> bool:
    """Store an entry if the key still has what we left there. Otherwise it was invalidated."""
    ttl = round(1000 * (entry.expires_at - time.time() + settings.cache_stale))
    return await writes.load((key, expected, entry.raw, ttl))


def make_entry(body: bytes) -> CacheEntry:
    """Each lifetime differs: entries made together must not expire together."""
    seconds = settings.cache_missing if body == NEGATIVE_ENTRY else settings.cache_seconds
    return CacheEntry.make(body, seconds * random.uniform(0.9, 1.1))  # noqa: S311 - no secret


# A script is atomic, and takes one round trip for a whole batch.

GET_OR_LEASE = """
local found = redis.call('MGET', unpack(KEYS))
for i, key in ipairs(KEYS) do
    if not found[i] then redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    elseif #found[i] > tonumber(ARGV[3]) then found[i] = '' end
end
return found
"""

COMPARE_AND_SET = """
local done = {}
for i, key in ipairs(KEYS) do
    local expected, new, lifetime = unpack(ARGV, 3 * i - 2, 3 * i)
    done[i] = redis.call('SET', key, new, 'IFEQ', expected, 'PX', lifetime) and 1 or 0
end
return done
"""


async def get_or_lease_many(keys: list[str]) -> list[Lookup]:
    token = LEASE + token_bytes(8)
    limits = LEASE_MS, MAX_ENTRY_BYTES
    found = await execute_or_none("EVAL", GET_OR_LEASE, len(keys), *keys, token, *limits)
    if not found:
        # No lease: if Redis still runs the script later, our rows may be outdated by then.
        return ["unavailable"] * len(keys)
    return [Lease(token) if value is None else parse(value) for value in found]


async def compare_and_set_many(writes: list[tuple[str, bytes, bytes, int]]) -> list[bool]:
    """For each: the key, what must be there, what takes its place, and for how many ms."""
    keys = [key for key, *_ in writes]
    values = itertools.chain.from_iterable(values for _, *values in writes)
    done = await execute_or_none("EVAL", COMPARE_AND_SET, len(keys), *keys, *values)
    return [bool(one) for one in done or [0] * len(keys)]


lookups: DataLoader[str, Lookup] = DataLoader(get_or_lease_many)
writes = DataLoader(compare_and_set_many)


async def invalidate(*keys: str) -> bool:
    """Delete entries after the commit. Before it, a reader could cache the old row once more.

    Until Redis confirms it, the keys are pending: no entry is read before they are deleted.
    """
    pending_invalidations.update(dict.fromkeys(keys, object()))
    sent = dict(pending_invalidations)
    if await execute_or_none("DEL", *sent) is None:
        return False
    if await execute_or_none("PUBLISH", INVALIDATION_CHANNEL, " ".join(sent)) is None:
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
