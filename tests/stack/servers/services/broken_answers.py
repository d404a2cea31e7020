"""Answers as the path demands: late, with a large header, with half a body, with 500."""

import asyncio

from starlette.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    large = [(b"location", 9_000 * b"x")] if scope["path"] == "/large" else []
    headers = [(b"content-length", b"5"), *large]
    await asyncio.sleep(2 if scope["path"] == "/late" else 0)
    status = 500 if scope["path"] == "/500" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    body = {"body": b"ha", "more_body": True} if scope["path"] == "/half" else {"body": b"whole"}
    await send({"type": "http.response.body", **body})
