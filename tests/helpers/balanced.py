"""What the tests of nginx and the instances behind it share."""

import json
import socket
import ssl
import time
from contextlib import suppress
from itertools import count

import httpx2
from steps import introduced_in

from stack.system import System
from surge.machine.waiting import wait_until

BALANCED = introduced_in("balanced")

NUMBERS = count()


def reached(system: System, path: str) -> int:
    """How many requests for a path have reached an instance.

    Their logs are written in batches: when there is a line of a request that came after, all are.
    """
    last = f"/last/{next(NUMBERS)}"
    for url in system.urls:
        assert httpx2.get(url + last, timeout=30).status_code == 404
    wait_until(
        lambda: system.service.log().count(last.encode()) == len(system.urls), "the last lines"
    )
    lines = [json.loads(line) for line in system.service.log().splitlines()]
    return sum(line.get("path") == path for line in lines)


def talk(port: int, *pieces: bytes, pause: float = 0.0, tls: bool = False) -> bytes:
    """Send some bytes, and give what comes back until the other side hangs up."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        connection = plain
        if tls:
            anybody = ssl.create_default_context()
            anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
            connection = anybody.wrap_socket(plain)
        with connection, suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while some := connection.recv(65536):
                said += some
    return said


def problem(said: bytes) -> int:
    """The status of an answer that must be a problem with a cure."""
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, said
    found = json.loads(body)
    assert int(head.split()[1]) == found["status"]
    assert found.keys() >= {"type", "title", "detail"} and len(found["detail"].split()) > 4
    status: int = found["status"]
    return status
