"""Admission control: a request gets a place and a deadline, or a refusal, before any work on it."""

import asyncio
import time

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.caching.middleware import is_memory_hit
from app.logs import choose_request_id
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
    """Refuses requests above the limit, and gives the others a deadline. It has to be outermost.

    uvicorn has a limit, too (`--limit-concurrency`). It counts connections, idle ones as well,
    turns health checks away, and has to be guessed beforehand.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A memory hit takes nothing of the pool.
        if scope["type"] != "http" or scope["path"] in ALWAYS_ADMITTED or is_memory_hit(scope):
            await self.app(scope, receive, send)
        else:
            await Responder(self.app, scope, receive, send).respond()


class Responder:
    """Sends the app's answer to one request, or a refusal if no answer has begun."""

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self.app, self.scope, self.receive, self.send = app, scope, receive, send
        self.started = time.perf_counter()
        self.answer_started = False

    async def respond(self) -> None:
        seconds = requested_timeout(dict(self.scope["headers"]))
        if seconds <= 0:
            await self.refuse(timeout_response("hurry"), should_trace=False)
        elif limit.try_acquire():
            try:
                await self.serve(seconds)
            finally:
                limit.release()
        else:
            metrics.shed.labels("limit").inc()
            # A trace of each refusal would show nothing.
            await self.refuse(OVERLOADED, should_trace=False)

    async def serve(self, seconds: float) -> None:
        try:
            async with deadline(seconds):
                await self.app(self.scope, self.receive, self.send_answer)
        except (TimeoutError, asyncio.CancelledError) as error:
            if self.answer_started:
                return  # too late to refuse: uvicorn hangs up if the answer is not complete
            if isinstance(error, asyncio.CancelledError):  # uvicorn ends, and has waited enough
                await self.refuse(STOPPING)
            elif seconds < settings.request_seconds:  # the client's own wish
                await self.refuse(timeout_response("hurry"), should_trace=False)
            else:
                await self.refuse(timeout_response("deadline"))

    async def send_answer(self, message: Message) -> None:
        self.answer_started = True
        await self.send(message)

    async def refuse(self, refusal: Response, should_trace: bool = True) -> None:
        request_headers, status = dict(self.scope["headers"]), refusal.status_code
        # Its log lines, if there are any, already have an id.
        request_id = self.scope.get("state", {}).get("request_id")
        request_id = request_id or choose_request_id(request_headers.get(b"x-request-id"))
        headers = [(b"x-request-id", request_id.encode()), *refusal.raw_headers]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": refusal.body})
        parent = tracing.ensure_traceparent(self.scope, request_headers)
        request = RequestRecord(
            self.scope, request_id, parent, self.started, should_trace=should_trace
        )
        observe_request(request, route_of(self.scope), status)


def timeout_response(reason: str) -> Response:
    metrics.shed.labels(reason).inc()
    return problem(504, DEADLINE_EXCEEDED)
