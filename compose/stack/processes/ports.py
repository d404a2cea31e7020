"""Free loopback ports."""

import os
import random
import socket
from collections import deque

# Below the kernel's range for outgoing connections: a load of thousands of connections
# cannot borrow the port between our look and the server's bind.
LOWEST, HIGHEST = 20000, 32000
KEPT = 128
"""How many ports are kept from others: more than are ever waiting for their servers."""

_claims: deque[int] = deque()


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
    """Choose a loopback port that nobody listens on, and that no other run has just chosen."""
    while True:
        port = random.randrange(LOWEST, HIGHEST)  # noqa: S311 - any free port will do
        if is_free(port) and _claim(port):
            return port


def _claim(port: int) -> bool:
    """Say that this port is taken, before its server does: with the UDP port of the same number.

    The kernel keeps the claim apart from the server's TCP port, and ends it with our process.
    """
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    _claims.append(claim.detach())
    if len(_claims) > KEPT:
        os.close(_claims.popleft())
    return True
