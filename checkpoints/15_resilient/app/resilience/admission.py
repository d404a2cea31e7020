"""Admission control: a request gets a place and a deadline, or a refusal, before any work on it."""

import asyncio
import time

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.caching.middleware import is_memory_hit
from app.logs import request_id
from app.problems import DEADLINE_EXCEEDED, problem
from app.resilience.deadlines import deadline, requested_timeout
from app.resilience.limit import limit
from app.settings import settings
from app.telemetry import metrics, tracing
from app.telemetry.middleware import RequestRecord, observe_request, route_of

# Orchestrators and Prometheus have to know how we are, above all in an overload.
ALWAYS_ADMITTED = frozenset({"/healthz", "/readyz", "/metrics"})
RETRY_AFTER = {"Retry-After": "1"}
OVERLOADED = problem(503, "Too many shoppers at once. Try again in a second.", RETRY_AFTER)
STOPPING = problem(
    503, "This instance stops. Try again in a second, orders with the same key.", RETRY_AFTER
)


class AdmissionControlMiddleware:
    """The outermost middleware.

    uvicorn has a limit, too (`--limit-concurrency`). It counts connections, also those that wait
    for nothing, turns health checks away, and has to be guessed beforehand.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # To refuse a memory hit would cost more than to send it.
        if scope["type"] != "http" or scope["path"] in ALWAYS_ADMITTED or is_memory_hit(scope):
            await self.app(scope, receive, send)
        else:
            await Responder(self.app, scope, receive, send).respond()


class Responder:
    """Answers one request: the app's answer, or a refusal as long as that has not begun."""

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self.app, self.scope, self.receive, self.send = app, scope, receive, send
        self.started = time.perf_counter()
        self.answer_started = False

    async def respond(self) -> None:
        seconds = requested_timeout(dict(self.scope["headers"]))
        if seconds <= 0:
            await self.refuse(timed_out("hurry"), should_trace=False)
        elif limit.try_acquire():
            try:
                await self.serve(seconds)
            finally:
                limit.release()
        else:
            metrics.shed.labels("limit").inc()
            # Traces of the many that are turned away would show nothing, and cost more than that.
            await self.refuse(OVERLOADED, should_trace=False)

    async def serve(self, seconds: float) -> None:
        try:
            async with deadline(seconds):
                await self.app(self.scope, self.receive, self.send_answer)
        except TimeoutError:
            if seconds < settings.request_seconds:  # the client's own wish
                await self.refuse(timed_out("hurry"), should_trace=False)
            else:
                await self.refuse(timed_out("deadline"))
        except asyncio.CancelledError:  # uvicorn ends, and has waited long enough
            await self.refuse(STOPPING)

    async def send_answer(self, message: Message) -> None:
        self.answer_started = True
        await self.send(message)

    async def refuse(self, refusal: Response, should_trace: bool = True) -> None:
        if self.answer_started:
            return  # uvicorn hangs up if the answer is not complete, and only then
        given = dict(self.scope["headers"])
        name, status = request_id(given.get(b"x-request-id")), refusal.status_code
        headers = [(b"x-request-id", name.encode()), *refusal.raw_headers]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": refusal.body})
        parent = tracing.ensure_traceparent(self.scope, given)
        request = RequestRecord(self.scope, name, parent, self.started, should_trace=should_trace)
        observe_request(request, route_of(self.scope), status)


def timed_out(reason: str) -> Response:
    metrics.shed.labels(reason).inc()
    return problem(504, DEADLINE_EXCEEDED)
