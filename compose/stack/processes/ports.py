"""Free loopback ports."""

import os
import random
import socket
from collections import deque

# Below the kernel's range for outgoing connections: a load of thousands of connections
# cannot take the port between our check and the server's bind.
LOWEST, HIGHEST = 20000, 32000
MAX_RESERVED = 128
"""How many ports stay reserved: more than ever wait for their servers at the same time."""

_reservations: deque[int] = deque()


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A loopback port that no server listens on, and that no other run has just chosen."""
    while True:
        port = random.randrange(LOWEST, HIGHEST)  # noqa: S311 - any free port will do
        if is_free(port) and _reserve(port):
            return port


def _reserve(port: int) -> bool:
    """Reserve the port for a server to come, by binding the UDP port of the same number.

    UDP and TCP ports are independent, so the server can still bind; and the kernel releases the
    reservation when our process ends.
    """
    reservation = socket.socket(type=socket.SOCK_DGRAM)
    try:
        reservation.bind(("127.0.0.1", port))
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation.detach())
    if len(_reservations) > MAX_RESERVED:
        os.close(_reservations.popleft())
    return True
