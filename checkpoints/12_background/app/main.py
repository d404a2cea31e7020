"""The shop: `uvicorn app.main:app` serves it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from fastapi_pagination import add_pagination

from app import health, orders, partners, products, reports
from app.caching.in_doubt import resolve_doubts
from app.caching.middleware import CacheMiddleware
from app.caching.redis import redis, retry_invalidations
from app.caching.tiers import listen
from app.database import engine
from app.logs import LogRequests, open_log
from app.partners import open_client
from app.problems import Service, add_problem_handlers, problems
from app.sale.middleware import OrderMiddleware


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    gc.freeze()  # what startup made stays: scanning it for garbage would block the loop
    with open_log():
        tasks = retry_invalidations(), listen(), resolve_doubts()
        background_tasks = [asyncio.create_task(task) for task in tasks]
        async with open_client() as client:
            yield {"client": client}
        for task in background_tasks:
            task.cancel()
        await redis.aclose()
        await engine.dispose()


shop = Service(title="Surge shop", version="1", lifespan=lifespan, responses=problems(500, 503))
shop.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
shop.add_middleware(LogRequests)
add_problem_handlers(shop)
shop.include_router(products.router)
shop.include_router(partners.router)
shop.include_router(orders.router)
shop.include_router(reports.router)
shop.include_router(health.router)
add_pagination(shop)
# Before all that a framework does for a request.
app = CacheMiddleware(OrderMiddleware(shop))
