"""Memory over Redis over the database: a tier that has no answer asks the next, at most once."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

from redis.exceptions import RedisError

from app.caching import redis as shared
from app.caching.memory import CachedResponse, memory
from app.caching.redis import INVALIDATION_CHANNEL, CacheEntry, CacheStatus, Load
from app.logs import log
from app.settings import settings

Value = TypeVar("Value")


class SingleFlight(Generic[Value]):
    """Concurrent calls for the same key share one task."""

    def __init__(self) -> None:
        self.flights: dict[str, asyncio.Task[Value]] = {}

    async def run(self, key: str, fetch: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        if key not in self.flights:
            self.flights[key] = flight = asyncio.create_task(fetch())
            flight.add_done_callback(partial(self.remove, key))
        # A waiter that is cancelled must not cancel the fetch of the others.
        return await asyncio.shield(self.flights[key])

    def remove(self, key: str, flight: asyncio.Task[Value]) -> None:
        if self.flights.get(key) is flight:
            del self.flights[key]

    def is_current(self, key: str) -> bool:
        """Whether the current task still is the one for this key: an invalidation removes it."""
        return self.flights.get(key) is asyncio.current_task()


single_flight: SingleFlight[tuple[CachedResponse, CacheStatus]] = SingleFlight()
refreshes: set[asyncio.Task[None]] = set()


async def get(key: str, load: Load, bypass: bool = False) -> tuple[CachedResponse, CacheStatus]:
    """Return the response, and whether a cache had it. `bypass` asks the database in any case."""
    if bypass:
        return CachedResponse(await load()), "bypass"
    if response := memory.get(key):
        return response, "hit"
    return await single_flight.run(key, partial(fetch, key, load))


async def fetch(key: str, load: Load) -> tuple[CachedResponse, CacheStatus]:
    entry, status = await shared.read_through(key, load)
    response = CachedResponse(entry.body)
    if single_flight.is_current(key):
        memory.put(key, response)
        if entry.is_stale:
            refreshes.add(task := asyncio.create_task(refresh(key, entry, response, load)))
            task.add_done_callback(refreshes.discard)
    return response, status


async def refresh(key: str, stale: CacheEntry, sent: CachedResponse, load: Load) -> None:
    """In the background: requests get the stale response meanwhile."""
    try:
        entry = await shared.refresh_entry(key, stale, load)
    except Exception as error:
        log.warning("no refresh", error=type(error).__name__)
        return
    if entry and memory.responses.get(key) is sent:  # otherwise it was invalidated meanwhile
        memory.put(key, CachedResponse(entry.body))


async def invalidate(*keys: str) -> None:
    """Remove responses from all tiers of all instances. After the commit, never before."""
    try:
        await shared.invalidate(*keys)
    finally:
        invalidate_local(*keys)


def invalidate_local(*keys: str) -> None:
    for key in keys:
        memory.drop(key)
        single_flight.flights.pop(key, None)  # it may have seen the database before the change


async def listen() -> None:
    """Drop what other instances invalidate. A lost message leaves memory stale until it expires."""
    while True:
        with suppress(RedisError):
            async with shared.redis.pubsub() as channel:
                await channel.subscribe(INVALIDATION_CHANNEL)
                async for message in channel.listen():
                    if message["type"] == "subscribe":
                        memory.clear()  # messages sent before are lost
                        single_flight.flights.clear()
                    else:
                        invalidate_local(*message["data"].decode(errors="replace").split())
        await asyncio.sleep(settings.cache_pause)
