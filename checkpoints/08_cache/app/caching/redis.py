"""The shared cache: what was answered once is kept in Redis, for all who ask next."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from secrets import token_bytes
from typing import Any, Literal
from zlib import crc32

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.logs import log
from app.settings import settings

VERSION = 1  # of what is kept. Raise it with the shape of an answer: old and new code may meet.
NOTHING = b"null"  # kept where there is no such thing, so that nobody goes and looks again
LEASE = b"lease "  # stands where an answer will, while somebody fetches it
LEASE_SECONDS = 5  # longer than any look at the database should take

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


def key(*parts: object) -> str:
    return ":".join(map(str, (settings.cache_prefix, VERSION, *parts)))


async def read_through(
    key: str, load: Callable[[], Awaitable[bytes]]
) -> tuple[bytes, Literal["hit", "miss"]]:
    """What is kept under the key; if nothing is, what `load` finds, which is kept from now on."""
    if unsaid and not await forget():
        return await load(), "miss"
    found = await ask("GET", key)
    if found and (kept := unpack(found)) is not None:
        return kept, "hit"
    if found is not None:
        # A lease, or nothing of ours. It may stay no longer than a lease does.
        await ask("PEXPIRE", key, 1000 * LEASE_SECONDS, "LT")
    # A change between our look at the database and our SET would be overwritten by what we saw.
    # So we leave a lease, and keep the answer only if nobody has taken the lease away.
    lease = LEASE + token_bytes(8)
    ours = found is None and await ask("SET", key, lease, "NX", "PX", 1000 * LEASE_SECONDS)
    body = await load()
    if ours:
        await ask("SET", key, pack(body), "IFEQ", lease, "PX", lifetime(body))
    return body, "miss"


def pack(body: bytes) -> bytes:
    """An answer with its checksum, by which we know our own again."""
    return b"%08x %b" % (crc32(body), body)


def unpack(found: bytes) -> bytes | None:
    """The answer; None if it is cut off, or was never one."""
    checksum, _, body = found.partition(b" ")
    return body if checksum == b"%08x" % crc32(body) else None


def lifetime(body: bytes) -> int:
    """Milliseconds; no two the same, or what was kept together would expire together."""
    seconds = settings.cache_missing if body == NOTHING else settings.cache_seconds
    return round(1000 * seconds * random.uniform(0.9, 1.1))  # noqa: S311 - no secret


async def forget(*keys: str) -> bool:
    """Takes away what is not true any more. After the commit: before, it would be fetched again.

    What cannot be said now is said before we read anything again, and as soon as it can.
    """
    unsaid.update(dict.fromkeys(keys, object()))
    saying = dict(unsaid)
    if await ask("DEL", *saying) is None:
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
