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
    """What one readiness check leaves for the next."""

    down_since: float | None = float("-inf")  # until the first successful check
    database_up, checked_at = False, float("-inf")
    draining = False


state = State()
check_lock = asyncio.Lock()


@router.get("/healthz")
async def alive() -> Health:
    return Health(status="ok")


@router.get("/readyz", response_model=Readiness, responses=problems(503))
async def ready() -> Readiness | Response:
    checks = {"postgres": "ok", "redis": "ok"}
    if state.draining:
        return problem(503, "This instance stops. Ask another one.", checks=checks)
    try:
        await redis.ping()
    except RedisError:
        checks["redis"] = "failed"  # the shop works without it, only slower
    if await is_database_up():
        state.down_since = None
    else:
        checks["postgres"] = "failed"
        if state.down_since is None:
            state.down_since = time.monotonic()
        if time.monotonic() >= state.down_since + settings.ready_patience:
            detail = "The database does not answer. Start it, or wait until it is back."
            return problem(503, detail, checks=checks)
    return Readiness(status="ready", checks=checks)


async def is_database_up() -> bool:
    """Check once a second at most: each check takes one of the few connections left to others."""
    async with check_lock:
        if time.monotonic() > state.checked_at + 1:
            try:
                # A connection of its own: a busy pool does not mean a broken database.
                async with asyncio.timeout(settings.ready_timeout):
                    connection = await asyncpg.connect(settings.database_url)
                    await connection.close()
                state.database_up = True
            except (OSError, asyncpg.PostgresError):
                state.database_up = False
            state.checked_at = time.monotonic()
        return state.database_up


@contextmanager
def drain_on_sigterm() -> Iterator[None]:
    """Fail readiness first and stop later, so that a balancer notices before the socket closes."""
    stop = signal.getsignal(signal.SIGTERM)
    assert callable(stop)  # uvicorn's handler
    loop = asyncio.get_running_loop()

    def drain(number: int, frame: FrameType | None) -> None:
        state.draining = True
        loop.call_soon_threadsafe(loop.call_later, settings.drain_seconds, stop, number, frame)

    signal.signal(signal.SIGTERM, drain)
    yield
    signal.signal(signal.SIGTERM, stop)
