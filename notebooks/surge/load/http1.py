"""One HTTP/1.1 connection of the load generator: sends prepared requests, one at a time.

Parsing is httptools' (the C parser of Node.js), so Content-Length, chunked bodies and
`Connection: close` follow the standard, and no Python runs per header.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter_ns
from typing import NamedTuple, cast

import httptools

RECONNECT_SECONDS = 0.01
"""Before a refused connection is tried again: soon, but not as fast as the processor can."""


class Request(NamedTuple):
    """A request as it goes over the wire; in a walk, `follow` makes the next from its response."""

    raw: bytes
    follow: "Callable[[bytes], Request | None] | None" = None


class Response(NamedTuple):
    """How a request ended: with a complete response, or with an `error` and status 0."""

    request: Request
    intended: int
    """When the request was due, on the nanosecond clock."""
    ended: int
    status: int
    size: int
    body: bytes | None
    """None unless something will read it: the next step of a walk, or a digest."""
    error: str | None


class Connection(asyncio.Protocol):
    """Carries one request at a time, and is reopened after the server has closed it.

    Args:
        address: host and port.
        on_response: called once for every request, with how it ended; the connection is idle then.
        keep_bodies: hand over the body of every response, not only in walks.
    """

    def __init__(
        self,
        address: tuple[str, int],
        on_response: "Callable[[Connection, Response], None]",
        keep_bodies: bool = False,
    ) -> None:
        self.address = address
        self.on_response = on_response
        self.keep_bodies = keep_bodies
        self.opened = 0
        self.request: Request | None = None
        self.intended = 0
        self._transport: asyncio.Transport | None = None
        self._response: Response | None = None

    async def open(self) -> None:
        """Connect."""
        await asyncio.get_running_loop().create_connection(lambda: self, *self.address)

    def send(self, request: Request, intended: int) -> None:
        """Send a request, on a new connection if there is none."""
        self.request, self.intended = request, intended
        self._size, self._body = 0, bytearray()
        self._keep_body = self.keep_bodies or request.follow is not None
        if self._transport is None:
            self._opening = asyncio.ensure_future(self._open_and_send(request))
        else:
            self._transport.write(request.raw)

    def fail(self, error: str) -> None:
        """End the request under way, and the connection, which can carry no other."""
        if self._transport is None:
            self._opening.cancel()
            self._finish(self._make_response(0, error))
        else:
            self._response = self._make_response(0, error)
            self._transport.abort()

    def close(self) -> None:
        """Close the connection while it is idle."""
        if self._transport is not None:
            self._transport.close()

    async def _open_and_send(self, request: Request) -> None:
        try:
            await self.open()
        except OSError:
            await asyncio.sleep(RECONNECT_SECONDS)
            self._finish(self._make_response(0, "refused"))
        else:
            cast(asyncio.Transport, self._transport).write(request.raw)

    def _make_response(self, status: int, error: str | None) -> Response:
        request = cast(Request, self.request)
        body = bytes(self._body) if self._keep_body else None
        return Response(request, self.intended, perf_counter_ns(), status, self._size, body, error)

    def _finish(self, response: Response) -> None:
        self.request = self._response = None
        self.on_response(self, response)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self.opened += 1

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        transport = cast(asyncio.Transport, self._transport)
        if self.request is None:
            transport.abort()  # unrequested bytes: the next response could not be told from them
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail("malformed")
        # A closing connection reports its response in connection_lost, when it can be reopened.
        if self._response is not None and not transport.is_closing():
            self._finish(self._response)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        if self.request is not None:
            self._finish(self._response or self._make_response(0, "dropped"))

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._size += len(data)
        if self._keep_body:
            self._body += data

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._response = self._make_response(self._parser.get_status_code(), None)
        if not self._parser.should_keep_alive():
            cast(asyncio.Transport, self._transport).close()
