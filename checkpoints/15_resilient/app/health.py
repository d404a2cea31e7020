"""Whether the service is alive, and whether to send it requests."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import asyncpg
from fastapi import APIRouter, Response
from redis.exceptions import RedisError

from app.caching.redis import redis
from app.problems import problem, problems
from app.schemas import Health, Readiness
from app.settings import settings

router = APIRouter(tags=["health"])


class State:
    """What there is to remember between two looks."""

    away_since: float | None = float("-inf")  # until we have seen the database once
    seen, seen_at = False, float("-inf")
    leaves = False


state = State()
look = asyncio.Lock()


@router.get("/healthz")
async def alive() -> Health:
    return Health(status="ok")


@router.get("/readyz", response_model=Readiness, responses=problems(503))
async def ready() -> Readiness | Response:
    checks = {"postgres": "ok", "redis": "ok"}
    if state.leaves:
        return problem(503, "This instance stops. Ask another one.", checks=checks)
    try:
        await redis.ping()
    except RedisError:
        checks["redis"] = "failed"  # we work without it, only harder
    if await database_answers():
        state.away_since = None
    else:
        checks["postgres"] = "failed"
        if state.away_since is None:
            state.away_since = time.monotonic()
        if time.monotonic() >= state.away_since + settings.ready_patience:
            detail = "The database does not answer. Start it, or wait until it is back."
            return problem(503, detail, checks=checks)
    return Readiness(status="ready", checks=checks)


async def database_answers() -> bool:
    """Looked up once a second, however many ask: a look takes one of the few other connections."""
    async with look:
        if time.monotonic() > state.seen_at + 1:
            try:
                # A connection of its own: busy is not the same as broken.
                async with asyncio.timeout(settings.ready_timeout):
                    connection = await asyncpg.connect(settings.database_url)
                    await connection.close()
                state.seen = True
            except (OSError, asyncpg.PostgresError):
                state.seen = False
            state.seen_at = time.monotonic()
        return state.seen


@contextmanager
def leaving() -> Iterator[None]:
    """Told to stop, we first say so: who asks us must have heard before the door is closed."""
    stop = signal.getsignal(signal.SIGTERM)
    assert callable(stop)  # uvicorn's
    loop = asyncio.get_running_loop()

    def leave(number: int, frame: FrameType | None) -> None:
        state.leaves = True
        loop.call_soon_threadsafe(loop.call_later, settings.drain_seconds, stop, number, frame)

    signal.signal(signal.SIGTERM, leave)
    yield
    signal.signal(signal.SIGTERM, stop)
