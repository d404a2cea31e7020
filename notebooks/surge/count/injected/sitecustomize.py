"""Runs first in a service that is counted with its help; on its path for that alone."""

import asyncio
import os
from collections.abc import Callable

_init = asyncio.Runner.__init__


def _undecided(
    self: asyncio.Runner,
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    _init(self, debug=debug or None, loop_factory=loop_factory)


if "PYTHONASYNCIODEBUG" in os.environ:
    # On Python 3.11 uvicorn asks for `debug=False`, which overrules the environment. Not asking
    # lets the environment decide, as uvicorn does on later Pythons.
    asyncio.Runner.__init__ = _undecided  # type: ignore[method-assign]

if "SURGE_COUNT_ORM" in os.environ:
    from sqlalchemy import event
    from sqlalchemy.orm import Mapper

    event.listen(Mapper, "load", lambda *_: print("orm instance", flush=True))

if "SURGE_COUNT_CONNECTIONS" in os.environ:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    _made = HttpToolsProtocol.connection_made

    def _told(self: HttpToolsProtocol, transport: asyncio.Transport) -> None:
        print("connection", flush=True)
        _made(self, transport)

    HttpToolsProtocol.connection_made = _told  # type: ignore[method-assign]
