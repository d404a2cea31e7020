"""A line in a file for every request."""

import logging
import time

from fastapi import Request, Response
from starlette.middleware.base import RequestResponseEndpoint

from app.settings import settings

log = logging.getLogger("shop")


def open_log() -> None:
    handler = logging.FileHandler(settings.log_file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


async def log_request(request: Request, call_next: RequestResponseEndpoint) -> Response:
    started = time.perf_counter()
    status = 500
    try:
        response = await call_next(request)
        status = response.status_code
        return response
    finally:
        milliseconds = 1000 * (time.perf_counter() - started)
        path = request.scope["raw_path"].decode("ascii")
        log.info("%s %s %d %.1f ms", request.method, path, status, milliseconds)
