"""Free loopback ports."""

import random
import socket

# Below the kernel's range for outgoing connections: a load of thousands of connections
# cannot borrow the port between our look and the server's bind.
LOWEST, HIGHEST = 20000, 32000


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
    """Choose a loopback port that nobody listens on."""
    while True:
        port = random.randrange(LOWEST, HIGHEST)  # noqa: S311 - any free port will do
        if is_free(port):
            return port
