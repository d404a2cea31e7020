"""Whether the service is alive, and whether it can work."""

import asyncio

import asyncpg
from fastapi import APIRouter, Response
from redis.exceptions import RedisError

from app.caching.redis import redis
from app.problems import problem, problems
from app.schemas import Health, Readiness
from app.settings import settings

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> Health:
    return Health(status="ok")


@router.get("/readyz", response_model=Readiness, responses=problems(503))
async def ready() -> Readiness | Response:
    checks = {"postgres": "ok", "redis": "ok"}
    try:
        await redis.ping()
    except RedisError:
        checks["redis"] = "failed"  # the shop works without it, only slower
    try:
        # A connection of its own: a busy pool does not mean a broken database.
        async with asyncio.timeout(settings.ready_timeout):
            connection = await asyncpg.connect(settings.database_url)
            await connection.close()
    except (OSError, asyncpg.PostgresError):
        detail = "The database does not answer. Start it, or wait until it is back."
        return problem(503, detail, checks=checks | {"postgres": "failed"})
    return Readiness(status="ready", checks=checks)
