"""A line of JSON for every request, written by a thread that no request waits for."""

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO, TextIOWrapper
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue
from typing import Any
from uuid import uuid4

import orjson
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict, FilteringBoundLogger

from app.settings import settings

VALID_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)  # a caller's: it joins the logs of services


class LogQueue(QueueHandler):
    """Hands lines over without waiting. A line that does not fit is dropped and counted."""

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except Full:
            self.drop()

    def drop(self) -> None:
        assert self.lock  # two threads drop lines
        with self.lock:
            self.dropped += 1


class UnbufferedFileHandler(logging.FileHandler):
    """Writes lines. One that the disk refuses is dropped, like one that did not fit."""

    def _open(self) -> TextIOWrapper:  # with a buffer, a line counted as dropped could appear later
        return TextIOWrapper(FileIO(self.baseFilename, "a"), self.encoding, write_through=True)

    def handleError(self, record: logging.LogRecord) -> None:
        log_queue.drop()


class Writer(QueueListener):
    """The thread that takes lines out of the queue and writes them."""

    def enqueue_sentinel(self) -> None:
        lines.put(None)  # wait for room: there may be none now


lines: Queue[logging.LogRecord | None] = Queue(settings.log_queue)
log_queue = LogQueue(lines)


def add_dropped(logger: Any, level: str, event: EventDict) -> EventDict:
    return {**event, "dropped": log_queue.dropped} if log_queue.dropped else event


def render(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


structlog.configure(
    processors=[
        merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        add_dropped,
        structlog.processors.JSONRenderer(render),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
log: FilteringBoundLogger = structlog.get_logger("shop")


@contextmanager
def open_log() -> Iterator[None]:
    shop = logging.getLogger("shop")
    shop.addHandler(log_queue)
    shop.setLevel(logging.INFO)
    shop.propagate = False
    writer = Writer(lines, UnbufferedFileHandler(settings.log_file, encoding="utf-8"))
    writer.start()
    try:
        yield
    finally:
        log.info("stopped")
        # Write what is queued before the process ends, unless the disk hangs.
        end = threading.Thread(target=writer.stop, daemon=True)
        end.start()
        end.join(settings.log_patience)


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
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if VALID_ID.fullmatch(given) else uuid4().hex
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
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["raw_path"][:500].decode("ascii"),
                    status=status,
                    milliseconds=round(1000 * (time.perf_counter() - started), 1),
                )
