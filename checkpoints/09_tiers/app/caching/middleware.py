"""Hits first: what is in memory is sent before anybody routes, validates or compresses."""

import math
import time
from typing import Any

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.caching.memory import Answer, memory
from app.caching.redis import NOTHING
from app.caching.tiers import Found
from app.logs import log_request, request_id
from app.settings import settings

# The cookie of somebody who has just changed something and must see it, whoever answers.
FRESH = "shop_fresh"


class HitsFirst:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] == "http" and scope["method"] == "GET":
            answer = memory.spelled(url(scope))
        if answer is None or answer.body == NOTHING:  # the endpoint says that it is gone
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        given = dict(scope["headers"])
        if FRESH.encode() in given.get(b"cookie", b""):
            await self.app(scope, receive, send)
            return
        status, body, headers = 200, answer.body, answer.headers
        if answer.is_known_to(given.get(b"if-none-match", b"")):
            status, body, headers = 304, b"", answer.caching
        elif b"gzip" in given.get(b"accept-encoding", b"") and len(body) >= 1000:
            body, headers = answer.zipped
        name = request_id(given.get(b"x-request-id"))
        headers = [(b"x-cache", b"hit"), (b"x-request-id", name.encode()), *headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        log_request(name, "GET", scope["raw_path"], status, started)


NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "You have it already"}}


def respond(request: Request, key: str, answer: Answer, found: Found) -> Response:
    """The same from an endpoint, which has found out what the URL means."""
    memory.learn(url(request.scope), key)
    return conditional(request, answer, found)


def conditional(request: Request, answer: Answer, found: Found) -> Response:
    if answer.is_known_to(request.headers.get("if-none-match", "").encode("latin-1")):
        return Response(status_code=304, headers=caching(answer, found))
    return whole(answer, found)


def wants_fresh(request: Request) -> bool:
    return FRESH in request.cookies


def let_see_fresh(response: Response) -> None:
    """For as long as another instance may not have heard of the change."""
    age = math.ceil(settings.memory_seconds)
    response.set_cookie(FRESH, "1", max_age=age, httponly=True, samesite="lax")


def whole(answer: Answer, found: Found) -> Response:
    return Response(answer.body, media_type="application/json", headers=caching(answer, found))


def caching(answer: Answer, found: Found) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in answer.caching} | {"x-cache": found}


def url(scope: Scope) -> bytes:
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
