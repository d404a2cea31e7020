"""Metrics for Prometheus: the golden signals, and what may run out."""

import asyncio
from functools import cache

from fastapi import APIRouter, Request, Response
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from app.settings import settings

LAG_INTERVAL = 0.1  # seconds between two measurements of the loop
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
JOB_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS")

# Latency, traffic and errors in one. The route is the pattern, not the path: paths are without end,
# and each would be a series that Prometheus has to keep.
requests = Histogram(
    "http_server_request_duration_seconds",
    "Requests and how long they took.",
    ["method", "route", "status"],
    buckets=BUCKETS,
)
active = Gauge("http_server_active_requests", "Requests that are being worked on.")
shed = Counter("requests_shed", "Requests that were turned away to protect the rest.", ["reason"])

# Saturation: what fills up before anything fails.
pool_size = Gauge("db_pool_size", "Connections that this process may hold.")
pool_size.set(settings.pool_size)
pool_in_use = Gauge("db_pool_connections_in_use", "Connections that somebody holds.")
pool_wait = Histogram("db_pool_wait_seconds", "How long it took to get one.", buckets=BUCKETS)
loop_lag = Histogram("event_loop_lag_seconds", "How late the loop was.", buckets=BUCKETS)
dropped = Counter("log_lines_dropped", "Log lines that found no room or no disk.")

cache_answers = Counter("cache_answers", "Which tier had the answer.", ["tier"])
from_memory, from_redis, from_database, bypassed = (
    cache_answers.labels(tier) for tier in ("memory", "redis", "database", "bypass")
)
partner_calls = Histogram(
    "partner_request_duration_seconds",
    "Calls to partners and how long they took.",
    ["partner", "outcome"],
    buckets=BUCKETS,
)

# The protections of the service, at work.
concurrency_limit = Gauge("concurrency_limit", "Requests that may be under way.")
breaker_open = Gauge("breaker_open", "1 while a partner is left alone.", ["partner"])
retries = Counter("retries", "What was tried again.", ["what"])

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def get_metrics(request: Request) -> Response:  # not async: a thread does not hold the loop up
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(REGISTRY), headers={"content-type": media_type})


@cache  # `labels` takes a lock for every look-up
def request_series(method: str, route: str, status: int) -> Histogram:
    return requests.labels(method if method in METHODS else "other", route, status)


async def measure_loop_lag() -> None:
    """As late as our timer fires, any other task runs, too."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_INTERVAL
        await asyncio.sleep(LAG_INTERVAL)
        loop_lag.observe(loop.time() - due)
