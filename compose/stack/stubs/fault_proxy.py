"""A TCP proxy that injects network faults between a service and a server it depends on.

    with FaultProxy(system.database_url) as proxy:
        system.restart_app({"DATABASE_URL": proxy.url})
        proxy.stall()

It runs in a thread of the process that opens it. Its faults:

    delay      seconds, at least, by which everything is late, in either direction
    stall      nothing arrives any more, on any connection; `resume` ends it, and nothing is lost
    blackhole  open connections go dead without an error; new ones work
    reset      open connections are reset; new ones work
    refuse     open connections are reset, new ones refused; `accept` ends it
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


class FaultProxy:
    """A proxy in front of the server at a URL; a context manager.

    Args:
        url: where the server is; the attribute `url` is the same by way of the proxy.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._parts = parts
        self.delay = 0.0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._flowing = asyncio.Event()
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        self.resume()
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
        """The URL for clients, with the proxy's address instead of the server's."""
        user, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}").geturl()

    def stall(self) -> None:
        """Stop forwarding, on all connections."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def resume(self) -> None:
        """Forward again, beginning with what was held back."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def blackhole(self) -> None:
        """Stop forwarding on the connections that are open now, for good; new ones work."""
        self._run(self._blackhole())

    def reset(self) -> None:
        """Reset all open connections."""
        self._run(self._reset())

    def refuse(self) -> None:
        """Reset all open connections and refuse new ones."""
        self._loop.call_soon_threadsafe(self._server.close)
        self.reset()

    def accept(self) -> None:
        """Listen again, on the same port as before."""

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(self._serve, "127.0.0.1", self.port)

        self._server = self._run(listen())
        self.port = self._server.sockets[0].getsockname()[1]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _blackhole(self) -> None:
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def _reset(self) -> None:
        tasks = list(self._open)
        for task, writers in self._open.items():
            for writer in writers:
                writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next iteration

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        writers = self._open[task] = [writer]
        with suppress(OSError, asyncio.CancelledError):
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            writers.append(server_writer)
            flowing = self._flowing
            await asyncio.gather(
                self._forward(reader, server_writer, flowing),
                self._forward(server_reader, writer, flowing),
            )
        for opened in writers:
            opened.close()
        del self._open[task]

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            await asyncio.sleep(self.delay)
            await flowing.wait()
            writer.write(data)
            await writer.drain()
        writer.close()
