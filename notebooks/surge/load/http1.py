"""One HTTP/1.1 connection of the probe: sends a prepared request, reports what came back.

Parsing is httptools' (the C parser of Node.js), so Content-Length, chunked bodies and
`Connection: close` follow the standard, and no Python runs per header.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter_ns
from typing import NamedTuple, cast

import httptools


class Request(NamedTuple):
    """A request as it goes over the wire, and, for a walk, what to ask after its answer."""

    raw: bytes
    follow: "Callable[[bytes], Request | None] | None" = None


class Answer(NamedTuple):
    """How a request ended: with a complete answer, or with an `error` and status 0."""

    request: Request
    intended: int
    """When it was meant to go out, on the nanosecond clock."""
    ended: int
    status: int
    size: int
    body: bytes | None
    """Kept only where somebody wants it: for a walk, or a sample."""
    error: str | None


class Lane(asyncio.Protocol):
    """A connection that carries one request at a time and is reopened when the server closes it.

    Args:
        address: host and port.
        answered: called once for every request, with how it ended; the lane is free again then.
        keep_bodies: hand over the body of every answer, not only in walks.
    """

    def __init__(
        self,
        address: tuple[str, int],
        answered: "Callable[[Lane, Answer], None]",
        keep_bodies: bool = False,
    ) -> None:
        self.address = address
        self.answered = answered
        self.keep_bodies = keep_bodies
        self.opened = 0
        self.request: Request | None = None
        self.intended = 0
        self._transport: asyncio.Transport | None = None
        self._ended: Answer | None = None

    async def open(self) -> None:
        """Connect."""
        await asyncio.get_running_loop().create_connection(lambda: self, *self.address)

    def send(self, request: Request, intended: int) -> None:
        """Send a request, on a new connection if there is none."""
        self.request, self.intended = request, intended
        self._size, self._body = 0, bytearray()
        self._keeps = self.keep_bodies or request.follow is not None
        if self._transport is None:
            self._opening = asyncio.ensure_future(self._open_and_send(request))
        else:
            self._transport.write(request.raw)

    def give_up(self, error: str) -> None:
        """End the request under way, and the connection, which can carry no other."""
        if self._transport is None:
            self._opening.cancel()
            self._end(self._answer(0, error))
        else:
            self._ended = self._answer(0, error)
            self._transport.abort()

    def close(self) -> None:
        """Close the connection of an idle lane."""
        if self._transport is not None:
            self._transport.close()

    async def _open_and_send(self, request: Request) -> None:
        try:
            await self.open()
        except OSError:
            await asyncio.sleep(0.01)  # nobody listens: ask again, but not as fast as we can
            self._end(self._answer(0, "refused"))
        else:
            cast(asyncio.Transport, self._transport).write(request.raw)

    def _answer(self, status: int, error: str | None) -> Answer:
        request = cast(Request, self.request)
        body = bytes(self._body) if self._keeps else None
        return Answer(request, self.intended, perf_counter_ns(), status, self._size, body, error)

    def _end(self, answer: Answer) -> None:
        self.request = self._ended = None
        self.answered(self, answer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self.opened += 1

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        transport = cast(asyncio.Transport, self._transport)
        if self.request is None:
            transport.abort()  # nobody asked; whatever it is, the next answer is not behind it
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.give_up("malformed")
        # If the connection ends with this answer, the lane is free when it is gone.
        if self._ended is not None and not transport.is_closing():
            self._end(self._ended)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        if self.request is not None:
            self._end(self._ended or self._answer(0, "dropped"))

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._size += len(data)
        if self._keeps:
            self._body += data

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._ended = self._answer(self._parser.get_status_code(), None)
        if not self._parser.should_keep_alive():
            cast(asyncio.Transport, self._transport).close()
