"""A server that answers nonsense, to stand where the partners and the mail service are.

    with Nonsense() as server:
        server.says = ANSWERS["endless"]
        ...

`meridian` and the mail service answer what `says` yields, chunk by chunk, until it ends or the
caller hangs up. The other partners quote as ours do.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import chain, repeat
from threading import Thread
from types import TracebackType
from typing import Self

from stack.stubs.partners import quote

MEGABYTE = 2**20
MOST = 1024  # megabytes, where an answer would not end by itself

Answer = Callable[[], AsyncIterator[bytes]]


def head(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")


def whole(*chunks: bytes) -> Answer:
    async def answer() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return answer


def again(first: bytes, chunk: bytes, times: int, pause: float = 0.0) -> Answer:
    async def answer() -> AsyncIterator[bytes]:
        for part in chain([first], repeat(chunk, times)):
            yield part
            await asyncio.sleep(pause)

    return answer


def body(content: bytes, kind: str = "application/json", *headers: str) -> Answer:
    length = f"Content-Length: {len(content)}"
    return whole(head(length, f"Content-Type: {kind}", *headers) + content)


def quoted(price: str, days: str = "1") -> Answer:
    return body(f'{{"price_cents": {price}, "delivery_days": {days}}}'.encode())


def zipped_megabyte() -> bytes:
    """A block that can be repeated: it does not refer to the one before."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)


GOOD = json.dumps(quote("meridian", 7)).encode()
GZIP = bytes.fromhex("1f8b08000000000000ff")  # how such a file begins
MANY = head("Transfer-Encoding: chunked", "Content-Type: application/json")
CHUNK = b"%x\r\n%b\r\n" % (MEGABYTE, b" " * MEGABYTE)

ANSWERS: dict[str, Answer] = {
    "null": body(b"null"),
    "nothing": body(b""),
    "a list": body(b"[]"),
    "cut off": body(GOOD[:20]),
    "no price": body(b'{"delivery_days": 1}'),
    "no days": body(b'{"price_cents": 100}'),
    "nested": body(b"[" * 100_000),
    "nested in a field": body(b'{"price_cents": 1, "delivery_days": 1, "x": ' + b"[" * 3000),
    "an odd charset": body(GOOD.decode().encode("utf-16"), "application/json; charset=utf-16"),
    "no charset": body(b"\xff" * 30, "application/json; charset=rot13"),
    "no UTF-8": body(b'{"price_cents": 1, "delivery_days": 1, "\xff": 1}'),
    "a page": body(b"<html>Log in</html>", "text/html"),
    "free": quoted("0"),
    "money back": quoted("-1"),
    "true": quoted("true"),
    "text": quoted('"1"'),
    "a float": quoted("0.5"),
    "whole as a float": quoted("1.0"),
    "NaN": quoted("NaN"),
    "too dear": quoted("100000001"),
    "dearer than a number": quoted("9" * 4000),
    "yesterday": quoted("1", "-1"),
    "next year": quoted("1", "366"),
    "padded": body(GOOD[:-1] + b" " * 10_000 + b"}"),
    "zipped": body(GZIP + zlib.compress(GOOD), "application/json", "Content-Encoding: gzip"),
    "zipped by another way": body(GOOD[:9], "application/json", "Content-Encoding: br"),
    "endless": again(MANY, CHUNK, MOST),
    "a gigabyte": again(head(f"Content-Length: {MOST * MEGABYTE}"), b" " * MEGABYTE, MOST),
    "a bomb": again(head("Content-Encoding: gzip") + GZIP, zipped_megabyte(), MOST),
    "a long chunk's head": again(MANY, b"1;" + b"x" * MEGABYTE, MOST),
    "endless headers": again(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 100_000, MOST),
    "a long header": again(b"HTTP/1.1 200 OK\r\nx: ", b"y" * MEGABYTE, MOST),
    "a long status": again(b"HTTP/1.1 200 ", b"y" * MEGABYTE, MOST),
    "soon, soon": whole(head(status="102 Processing") * 5_000, head("Content-Length: 0")),
    "elsewhere": whole(head("Location: /northwind/offers/7", status="302 Found")),
    "nowhere": whole(head("Location: http://[", status="308 Permanent Redirect")),
    "no content": whole(head(status="204 No Content")),
    "not modified": whole(head(status="304 Not Modified")),
    "another protocol": whole(head("Upgrade: x", status="101 Switching Protocols")),
    "no HTTP": whole(b"\x00\x01\x02\x03" * 100),
    "two lengths": whole(head("Content-Length: 1", "Content-Length: 2") + b"11"),
    "a negative length": whole(head("Content-Length: -1") + GOOD),
    "no number of bytes": whole(MANY + b"zz\r\n\r\n"),
    "fewer bytes": whole(head("Content-Length: 1000") + GOOD),
    "no cookies": whole(head("Set-Cookie: \x01=;;;=\x02", "Content-Length: 0")),
    "silence": whole(b""),
}

COOKIES = body(GOOD, "application/json", *(f"Set-Cookie: c{i}=1; Path=/" for i in range(50)))

DRIP = again(head("Content-Length: 1000"), b" ", 1000, pause=0.05)
"""A little at a time: each read is quick, and all of them together are not."""


class Nonsense:
    """The server, in a thread of its own; a context manager."""

    def __init__(self) -> None:
        self.says: Answer = ANSWERS["null"]
        self.calls = 0
        """How often `meridian` or the mail service was called."""
        self.headers: list[bytes] = []
        """What the last of these calls said."""
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._serving: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        listen = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listen, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """By a name, not a number: of a number, clients take no cookies."""
        return f"http://localhost:{self.port}"

    async def _end(self) -> None:
        self._server.close()
        tasks = list(self._serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while asked := (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n"):
                if not await self._answer(asked, reader, writer):
                    break
        self._serving.discard(task)
        writer.close()

    async def _answer(
        self, asked: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a request; whether the connection can take another one."""
        given = dict(line.lower().split(b": ", 1) for line in asked[1:] if line)
        await reader.readexactly(int(given.get(b"content-length", 0)))
        partner = asked[0].split(b"/")[1].decode()
        if partner not in ("meridian", "mail"):
            good = other(partner, asked[0])
            kind = "Content-Type: application/json"
            writer.write(head(f"Content-Length: {len(good)}", kind) + good)
            return True
        self.calls += 1
        self.headers = asked[1:]
        async for chunk in self.says():
            writer.write(chunk)
            await writer.drain()
        return False


def other(partner: str, line: bytes) -> bytes:
    """What a partner quotes that makes sense."""
    product_id = int(line.split()[1].rpartition(b"/")[2])
    return json.dumps(quote(partner, product_id)).encode()
