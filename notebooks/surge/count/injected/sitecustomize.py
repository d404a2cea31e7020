"""Makes a service mark events in its log; Python imports it before the service's own code."""

import asyncio
import os
from collections.abc import Callable

_init = asyncio.Runner.__init__


def _init_without_debug_false(
    self: asyncio.Runner,
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    _init(self, debug=debug or None, loop_factory=loop_factory)


if "PYTHONASYNCIODEBUG" in os.environ:
    # On Python 3.11 uvicorn passes `debug=False`, which overrules the environment. With None the
    # environment decides, as it does with uvicorn on later Pythons.
    asyncio.Runner.__init__ = _init_without_debug_false  # type: ignore[method-assign]

if "SURGE_COUNT_ORM" in os.environ:
    from sqlalchemy import event
    from sqlalchemy.orm import Mapper

    event.listen(Mapper, "load", lambda *_: print("orm instance", flush=True))

if "SURGE_COUNT_CONNECTIONS" in os.environ:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    _connection_made = HttpToolsProtocol.connection_made

    def _mark_connection(self: HttpToolsProtocol, transport: asyncio.Transport) -> None:
        print("connection", flush=True)
        _connection_made(self, transport)

    HttpToolsProtocol.connection_made = _mark_connection  # type: ignore[method-assign]
