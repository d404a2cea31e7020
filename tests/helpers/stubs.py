"""The stack's stand-ins, each by itself."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from stack.processes.ports import free_port


@contextmanager
def started(module: str) -> Iterator[httpx2.Client]:
    """Start a stand-in as a process, and wait until it answers its client."""
    port = free_port()
    with (
        subprocess.Popen([sys.executable, "-m", module, "--port", str(port)]) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        try:
            while True:
                try:
                    client.get("/stats")
                    break
                except httpx2.ConnectError:
                    time.sleep(0.02)
            yield client
        finally:
            process.terminate()
