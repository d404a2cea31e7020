"""Bugs are logged here. An exception that reaches uvicorn would make it close the connection."""

import logging

from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("uvicorn.error")  # where uvicorn would log them


class LogBugs:
    """Keeps the connection open: nginx may have sent the next client's request on it already.

    uvicorn knows whether the answer is complete. If it is not, uvicorn still closes the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception:
            if scope["type"] != "http":
                raise  # an error of the lifespan: the service must not start
            log.exception("A bug in %s %s", scope["method"], scope["path"])
