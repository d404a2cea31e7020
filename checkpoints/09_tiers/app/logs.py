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

VALID_ID = re.compile(rb"[\w.:-]{1,64}")
WRITE_INTERVAL = 0.05  # seconds between two writes
RUN_ID, request_numbers = token_hex(8), itertools.count()

RequestLine = tuple[float, str, str, bytes, int, float]  # the writer renders it


class LogQueue:
    """Takes lines without waiting. A line that does not fit is dropped and counted."""

    def __init__(self) -> None:
        self.lines: deque[bytes | RequestLine] = deque()
        self.refused = 0
        self.lost = 0  # on the disk; a counter of its own, for the writer's thread

    def put(self, line: bytes | RequestLine) -> None:
        if len(self.lines) < settings.log_queue:
            self.lines.append(line)
        else:
            self.refused += 1

    info = warning = put  # the names that structlog calls

    @property
    def dropped(self) -> int:
        return self.refused + self.lost


class Writer(threading.Thread):
    """Writes all queued lines at once, and not each by itself."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.file = FileIO(settings.log_file, "a")
        self.end = threading.Event()
        self.torn = False  # the last write ended inside a line

    def run(self) -> None:
        ended = False
        while not ended:
            ended = self.end.wait(WRITE_INTERVAL)
            lines = [log_queue.lines.popleft() for _ in range(len(log_queue.lines))]
            data = render_all(lines)
            if self.torn:
                data[:0] = b"\n"
            try:
                while data:  # a write may be partial
                    written = self.file.write(data)
                    self.torn = not data.endswith(b"\n", 0, written)
                    del data[:written]
            except OSError:
                log_queue.lost += min(len(lines), data.count(b"\n"))


log_queue = LogQueue()


def render_all(lines: list[bytes | RequestLine]) -> bytearray:
    """Append line by line: each result of orjson takes 4 kB, so a list of a thousand takes 4 MB."""
    data = bytearray()
    for line in lines:
        data += render(line)
    return data


def render(line: bytes | RequestLine) -> bytes:
    if isinstance(line, bytes):
        return line
    at, request_id, method, path, status, seconds = line
    event = {
        "request_id": request_id,
        "method": method,
        "path": path.decode("ascii"),
        "status": status,
        "milliseconds": round(1000 * seconds, 1),
        "event": "request",
        "level": "info",
        "timestamp": datetime.fromtimestamp(at, UTC),
    }
    return to_json(add_dropped(None, "info", event))


def to_json(event: EventDict, **_: Any) -> bytes:
    return orjson.dumps(event, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def add_dropped(logger: Any, level: str, event: EventDict) -> EventDict:
    return {**event, "dropped": log_queue.dropped} if log_queue.dropped else event


structlog.configure(
    processors=[
        merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        add_dropped,
        structlog.processors.JSONRenderer(to_json),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=lambda: log_queue,
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
        # Write what is queued before the process ends, unless the disk hangs.
        writer.join(settings.log_patience)


def choose_request_id(given: bytes | None) -> str:
    """Use the caller's id if it is valid, so that the logs of two services can be joined."""
    if given and VALID_ID.fullmatch(given):
        return given.decode()
    return f"{RUN_ID}{next(request_numbers):016x}"


def log_request(request_id: str, method: str, path: bytes, status: int, started: float) -> None:
    seconds = time.perf_counter() - started
    log_queue.put((time.time(), request_id, method, path[:500], status, seconds))


class LogRequests:
    """A plain ASGI middleware: no task, no queue and no request object for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        request_id = choose_request_id(dict(scope["headers"]).get(b"x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with bound_contextvars(request_id=request_id):  # on every line logged in here
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                log_request(request_id, scope["method"], scope["raw_path"], status, started)
