"""What each request leaves behind: a log line, its place in the metrics, perhaps a trace."""

import asyncio
import time
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from app.logs import choose_request_id, log_queue
from app.settings import settings
from app.telemetry import metrics, tracing


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request before its response."""

    scope: Scope
    request_id: str
    traceparent: bytes
    started: float
    has_span: bool = True  # if sampled; a memory hit has none yet
    should_trace: bool = True  # a failed or slow request, even if it is not sampled


class TelemetryMiddleware:
    """Plain ASGI: no task, stream or request object for each response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = scope.get("started") or time.perf_counter()
        status, refused = 0, False
        given = dict(scope["headers"])
        request_id = choose_request_id(given.get(b"x-request-id"))
        parent = tracing.ensure_traceparent(scope, given)
        request = RequestRecord(scope, request_id, parent, started)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        on_each_log_line = {"request_id": request_id, "trace_id": tracing.trace_id_of(parent)}
        with bound_contextvars(**on_each_log_line), metrics.active.track_inprogress():
            try:
                await self.app(scope, receive, send_with_id)
            except asyncio.CancelledError:
                refused = not status  # admission control sends a response, and records it
                raise
            finally:
                if not refused:
                    observe_request(request, route_of(scope), status or 500)


def route_of(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path_format", "other"))


def observe_request(request: RequestRecord, route: str, status: int) -> None:
    seconds = time.perf_counter() - request.started
    method, path = request.scope["method"], request.scope["raw_path"][:500]
    parent, has_span = request.traceparent, request.has_span
    sampled, trace_id = tracing.is_sampled(parent), tracing.trace_id_of(parent)
    if request.should_trace and not sampled and (status >= 500 or seconds > settings.trace_slow):
        sampled, has_span = True, False  # too late for spans of its parts, not for its own
    if sampled and not has_span:
        tracing.record_request(parent, f"{method} {route}", seconds, status)
    log_queue.put((time.time(), request.request_id, trace_id, method, path, status, seconds))
    # An exemplar: one traced request of those that this bucket of the histogram counts.
    exemplar = {"trace_id": trace_id} if sampled else None
    metrics.request_series(method, route, status).observe(seconds, exemplar)
