"""The guard: a request gets a place and a deadline before anything is done for it, or a refusal."""

import asyncio
import time

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.caching.middleware import is_memory_hit
from app.logs import request_id
from app.problems import LATE, problem
from app.resilience.deadlines import HEADER, asked_for, within
from app.resilience.limit import limit
from app.settings import settings
from app.telemetry import metrics, tracing
from app.telemetry.observe import observe, route_of

ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})  # whoever asks has to know, above all now
WISH = HEADER.lower().encode()
AGAIN = {"Retry-After": "1"}
BUSY = problem(503, "Too many shoppers at once. Try again in a second.", AGAIN)
STOPPING = problem(
    503, "This instance stops. Try again in a second, orders with the same key.", AGAIN
)


class Guard:
    """The outermost middleware.

    uvicorn has a limit, too (`--limit-concurrency`). It counts connections, also those that wait
    for nothing, turns health checks away, and has to be guessed beforehand.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # To refuse what is in memory would cost more than to send it.
        if scope["type"] != "http" or scope["path"] in ALWAYS or is_memory_hit(scope):
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        seconds = asked_for(dict(scope["headers"]).get(WISH))
        if seconds <= 0:
            await refuse(scope, send, late("hurry"), began, worth=False)
        elif not limit.enter():
            metrics.shed.labels("limit").inc()
            # Of the many that are turned away, traces would show nothing, and cost more than that.
            await refuse(scope, send, BUSY, began, worth=False)
        else:
            try:
                await self.serve(scope, receive, send, seconds, began)
            finally:
                limit.leave()

    async def serve(
        self, scope: Scope, receive: Receive, send: Send, seconds: float, began: float
    ) -> None:
        answered, worth = False, True

        async def sending(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            async with within(seconds):
                await self.app(scope, receive, sending)
                return
        except TimeoutError:
            worth = seconds == settings.request_seconds  # whose hurry was it?
            refusal = late("deadline" if worth else "hurry")
        except asyncio.CancelledError:  # uvicorn ends, and has waited long enough
            refusal = STOPPING
        if not answered:  # else uvicorn hangs up if that was not all of it, and only then
            await refuse(scope, send, refusal, began, worth)


def late(reason: str) -> Response:
    metrics.shed.labels(reason).inc()
    return problem(504, LATE)


async def refuse(scope: Scope, send: Send, refusal: Response, began: float, worth: bool) -> None:
    given = dict(scope["headers"])
    name, status = request_id(given.get(b"x-request-id")), refusal.status_code
    headers = [(b"x-request-id", name.encode()), *refusal.raw_headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})
    parent, route = tracing.begin(scope, given), route_of(scope)
    observe(scope, name, parent, route, status, began, has_outline=worth)
