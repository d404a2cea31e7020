"""A line of JSON for every request, written by a thread that no request waits for."""

import itertools
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from secrets import token_hex
from typing import Any

import orjson
import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict, FilteringBoundLogger

from app.settings import settings

GOOD_ID = re.compile(rb"[\w.:-]{1,64}")
EVERY = 0.05  # seconds between two visits of the thread that writes
RUN, numbers = token_hex(8), itertools.count()

Request = tuple[float, str, str, bytes, int, float]  # what is logged of one; made a line later


class Outbox:
    """Takes a line and never waits. What does not fit is dropped, and counted."""

    def __init__(self) -> None:
        self.lines: deque[bytes | Request] = deque()
        self.refused = 0
        self.lost = 0  # on the disk; counted apart, since another thread counts them

    def put(self, line: bytes | Request) -> None:
        if len(self.lines) < settings.log_queue:
            self.lines.append(line)
        else:
            self.refused += 1

    info = warning = put  # as structlog calls it

    @property
    def dropped(self) -> int:
        return self.refused + self.lost


class Writer(threading.Thread):
    """Writes all that has come, in one go. A write for each line would cost more than a hit."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.file = FileIO(settings.log_file, "a")
        self.end = threading.Event()
        self.torn = False  # the disk took half a line

    def run(self) -> None:
        ended = False
        while not ended:
            ended = self.end.wait(EVERY)
            taken = [outbox.lines.popleft() for _ in range(len(outbox.lines))]
            data = in_one(taken)
            if self.torn:
                data[:0] = b"\n"
            try:
                while data:  # a disk may take less than it is given
                    done = self.file.write(data)
                    self.torn = not data.endswith(b"\n", 0, done)
                    del data[:done]
            except OSError:
                outbox.lost += min(len(taken), data.count(b"\n"))


outbox = Outbox()


def in_one(lines: list[bytes | Request]) -> bytearray:
    """Line by line. orjson keeps 4 kB for each that it returns: a thousand would come and go."""
    data = bytearray()
    for line in lines:
        data += render(line)
    return data


def render(line: bytes | Request) -> bytes:
    if isinstance(line, bytes):
        return line
    at, name, method, path, status, seconds = line
    event = {
        "request_id": name,
        "method": method,
        "path": path.decode("ascii"),
        "status": status,
        "milliseconds": round(1000 * seconds, 1),
        "event": "request",
        "level": "info",
        "timestamp": datetime.fromtimestamp(at, UTC),
    }
    return to_json(count_dropped(None, "info", event))


def to_json(event: EventDict, **_: Any) -> bytes:
    return orjson.dumps(event, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def count_dropped(logger: Any, level: str, event: EventDict) -> EventDict:
    return {**event, "dropped": outbox.dropped} if outbox.dropped else event


structlog.configure(
    processors=[
        merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        count_dropped,
        structlog.processors.JSONRenderer(to_json),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=lambda: outbox,
    cache_logger_on_first_use=True,
)
log: FilteringBoundLogger = structlog.get_logger()


@contextmanager
def open_log() -> Iterator[None]:
    writer = Writer()
    writer.start()
    try:
        yield
    finally:
        log.info("stopped")
        writer.end.set()
        # What has come is written before we go, unless the disk does not move at all.
        writer.join(settings.log_patience)


def request_id(given: bytes | None) -> str:
    """The caller's own, if it sent a decent one: so the logs of two services can be joined."""
    if given and GOOD_ID.fullmatch(given):
        return given.decode()
    return f"{RUN}{next(numbers):016x}"


def log_request(name: str, method: str, path: bytes, status: int, started: float) -> None:
    seconds = time.perf_counter() - started
    outbox.put((time.time(), name, method, path[:500], status, seconds))


class LogRequests:
    """The middleware as plain ASGI: no task, no queue and no request object for each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = scope.get("started") or time.perf_counter()
        status = 500
        name = request_id(dict(scope["headers"]).get(b"x-request-id"))
        scope.setdefault("state", {})["request_id"] = name

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = name
            await send(message)

        with bound_contextvars(request_id=name):  # on every line of what the framework answers
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                log_request(name, scope["method"], scope["raw_path"], status, started)
