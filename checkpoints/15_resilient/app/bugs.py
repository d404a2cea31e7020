"""Bugs: logged here. If uvicorn heard of one, it would hang up, after an answer that was whole."""

import logging

from starlette.types import ASGIApp, Receive, Scope, Send

bugs = logging.getLogger("uvicorn.error")  # where uvicorn would tell of them


class LogBugs:
    """Keeps the connection open: nginx may have sent the next client's request on it already.

    uvicorn knows whether the answer was sent. It hangs up if not all of it was, and only then.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception:
            if scope["type"] != "http":
                raise  # the service does not start
            bugs.exception("A bug in %s %s", scope["method"], scope["path"])
