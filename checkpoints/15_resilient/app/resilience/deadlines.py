"""Deadlines: how long somebody still waits for what is being done here."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from app.settings import settings

HEADER = "Request-Timeout"  # seconds; we send it on, too
SECONDS = re.compile(rb"\d{1,6}(\.\d{1,6})?")

ends: ContextVar[float] = ContextVar("ends")  # on the loop's clock; tasks take it with them


def asked_for(header: bytes | None) -> float:
    """The seconds a caller gives us: never more than we give ourselves."""
    if header and SECONDS.fullmatch(header):
        return min(float(header), settings.request_seconds)
    return settings.request_seconds


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Whatever is awaited in here is cancelled when the time is over: TimeoutError.

    Work that several wait for is a task with a time of its own. One caller's hurry is not theirs.
    """
    at = asyncio.get_running_loop().time() + seconds
    ends.set(at)
    async with asyncio.timeout_at(at):
        yield


def left() -> float:
    """Seconds until the deadline; without one, as for a job, what a request would have."""
    now = asyncio.get_running_loop().time()
    return ends.get(now + settings.request_seconds) - now
