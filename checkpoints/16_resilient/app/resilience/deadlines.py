"""Deadlines: one moment by which all that is done for a request has to be over."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar

from app.settings import settings

TIMEOUT_HEADER = "Request-Timeout"  # seconds; we send it to partners, too
ASGI_NAME = TIMEOUT_HEADER.lower().encode()
SECONDS = re.compile(rb"\d{1,6}(\.\d{1,6})?")

ends_at: ContextVar[float] = ContextVar("ends_at")  # on the loop's clock; tasks inherit it


def requested_timeout(headers: Mapping[bytes, bytes]) -> float:
    """The seconds that a client gives us: never more than we give ourselves."""
    wish = headers.get(ASGI_NAME, b"")
    if SECONDS.fullmatch(wish):
        return min(float(wish), settings.request_seconds)
    return settings.request_seconds


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Cancels whatever is awaited in here when the time is over: TimeoutError.

    Work that several requests wait for is a task with a deadline of its own: one client's hurry
    must not fail the others.
    """
    at = asyncio.get_running_loop().time() + seconds
    ends_at.set(at)
    async with asyncio.timeout_at(at):
        yield


def remaining_seconds() -> float:
    """Seconds until the deadline; without one, as in a job, what a request would have."""
    now = asyncio.get_running_loop().time()
    return ends_at.get(now + settings.request_seconds) - now
