"""An experiment: does nginx hold 100,000 idle connections while it serves hot reads?

    python -m surge.load.idle 100000

Every connection asks once and stays. Holders are processes, each with a loopback address of its
own: a process may open only so many files, and an address has only so many ports. What the machine
does not allow is said, not worked around.
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
from surge.load.generator import Probe
from surge.load.plan import Plan

REQUEST = b"GET /products/7 HTTP/1.1\r\nHost: shop\r\n\r\n"
SPARE = 1_000
"""Files that a process needs for other things."""
BYTES = 15_000
"""What a connection takes in the kernel and in nginx, generously."""


def hold(address: str, port: int, many: int) -> None:
    """Open connections, say so, wait for a word, then say how many are still open."""
    held = []
    for _ in range(many):
        one = socket.create_connection(("127.0.0.1", port), 30, (address, 0))
        one.sendall(REQUEST)
        held.append(one)
        assert one.recv(65536).startswith(b"HTTP/1.1 200")
    print(len(held), flush=True)
    sys.stdin.readline()
    ended = 0
    for one in held:
        one.setblocking(False)
        with suppress(BlockingIOError):  # nothing to be read: it is open
            ended += not one.recv(65536)
    print(many - ended, flush=True)


def room(many: int) -> int:
    """How many of the connections a process may hold.

    Raises:
        StackError: the machine cannot hold them all, and why.
    """
    if not sys.platform.startswith("linux"):
        raise StackError("Only Linux has more than one loopback address to begin with.")
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if psutil.virtual_memory().available < many * BYTES:
        raise StackError(f"{many:,} connections may take {many * BYTES / 1e9:.1f} GB of memory.")
    for name, each in (("fs/file-max", 2), ("net/netfilter/nf_conntrack_max", 1)):
        path = Path("/proc/sys", name)
        if path.exists() and int(path.read_text()) < each * many:
            raise StackError(f"{name} is too low for {many:,} connections: {path.read_text()}")
    return min(files, 27_000) - 2 * SPARE  # an address has some 28,000 ports


def experiment(many: int, seconds: float = 5) -> dict[str, object]:
    """Count hot reads without and with the connections, and how many of these survive it.

    Args:
        many: how many connections.
        seconds: how long the reads go on, each time.
    """
    each, port = room(many), free_port()
    holders = -(-many // each)
    settings = {
        "NGINX_LISTEN": f"127.0.0.1:{port} reuseport",  # workers share alike
        "NGINX_WORKERS": str(holders + 1),
        "NGINX_CONNECTIONS": str(each + SPARE),
        "NGINX_OPEN_FILES": str(each + 2 * SPARE),
        "NGINX_IDLE": "600s",
    }
    command = [sys.executable, "-m", "surge.load.idle"]
    with System(find("13"), size="tiny", port=port, environment=settings) as up, Probe() as probe:
        plan = Plan([up.url], "hot", connections=16, seconds=seconds, size="tiny")
        found: dict[str, object] = {"reads alone": probe.run(plan).good}
        pipes = [
            subprocess.Popen(
                [*command, f"127.0.1.{n}", str(port), str(-(-many // holders))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(1, holders + 1)
        ]
        opened = 0
        for one in pipes:
            assert one.stdout
            opened += int(one.stdout.readline())
        found["opened"] = opened
        with_them = probe.run(plan)
        found |= {"reads with them": with_them.good, "errors": with_them.errors}
        found["still open"] = sum(int(one.communicate("\n")[0]) for one in pipes)
    return found


if __name__ == "__main__":
    if len(sys.argv) == 4:
        hold(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        try:
            print(json.dumps(experiment(int(sys.argv[1])), indent=2))
        except StackError as error:
            sys.exit(str(error))
