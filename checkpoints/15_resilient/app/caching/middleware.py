"""Hits first: what is in memory is sent before anybody routes, validates or compresses."""

import math
import re
import time
from typing import Any

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.caching import details
from app.caching.memory import Answer, memory
from app.caching.redis import NOTHING
from app.caching.tiers import Found
from app.logs import request_id
from app.settings import settings
from app.telemetry import metrics, tracing
from app.telemetry.observe import observe

# The cookie of somebody who has just changed something and must see it, whoever answers.
FRESH = "shop_fresh"
LIST, ONE = "/products", "/products/{product_id}"
DETAIL = re.compile(rb"/products/([1-9]\d{0,8})")  # as most spell it; the others go the long way


class DetailsFirst:
    """Before the framework: what is in memory, and details wherever they have to come from."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = scope["started"] = time.perf_counter()
        given = dict(scope["headers"])
        parent = tracing.begin(scope, given)
        if scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        found: Found = "hit"
        has_span = False
        answer = memory.spelled(url(scope))
        if wants_none_kept(given):
            answer = None
        elif answer is None and (plain := DETAIL.fullmatch(url(scope))):
            try:
                with tracing.follow(parent, f"GET {ONE}"), metrics.active.track_inprogress():
                    has_span = True
                    answer, found = await details.get(int(plain[1]))
                    memory.learn(url(scope), details.key_of(int(plain[1])))
            except Exception as error:
                scope["failed"] = error  # the endpoint says what is wrong
        if answer is None or answer.body == NOTHING:
            await self.app(scope, receive, send)
            return
        if not has_span:
            metrics.from_memory.inc()
        status, body, headers = 200, answer.body, answer.headers
        if answer.is_known_to(given.get(b"if-none-match", b"")):
            status, body, headers = 304, b"", answer.caching
        elif b"gzip" in given.get(b"accept-encoding", b"") and len(body) >= 1000:
            body, headers = answer.zipped
        name = request_id(given.get(b"x-request-id"))
        headers = [(b"x-cache", found.encode()), (b"x-request-id", name.encode()), *headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        route = LIST if scope["path"] == LIST else ONE
        observe(scope, name, parent, route, status, started, has_span)


def at_hand(scope: Scope) -> bool:
    """Whether it is answered from memory, at next to no cost."""
    if scope["method"] != "GET":
        return False
    answer = memory.spelled(url(scope))
    if answer is None or answer.body == NOTHING:  # to say that it is gone takes the framework
        return False
    return not wants_none_kept(dict(scope["headers"]))


def wants_none_kept(headers: dict[bytes, bytes]) -> bool:
    return FRESH.encode() in headers.get(b"cookie", b"")


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
    """For as long as another instance may not have heard of the change, and then the proxy."""
    age = math.ceil(settings.memory_seconds + 2 * settings.edge_seconds + 1)
    response.set_cookie(FRESH, "1", max_age=age, httponly=True, samesite="lax")


def whole(answer: Answer, found: Found) -> Response:
    return Response(answer.body, media_type="application/json", headers=caching(answer, found))


def caching(answer: Answer, found: Found) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in answer.caching} | {"x-cache": found}


def url(scope: Scope) -> bytes:
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
