"""Runs first in a service that is counted with PYTHONASYNCIODEBUG set; on its path for that alone.

On Python 3.11 uvicorn asks for `debug=False`, which overrules the environment. Not asking lets the
environment decide, as uvicorn does on later Pythons.
"""

import asyncio
from collections.abc import Callable

_init = asyncio.Runner.__init__


def _undecided(
    self: asyncio.Runner,
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    _init(self, debug=debug or None, loop_factory=loop_factory)


asyncio.Runner.__init__ = _undecided  # type: ignore[method-assign]
