"""The fault proxy: it passes everything on, until it is told to misbehave."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

from stack.stubs.fault_proxy import FaultProxy


class Echo(BaseRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.serve_forever).start()
        try:
            with FaultProxy(f"tcp://me:secret@127.0.0.1:{server.server_address[1]}/x?y=z") as proxy:
                yield proxy
        finally:
            server.shutdown()


@pytest.fixture
def connect(proxy: FaultProxy) -> Iterator[Callable[[], socket.socket]]:
    opened = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", proxy.port), timeout=5))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


Connect = Callable[[], socket.socket]


def echo(connection: socket.socket, said: bytes) -> bytes:
    connection.sendall(said)
    heard = b""
    while len(heard) < len(said) and (some := connection.recv(65536)):
        heard += some
    return heard


def test_it_passes_everything_on(proxy: FaultProxy, connect: Connect) -> None:
    megabyte = bytes(range(256)) * 4096
    connection = connect()
    Thread(target=connection.sendall, args=[megabyte]).start()
    heard = b""
    while len(heard) < len(megabyte):
        heard += connection.recv(65536)
    assert heard == megabyte
    assert proxy.url == f"tcp://me:secret@127.0.0.1:{proxy.port}/x?y=z"


def test_a_client_that_hangs_up_is_passed_on_as_an_end(connect: Connect) -> None:
    connection = connect()
    assert echo(connection, b"hello") == b"hello"
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1) == b""


def test_delay_is_there_and_back(proxy: FaultProxy, connect: Connect) -> None:
    connection = connect()
    proxy.delay = 0.1
    began = time.monotonic()
    assert echo(connection, b"hello") == b"hello"
    assert time.monotonic() - began >= 0.2


def test_what_stalls_is_not_lost(proxy: FaultProxy, connect: Connect) -> None:
    connection = connect()
    assert echo(connection, b"before") == b"before"
    proxy.stall()
    new = connect()
    for one in (connection, new):
        one.sendall(b"hello")
        one.settimeout(0.2)
        with pytest.raises(TimeoutError):
            one.recv(5)
        one.settimeout(5)
    proxy.resume()
    assert connection.recv(5) == new.recv(5) == b"hello"


def test_a_reset_is_noticed_and_the_next_connection_works(
    proxy: FaultProxy, connect: Connect
) -> None:
    connection = connect()
    assert echo(connection, b"before") == b"before"
    proxy.reset()
    with suppress(ConnectionError):
        assert connection.recv(1) == b""
    assert echo(connect(), b"after") == b"after"


def test_connections_are_refused_until_it_accepts_again(
    proxy: FaultProxy, connect: Connect
) -> None:
    connection = connect()
    assert echo(connection, b"before") == b"before"
    port = proxy.port
    proxy.refuse()
    with suppress(ConnectionError):
        assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect()
    proxy.accept()
    assert proxy.port == port
    assert echo(connect(), b"after") == b"after"


def test_a_blackhole_is_for_open_connections_only_and_for_good(
    proxy: FaultProxy, connect: Connect
) -> None:
    before = connect()
    assert echo(before, b"hello") == b"hello"
    proxy.blackhole()
    before.sendall(b"anybody?")
    after = connect()
    assert echo(after, b"hello") == b"hello"
    proxy.resume()
    before.settimeout(0.3)
    with pytest.raises(TimeoutError):
        before.recv(1)
    assert echo(after, b"bye") == b"bye"
