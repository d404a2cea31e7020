"""A server that answers as a test tells it to, in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

BODY = b'{"id": 1}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + BODY
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n" + BODY
CHUNKED = (
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"id\r\n5\r\n": 1}\r\n0\r\n\r\n'
)
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"

Reply = Callable[[int], Coroutine[Any, Any, bytes]]


def always(answer: bytes) -> Reply:
    """The same answer to every request."""

    async def reply(n: int) -> bytes:
        return answer

    return reply


def after(seconds: float) -> Reply:
    """The usual answer, but not at once."""

    async def reply(n: int) -> bytes:
        await asyncio.sleep(seconds)
        return OK

    return reply


class Server:
    """Answers the n-th request with the bytes of `reply(n)`; hangs up on none."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests: list[bytes] = []
        self.connections = 0

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Serve, and give the URL."""
        ready = threading.Event()
        thread = threading.Thread(target=asyncio.run, args=[self._serve(ready)])
        thread.start()
        ready.wait()
        try:
            yield f"http://127.0.0.1:{self._port}"
        finally:
            self._loop.call_soon_threadsafe(self._ended.set)
            thread.join()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._ended.wait()
        server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            answer = OK
            while answer and b"Connection: close" not in answer:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                answer = await self.reply(len(self.requests))
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client hung up, or the test is over
        finally:
            writer.close()
