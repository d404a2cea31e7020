"""A line of JSON for every request, written by a thread that no request waits for."""

import itertools
import logging
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from secrets import token_hex
from typing import Any

import orjson
import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict, FilteringBoundLogger

from app.settings import settings
from app.telemetry import metrics

VALID_ID = re.compile(rb"[\w.:-]{1,64}")
WRITE_INTERVAL = 0.05  # seconds between two writes
RUN_ID, request_numbers = token_hex(8), itertools.count()

RequestLine = tuple[float, str, str, str, bytes, int, float]  # the writer renders it


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
            metrics.dropped.inc()

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
                lost = min(len(lines), data.count(b"\n"))
                log_queue.lost += lost
                metrics.dropped.inc(lost)


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
    at, request_id, trace_id, method, path, status, seconds = line
    event = {
        "request_id": request_id,
        "trace_id": trace_id,
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
