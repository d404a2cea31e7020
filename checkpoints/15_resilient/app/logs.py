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

GOOD_ID = re.compile(rb"[\w.:-]{1,64}")
EVERY = 0.05  # seconds between two visits of the thread that writes
RUN, numbers = token_hex(8), itertools.count()

Request = tuple[float, str, str, str, bytes, int, float]  # what is logged of one; made a line later


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
            metrics.dropped.inc()

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
                lost = min(len(taken), data.count(b"\n"))
                outbox.lost += lost
                metrics.dropped.inc(lost)


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
    at, name, trace_id, method, path, status, seconds = line
    event = {
        "request_id": name,
        "trace_id": trace_id,
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
