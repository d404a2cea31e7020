"""Responses in memory are sent before routing and validation. Endpoints send the same."""

import math
import re
import time
from typing import Any

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.caching import details
from app.caching.memory import CachedResponse, memory
from app.caching.redis import NEGATIVE_ENTRY, CacheStatus
from app.logs import choose_request_id, log_request
from app.settings import settings

# The cookie of a client that has just changed a product: it must read its own write.
FRESH = "shop_fresh"
DETAIL = re.compile(rb"/products/([1-9]\d{0,8})")  # the usual spelling; others are routed


class CacheMiddleware:
    """The outermost layer: it sends what is in memory, and details from any tier."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        started = scope["started"] = time.perf_counter()
        request_headers = dict(scope["headers"])
        bypass = bypasses_cache(request_headers)
        cached = None if bypass else memory.get_by_url(url(scope))
        cache_status: CacheStatus = "hit"
        if cached is None and not bypass:
            cached, cache_status = await look_up(scope)
        if cached is None or cached.body == NEGATIVE_ENTRY:  # the endpoint makes the 404
            await self.app(scope, receive, send)
            return
        status, body, headers = 200, cached.body, cached.headers
        if cached.matches_etag(request_headers.get(b"if-none-match", b"")):
            status, body, headers = 304, b"", cached.cache_headers
        elif b"gzip" in request_headers.get(b"accept-encoding", b"") and len(body) >= 1000:
            body, headers = cached.gzipped
        request_id = choose_request_id(request_headers.get(b"x-request-id"))
        headers = [
            (b"x-cache", cache_status.encode()),
            (b"x-request-id", request_id.encode()),
            *headers,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        log_request(request_id, "GET", scope["raw_path"], status, started)


async def look_up(scope: Scope) -> tuple[CachedResponse | None, CacheStatus]:
    """A detail from any tier; None if it is no detail, or if the endpoint has to answer."""
    detail = DETAIL.fullmatch(url(scope))
    if detail is None:
        return None, "miss"
    try:
        cached, status = await details.get(int(detail[1]))
    except Exception as error:
        scope["lookup_error"] = error  # the endpoint raises it: handlers there make the response
        return None, "miss"
    memory.remember_url(url(scope), details.key_of(int(detail[1])))
    return cached, status


def bypasses_cache(request_headers: dict[bytes, bytes]) -> bool:
    return FRESH.encode() in request_headers.get(b"cookie", b"")


NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "You have it already"}}


def respond(request: Request, key: str, cached: CachedResponse, status: CacheStatus) -> Response:
    """Remember the URL's key, so that the middleware answers the next request for it."""
    memory.remember_url(url(request.scope), key)
    return conditional_response(request, cached, status)


def conditional_response(request: Request, cached: CachedResponse, status: CacheStatus) -> Response:
    if cached.matches_etag(request.headers.get("if-none-match", "").encode("latin-1")):
        return Response(status_code=304, headers=headers_of(cached, status))
    return full_response(cached, status)


def full_response(cached: CachedResponse, status: CacheStatus) -> Response:
    return Response(cached.body, media_type="application/json", headers=headers_of(cached, status))


def headers_of(cached: CachedResponse, status: CacheStatus) -> dict[str, str]:
    headers = {name.decode(): value.decode() for name, value in cached.cache_headers}
    return headers | {"x-cache": status}


def set_read_your_writes_cookie(response: Response) -> None:
    """It lasts as long as another instance, and after it the proxy, may have the old response."""
    age = math.ceil(settings.memory_seconds + 2 * settings.edge_seconds + 1)
    response.set_cookie(FRESH, "1", max_age=age, httponly=True, samesite="lax")


def url(scope: Scope) -> bytes:
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
