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
from app.health import drain_on_sigterm
from app.logs import open_log
from app.partners import open_client
from app.problems import Service, add_problem_handlers, problems
from app.resilience.admission import AdmissionControlMiddleware
from app.resilience.limit import limit
from app.sale.middleware import OrderMiddleware
from app.settings import settings
from app.telemetry import metrics
from app.telemetry.middleware import TelemetryMiddleware
from app.telemetry.tracing import open_tracing


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    await check_budget()
    gc.freeze()  # what startup made stays: scanning it for garbage would block the loop
    with open_log():
        tasks = (
            retry_invalidations(),
            listen(),
            resolve_doubts(),
            metrics.measure_loop_lag(),
            limit.keep_adjusting(),
        )
        background_tasks = [asyncio.create_task(task) for task in tasks]
        async with open_tracing("shop"), open_client() as client:
            with drain_on_sigterm():
                yield {"client": client}
        for task in background_tasks:
            task.cancel()
        with suppress(TimeoutError):  # the servers may hang
            async with asyncio.timeout(settings.close_seconds):
                await redis.aclose()
                await engine.dispose()


# The errors of any address, ours or those of the proxy in front of us.
COMMON_RESPONSES = problems(400, 413, 414, 429, 431, 500, 502, 503, 504)

# The framework's own telemetry: a span for each request. Its steps would cost a span for each;
# metrics and log lines we have already.
TELEMETRY: TelemetryConfig = {
    "operation_spans": False,
    "metrics": False,
    "logs": False,
    "exclude": lambda scope: scope["path"] in ("/healthz", "/readyz", "/metrics"),
}

shop = Service(
    title="Surge shop",
    version="1",
    lifespan=lifespan,
    responses=COMMON_RESPONSES,
    redirect_slashes=False,  # a redirect would repeat the client's whole URL in a header
    telemetry=TELEMETRY,
)
shop.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
shop.add_middleware(TelemetryMiddleware)
add_problem_handlers(shop)
shop.include_router(products.router)
shop.include_router(partners.router)
shop.include_router(orders.router)
shop.include_router(reports.router)
shop.include_router(health.router)
shop.include_router(metrics.router)
add_pagination(shop)
# Before all that a framework does for a request.
app = AdmissionControlMiddleware(CacheMiddleware(OrderMiddleware(LogBugs(shop))))
