"""The workers of a service: processes that do the jobs it has queued.

A worker that ends by itself is started again, as every orchestrator does: after a delay, which
doubles each time until a worker has run for a while (exponential backoff). `workers.log` in the
run's folder has a line about each.
"""

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from threading import Event, Lock, Thread

from stack.errors import StackError
from stack.processes.ports import free_port
from stack.processes.run import Child, Run

FIRST_DELAY = 0.5
"""Seconds between the end of a worker and its first restart."""
MAX_DELAY = 30.0
"""The longest delay, in seconds."""
STEADY_SECONDS = 10.0
"""After a worker has run for so long, the delay is the first one again."""


class Workers:
    """The workers of a service; none runs at first.

    Args:
        run: the run they belong to.
        cleanup: gets a callback for each, which stops it.
        command: a Python module with its arguments; empty if there are no jobs.
        directory: the code.
        environment: returns the environment variables for a worker that starts now.
    """

    def __init__(
        self,
        run: Run,
        cleanup: ExitStack,
        command: list[str],
        directory: Path,
        environment: Callable[[], Mapping[str, str]],
    ) -> None:
        self.run = run
        self.cleanup = cleanup
        self.command = command
        self.directory = directory
        self.environment = environment
        self.children: list[Child] = []
        self.metrics: list[str] = []
        """The URLs of their metrics, which they serve if there is a trace receiver."""
        self._numbers = count()
        self._lock = Lock()
        self._stopped = Event()

    @property
    def log(self) -> Path:
        """The log of restarts: a line for each worker that ended by itself."""
        return self.run.directory / "workers.log"

    def start(self) -> None:
        """Start one more, if the code has a worker yet; if not, a claim fails later.

        Raises:
            StackError: it does not come up.
        """
        if not self.command or not _module_path(self.directory, self.command[0]).is_file():
            return
        environment = dict(self.environment())
        if "OTEL_EXPORTER_OTLP_ENDPOINT" in environment:
            port = free_port()
            environment["METRICS_PORT"] = str(port)
            self.metrics.append(f"http://127.0.0.1:{port}/metrics")
        child, log_file = self._serve(environment)
        self.cleanup.callback(child.stop, signal.SIGTERM)
        child.wait_until(log_file.exists)  # then its code is imported, and it works
        self.children.append(child)
        self.cleanup.callback(self.stop)
        Thread(
            target=self._supervise, args=(child, environment, self._stopped), daemon=True
        ).start()

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Stop all workers, for good; SIGKILL ends them in the middle of a job."""
        with self._lock:
            self._stopped.set()
            self._stopped = Event()
        for child in self.children:
            child.stop(signal_number)
        self.children.clear()
        self.metrics.clear()

    def _serve(self, environment: Mapping[str, str]) -> tuple[Child, Path]:
        name = f"worker-{next(self._numbers)}"
        log_file = self.run.directory / f"jobs-of-{name}.log"
        full = {**environment, "LOG_FILE": str(log_file)}
        return self.run.serve(name, self.command, None, full, self.directory), log_file

    def _supervise(self, child: Child, environment: Mapping[str, str], stopped: Event) -> None:
        """Start a worker again whenever it has ended, until all are stopped."""
        delay, started = FIRST_DELAY, time.monotonic()
        while not stopped.wait(0.1):
            status = child.process.poll()
            if status is None:
                continue
            if time.monotonic() - started > STEADY_SECONDS:
                delay = FIRST_DELAY
            with self.log.open("a") as log:
                print(f"{child.name} ended ({status}). Again in {delay:g} s.", file=log)
            if stopped.wait(delay):
                return
            delay = min(2 * delay, MAX_DELAY)
            with self._lock:
                if stopped.is_set():
                    return
                index, started = self.children.index(child), time.monotonic()
                try:
                    child, _ = self._serve(environment)
                except StackError:
                    return  # the run is over
                self.children[index] = child


def _module_path(directory: Path, name: str) -> Path:
    return directory.joinpath(*name.split(".")).with_suffix(".py")
