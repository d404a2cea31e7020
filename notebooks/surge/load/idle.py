"""An experiment: does nginx hold 100,000 idle connections while it serves hot reads?

    python -m surge.load.idle 100000

Every connection sends one request and stays open. Several processes hold the connections, each from
a loopback address of its own: a process may open only so many files, and an address has only so
many ports. Where the machine's limits are too low, the experiment names them and stops.
"""

import json
import resource
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from stack.checkpoint import find
from stack.errors import StackError
from stack.processes.ports import free_port
from stack.system import System
from surge.load.generator import LoadGenerator
from surge.load.plan import Plan

REQUEST = b"GET /products/7 HTTP/1.1\r\nHost: shop\r\n\r\n"
SPARE = 1_000
"""Files that a process needs for anything else."""
BYTES_EACH = 15_000
"""Memory of a connection in the kernel and in nginx, generously."""


def hold(address: str, port: int, many: int) -> None:
    """Open connections and print how many; after a line of input, print how many are still open."""
    connections = []
    for _ in range(many):
        connection = socket.create_connection(("127.0.0.1", port), 30, (address, 0))
        connection.sendall(REQUEST)
        connections.append(connection)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    print(len(connections), flush=True)
    sys.stdin.readline()
    closed = 0
    for connection in connections:
        connection.setblocking(False)
        with suppress(BlockingIOError):  # nothing to read: it is open
            closed += not connection.recv(65536)
    print(many - closed, flush=True)


def connections_per_process(many: int) -> int:
    """How many of the connections one process may hold.

    Raises:
        StackError: the machine cannot hold them all; the message says why.
    """
    if not sys.platform.startswith("linux"):
        raise StackError("Only Linux has more than one loopback address to begin with.")
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if psutil.virtual_memory().available < many * BYTES_EACH:
        raise StackError(
            f"{many:,} connections may take {many * BYTES_EACH / 1e9:.1f} GB of memory."
        )
    for name, each in (("fs/file-max", 2), ("net/netfilter/nf_conntrack_max", 1)):
        path = Path("/proc/sys", name)
        if path.exists() and int(path.read_text()) < each * many:
            raise StackError(f"{name} is too low for {many:,} connections: {path.read_text()}")
    return min(files, 27_000) - 2 * SPARE  # an address has some 28,000 ports


def experiment(many: int, seconds: float = 5) -> dict[str, object]:
    """Count hot reads without and with idle connections, and the connections open at the end.

    Args:
        many: how many connections.
        seconds: how long the reads go on, each time.
    """
    each, port = connections_per_process(many), free_port()
    holders = -(-many // each)
    settings = {
        "NGINX_LISTEN": f"127.0.0.1:{port} reuseport",  # so all workers get as many
        "NGINX_WORKERS": str(holders + 1),
        "NGINX_CONNECTIONS": str(each + SPARE),
        "NGINX_OPEN_FILES": str(each + 2 * SPARE),
        "NGINX_IDLE": "600s",
    }
    command = [sys.executable, "-m", "surge.load.idle"]
    system = System(find("14"), size="tiny", port=port, environment=settings)
    with system as running, LoadGenerator() as generator:
        plan = Plan([running.url], "hot", connections=16, seconds=seconds, size="tiny")
        found: dict[str, object] = {"reads alone": generator.run(plan).good}
        processes = [
            subprocess.Popen(
                [*command, f"127.0.1.{n}", str(port), str(-(-many // holders))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(1, holders + 1)
        ]
        opened = 0
        for process in processes:
            assert process.stdout
            opened += int(process.stdout.readline())
        found["opened"] = opened
        with_them = generator.run(plan)
        found |= {"reads with them": with_them.good, "errors": with_them.errors}
        found["still open"] = sum(int(process.communicate("\n")[0]) for process in processes)
    return found


if __name__ == "__main__":
    if len(sys.argv) == 4:
        hold(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        try:
            print(json.dumps(experiment(int(sys.argv[1])), indent=2))
        except StackError as error:
            sys.exit(str(error))
