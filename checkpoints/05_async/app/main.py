"""The shop: `uvicorn app.main:app` serves it."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from fastapi import FastAPI
from fastapi_pagination import add_pagination

from app import health, orders, partners, products, reports
from app.database import engine
from app.logs import log_request, open_log
from app.partners import open_client
from app.problems import Service, add_problem_handlers, problems

open_log()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    gc.freeze()  # what startup made stays: scanning it for garbage would block the loop
    async with open_client() as client:
        yield {"client": client}
    await engine.dispose()


app = Service(title="Surge shop", version="1", lifespan=lifespan, responses=problems(500, 503))
app.middleware("http")(log_request)
add_problem_handlers(app)
app.include_router(products.router)
app.include_router(partners.router)
app.include_router(orders.router)
app.include_router(reports.router)
app.include_router(health.router)
add_pagination(app)
