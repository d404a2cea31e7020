"""The numbers: what /metrics tells Prometheus, of the golden signals and of what may run out."""

import asyncio
from functools import cache

from fastapi import APIRouter, Request, Response
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from app.settings import settings

EVERY = 0.1  # seconds between two looks at the loop
QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # for jobs
METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS")

# Latency, traffic and errors in one. The route is the pattern, not the address: of addresses there
# are without end, and each would be a series that Prometheus has to keep.
requests = Histogram(
    "http_server_request_duration_seconds",
    "Requests and how long they took.",
    ["method", "route", "status"],
    buckets=QUICK,
)
active = Gauge("http_server_active_requests", "Requests that are being worked on.")
shed = Counter("requests_shed", "Requests that were turned away to protect the rest.", ["reason"])

# Saturation: what fills up before anything fails.
pool_size = Gauge("db_pool_size", "Connections that this process may hold.")
pool_size.set(settings.pool_size)
pool_in_use = Gauge("db_pool_connections_in_use", "Connections that somebody holds.")
pool_wait = Histogram("db_pool_wait_seconds", "How long it took to get one.", buckets=QUICK)
loop_lag = Histogram("event_loop_lag_seconds", "How late the loop was.", buckets=QUICK)
dropped = Counter("log_lines_dropped", "Log lines that found no room or no disk.")

cached = Counter("cache_answers", "Which tier had the answer.", ["tier"])
from_memory, from_redis, from_database, bypassed = (
    cached.labels(tier) for tier in ("memory", "redis", "database", "bypass")
)
partner_calls = Histogram(
    "partner_request_duration_seconds",
    "Calls to partners and how long they took.",
    ["partner", "outcome"],
    buckets=QUICK,
)

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def tell(request: Request) -> Response:  # not async: on a thread it holds nobody up
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(REGISTRY), headers={"content-type": media_type})


@cache
def series(method: str, route: str, status: int) -> Histogram:
    """`labels` looks it up under a lock, each time anew."""
    return requests.labels(method if method in METHODS else "other", route, status)


async def watch_loop() -> None:
    """A timer that comes late says how long everybody else has to wait, too."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY
        await asyncio.sleep(EVERY)
        loop_lag.observe(loop.time() - due)
