"""Says how often a product was asked for; its answers are soon stale, and slow to make."""

import asyncio

from starlette.types import Receive, Scope, Send

times = 0


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    global times
    if scope["type"] == "http":
        times += scope["path"] == "/products/7"
        await asyncio.sleep(0.3)
        headers = [(b"cache-control", b"s-maxage=1, stale-while-revalidate=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"%d" % times})
