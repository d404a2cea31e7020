"""Memory over Redis over the database: each answers what it can, and asks the next at most once."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Literal

from redis.exceptions import RedisError

from app.caching import redis as cache
from app.caching.memory import Answer, memory
from app.caching.redis import Kept, Load
from app.database import DatabaseUnavailable
from app.logs import log
from app.resilience.deadlines import deadline
from app.settings import settings
from app.telemetry import metrics

Found = Literal["hit", "miss", "bypass"]

flights: dict[str, asyncio.Task[tuple[Answer, Found]]] = {}  # who comes meanwhile, joins
waiting: Counter[asyncio.Task[tuple[Answer, Found]]] = Counter()  # so many for each
refreshes: set[asyncio.Task[None]] = set()


async def get(key: str, load: Load, fresh: bool = False) -> tuple[Answer, Found]:
    """The answer under a key, and whether any tier had it; a fresh one if nothing else will do."""
    if fresh:
        metrics.bypassed.inc()
        return Answer(await load()), "bypass"
    if answer := memory.get(key):
        metrics.from_memory.inc()
        return answer, "hit"
    if key not in flights:
        flights[key] = asyncio.create_task(fly(key, load))
    flight = flights[key]
    waiting[flight] += 1
    try:
        # Whoever goes away must not take down those who joined.
        fetched, found = await asyncio.shield(flight)
    finally:
        waiting[flight] -= 1
        if not waiting[flight]:
            del waiting[flight]
            if flights.get(key) is flight:
                del flights[key]  # who comes now begins anew
            flight.cancel()  # nobody waits for it any more; if it is done, nothing happens
    (metrics.from_redis if found == "hit" else metrics.from_database).inc()
    return fetched, found


async def fly(key: str, load: Load) -> tuple[Answer, Found]:
    ours = asyncio.current_task()
    try:
        async with deadline(settings.request_seconds):
            kept, hit = await cache.read_through(key, load)
        answer = Answer(kept.body)
        if flights.get(key) is ours:  # otherwise it was forgotten while we fetched it
            memory.put(key, answer)
            if kept.stale:
                refreshes.add(task := asyncio.create_task(refresh(key, kept, answer, load)))
                task.add_done_callback(refreshes.discard)
        return answer, "hit" if hit else "miss"
    except DatabaseUnavailable as error:
        # While nobody can change it, better than nothing.
        if error.why.stale and (stale := memory.stale(key)):
            return stale, "hit"
        raise
    finally:
        if flights.get(key) is ours:
            del flights[key]


async def refresh(key: str, kept: Kept, stale: Answer, load: Load) -> None:
    """Nobody waits for this: meanwhile they get the stale answer."""
    try:
        async with deadline(settings.request_seconds):
            new = await cache.refresh(key, kept, load)
    except Exception as error:
        log.warning("no refresh", error=type(error).__name__)
        return
    if new and memory.answers.get(key) is stale:  # otherwise it was forgotten meanwhile
        memory.put(key, Answer(new.body))


async def forget(*keys: str) -> None:
    """Takes answers out of all tiers and all instances. After the commit, never before."""
    try:
        await cache.forget(*keys)
    finally:
        forget_here(*keys)


def forget_here(*keys: str) -> None:
    for key in keys:
        memory.drop(key)
        flights.pop(key, None)  # it may have seen the database before the change


async def listen() -> None:
    """Forgets what other instances have changed. A message that is lost costs `memory_seconds`."""
    while True:
        with suppress(RedisError):
            async with cache.redis.pubsub() as channel:
                await channel.subscribe(cache.CHANGES)
                async for message in channel.listen():
                    if message["type"] == "subscribe":
                        memory.clear()  # what was said before, we have not heard
                        flights.clear()
                    else:
                        forget_here(*message["data"].decode(errors="replace").split())
        await asyncio.sleep(settings.cache_pause)
