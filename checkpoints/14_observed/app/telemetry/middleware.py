"""What is told of a request when it is over: a line, its place in the numbers, perhaps a trace."""

import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from app.logs import outbox, request_id
from app.settings import settings
from app.telemetry import metrics, tracing


class ObserveRequests:
    """The middleware as plain ASGI: no task, no queue and no request object for each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = scope.get("started") or time.perf_counter()
        status = 500
        given = dict(scope["headers"])
        name, parent = request_id(given.get(b"x-request-id")), tracing.begin(scope, given)
        scope.setdefault("state", {})["request_id"] = name

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = name
            await send(message)

        # On every line of what the framework answers.
        on_lines = bound_contextvars(request_id=name, trace_id=tracing.id_of(parent))
        with on_lines, metrics.active.track_inprogress():
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                route = getattr(scope.get("route"), "path_format", "other")
                observe(scope, name, parent, route, status, started)


def observe(
    scope: Scope,
    name: str,
    parent: bytes,
    route: str,
    status: int,
    started: float,
    has_span: bool = True,
) -> None:
    seconds = time.perf_counter() - started
    method: str = scope["method"]
    kept, trace_id = tracing.is_kept(parent), tracing.id_of(parent)
    if not kept and (status >= 500 or seconds > settings.trace_slow):
        kept, has_span = True, False  # too late for the whole story, but not for its outline
    if kept and not has_span:
        tracing.record(parent, f"{method} {route}", seconds, status)
    outbox.put((time.time(), name, trace_id, method, scope["raw_path"][:500], status, seconds))
    # An exemplar: of all that this bar of the histogram counts, one that you can look at.
    example = {"trace_id": trace_id} if kept else None
    metrics.series(method, route, status).observe(seconds, example)
