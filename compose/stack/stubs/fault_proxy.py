"""A TCP proxy that misbehaves on demand, to stand between a service and what it depends on.

    with FaultProxy(system.database_url) as proxy:
        system.restart_app({"DATABASE_URL": proxy.url})
        proxy.stall()

It runs in a thread of whoever opens it. What can go wrong with a network:

    delay    seconds, at the least, by which all that is sent arrives later, either way
    stall    nothing arrives any more, and nobody is told; `flow` ends it, and nothing is lost
    silence  what is open is dead, and nobody is told; the next may be opened at once
    cut      all connections are reset; the next may be opened at once
    refuse   nobody listens, and what is open is reset; `accept` ends it
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

Got = TypeVar("Got")


class FaultProxy:
    """A proxy in front of the server at a URL; a context manager.

    Args:
        url: where the server is; `url` is the same by way of the proxy.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._parts = parts
        self.delay = 0.0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._flows = asyncio.Event()
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        self.flow()
        self.accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """Where clients go instead."""
        who, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{who}{at}127.0.0.1:{self.port}").geturl()

    def stall(self) -> None:
        """Pass nothing on any more."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def flow(self) -> None:
        """Pass everything on again, first of all what was held back."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def silence(self) -> None:
        """Pass nothing on any more for those who are connected, for good; the next are served."""
        self._run(self._silence())

    def cut(self) -> None:
        """Reset all connections."""
        self._run(self._cut())

    def refuse(self) -> None:
        """Let nobody in, and nobody stay."""
        self._loop.call_soon_threadsafe(self._server.close)
        self.cut()

    def accept(self) -> None:
        """Listen, at the same port as before."""

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(self._serve, "127.0.0.1", self.port)

        self._server = self._run(listen())
        self.port = self._server.sockets[0].getsockname()[1]

    def _run(self, work: Coroutine[Any, Any, Got]) -> Got:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _silence(self) -> None:
        self._flows.clear()
        self._flows = asyncio.Event()
        self._flows.set()

    async def _cut(self) -> None:
        tasks = list(self._open)
        for task, writers in self._open.items():
            for writer in writers:
                writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports say goodbye in the next turn

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        writers = self._open[task] = [writer]
        with suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(*self._target)
            writers.append(back)
            flows = self._flows
            await asyncio.gather(self._pass(reader, back, flows), self._pass(there, writer, flows))
        for one in writers:
            one.close()
        del self._open[task]

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            await asyncio.sleep(self.delay)
            await flows.wait()
            writer.write(data)
            await writer.drain()
        writer.close()
