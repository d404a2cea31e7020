"""The shop: `uvicorn app.main:app` serves it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.telemetry import TelemetryConfig
from fastapi_pagination import add_pagination

from app import health, orders, partners, products, reports
from app.budget import check_budget
from app.bugs import LogBugs
from app.caching.in_doubt import resolve_doubts
from app.caching.middleware import CacheMiddleware
from app.caching.redis import redis, retry_invalidations
from app.caching.tiers import listen
from app.database import engine
from app.health import leaving
from app.logs import open_log
from app.partners import open_client
from app.problems import Service, add_problem_handlers, problems
from app.resilience.guard import Guard
from app.resilience.limit import limit
from app.settings import settings
from app.telemetry import metrics
from app.telemetry.metrics import watch_loop
from app.telemetry.observe import ObserveRequests
from app.telemetry.tracing import open_tracing


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    await check_budget()
    gc.freeze()  # what is here now stays; looking through it for garbage would hold the loop
    with open_log():
        tasks = (
            retry_invalidations(),
            listen(),
            resolve_doubts(),
            watch_loop(),
            limit.keep_adjusting(),
        )
        forever = [asyncio.create_task(task) for task in tasks]
        async with open_tracing("shop"), open_client() as client:
            with leaving():
                yield {"client": client}
        for task in forever:
            task.cancel()
        with suppress(TimeoutError):  # the other side may not move
            async with asyncio.timeout(settings.close_seconds):
                await redis.aclose()
                await engine.dispose()


# What any address may answer: we, or the proxy before us.
ANYWHERE = problems(400, 413, 414, 429, 431, 500, 502, 503, 504)

# The framework's own telemetry: a span for each request. Those for every step of it cost as much as
# a request; numbers and lines we have already.
SPANS: TelemetryConfig = {
    "operation_spans": False,
    "metrics": False,
    "logs": False,
    "exclude": lambda scope: scope["path"] in ("/healthz", "/readyz", "/metrics"),
}

shop = Service(
    title="Surge shop",
    version="1",
    lifespan=lifespan,
    responses=ANYWHERE,
    redirect_slashes=False,  # a redirect repeats all that the client has sent, in a header
    telemetry=SPANS,
)
shop.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
shop.add_middleware(ObserveRequests)
add_problem_handlers(shop)
shop.include_router(products.router)
shop.include_router(partners.router)
shop.include_router(orders.router)
shop.include_router(reports.router)
shop.include_router(health.router)
shop.include_router(metrics.router)
add_pagination(shop)
app = Guard(CacheMiddleware(LogBugs(shop)))  # before all that a framework does for a request
