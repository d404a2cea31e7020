"""The service: its instances, each a process or a tree of processes on a port of its own."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from stack.processes.run import Child, Run
from stack.stubs.client import fetch, port_of


class Service:
    """The instances of a service; none runs at first.

    Args:
        run: the run they belong to.
        command: a Python module with its arguments.
        directory: the code.
        environment: returns the environment variables for an instance that starts now.
    """

    def __init__(
        self,
        run: Run,
        command: Sequence[str],
        directory: Path,
        environment: Callable[[], Mapping[str, str]],
    ) -> None:
        self.run = run
        self.command = command
        self.directory = directory
        self.environment = environment
        self.children: list[Child] = []
        self.urls: list[str] = []

    def start_all(self, ports: Sequence[int]) -> None:
        """Start an instance on each of these ports, and wait until all are ready.

        Raises:
            StackError: one does not come up.
        """
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        for number in range(len(ports)):
            self.children.append(self._serve(number))
        for number in range(len(ports)):
            self._wait_for(number, until_idle=True)

    def stop_all(self) -> list[int]:
        """Stop all instances at once; returns exit statuses, negative if a signal ended it."""
        for child in self.children:
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            child.wait_or_kill()
        return [child.process.wait() for child in self.children]

    def start(self, number: int, *, until_idle: bool = True) -> None:
        """Start an instance that has ended, on the same port.

        Args:
            number: which one.
            until_idle: wait until it is idle, not only ready. If clients already wait for it, it
                might never be.
        """
        self.children[number] = self._serve(number)
        self._wait_for(number, until_idle=until_idle)

    def stop(self, number: int, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop one instance, gracefully or by another signal."""
        self.children[number].stop(how)

    def reset(self) -> None:
        """Stop all instances and forget them, with their logs of requests."""
        self.stop_all()
        for number in range(len(self.children)):
            self.log_file(number).unlink(missing_ok=True)
        self.children.clear()
        self.urls.clear()

    def is_running(self) -> bool:
        """Whether any instance still runs."""
        return any(child.process.poll() is None for child in self.children)

    def wait(self) -> None:
        """Wait until the last instance ends by itself."""
        while self.is_running():
            time.sleep(0.2)

    def processes(self) -> list[psutil.Process]:
        """All processes of all instances."""
        return [process for child in self.children for process in child.tree()]

    def log_file(self, number: int) -> Path:
        """The file in which an instance writes a line for each request."""
        return self.run.directory / f"requests-{number}.log"

    def log(self) -> bytes:
        """The log of requests of all instances; empty if the service logs elsewhere."""
        files = [self.log_file(number) for number in range(len(self.children))]
        return b"".join(file.read_bytes() for file in files if file.exists())

    def output(self) -> str:
        """What the instances have printed so far."""
        return "".join(child.log.read_text(errors="replace") for child in self.children)

    def _serve(self, number: int) -> Child:
        environment = {"LOG_FILE": str(self.log_file(number)), **self.environment()}
        port = port_of(self.urls[number])
        return self.run.serve(f"app-{number}", self.command, port, environment, self.directory)

    def _wait_for(self, number: int, *, until_idle: bool) -> None:
        child, port = self.children[number], port_of(self.urls[number])
        child.wait_until(lambda: fetch(port, "/readyz")[0] == 200)
        if until_idle:  # only one of its processes is known to be ready; the others may still start
            child.wait_until(child.is_idle)
