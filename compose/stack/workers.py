"""The workers of a service: processes that do the jobs it has promised.

One that ends by itself is started again, as every orchestrator does: after a pause, which doubles
each time until one has lived for a while. `workers.log` in the run's folder says so.
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

FIRST_PAUSE = 0.5
"""Seconds between the end of a worker and its restart, the first time."""
LONGEST_PAUSE = 30.0
"""And at the most."""
STEADY_SECONDS = 10.0
"""After so long a life the pause is the first one again."""


class Workers:
    """None at first.

    Args:
        run: what they belong to.
        undo: ends them.
        command: a Python module with its arguments; empty where there are no jobs.
        directory: the code.
        settings: gives what one reads from its environment, as it is by now.
    """

    def __init__(
        self,
        run: Run,
        undo: ExitStack,
        command: list[str],
        directory: Path,
        settings: Callable[[], Mapping[str, str]],
    ) -> None:
        self.run = run
        self.undo = undo
        self.command = command
        self.directory = directory
        self.settings = settings
        self.children: list[Child] = []
        self.metrics: list[str] = []
        """Where they tell theirs, if there is a place for traces."""
        self._numbers = count()
        self._lock = Lock()
        self._ended = Event()

    @property
    def log(self) -> Path:
        """What became of workers that ended by themselves."""
        return self.run.directory / "workers.log"

    def start(self) -> None:
        """Start one more; a reader who has none yet fails a claim, not here.

        Raises:
            StackError: it does not come up.
        """
        if not self.command or not _module(self.directory, self.command[0]).is_file():
            return
        environment = dict(self.settings())
        if "OTEL_EXPORTER_OTLP_ENDPOINT" in environment:
            environment["METRICS_PORT"] = str(port := free_port())
            self.metrics.append(f"http://127.0.0.1:{port}/metrics")
        child, log_file = self._serve(environment)
        self.undo.callback(child.stop, signal.SIGTERM)
        child.wait_until(log_file.exists)  # it has read its code and works
        self.children.append(child)
        self.undo.callback(self.end)
        Thread(target=self._keep, args=(child, environment, self._ended), daemon=True).start()

    def end(self, signal_number: int = signal.SIGTERM) -> None:
        """End them all, for good; with SIGKILL, in the middle of whatever they do."""
        with self._lock:
            self._ended.set()
            self._ended = Event()
        for child in self.children:
            child.stop(signal_number)
        self.children.clear()
        self.metrics.clear()

    def _serve(self, environment: Mapping[str, str]) -> tuple[Child, Path]:
        name = f"worker-{next(self._numbers)}"
        log_file = self.run.directory / f"jobs-of-{name}.log"
        settings = {**environment, "LOG_FILE": str(log_file)}
        return self.run.serve(name, self.command, None, settings, self.directory), log_file

    def _keep(self, child: Child, environment: Mapping[str, str], ended: Event) -> None:
        """Start a worker again whenever it has ended, until we end them all."""
        pause, began = FIRST_PAUSE, time.monotonic()
        while not ended.wait(0.1):
            status = child.process.poll()
            if status is None:
                continue
            if time.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            with self.log.open("a") as log:
                print(f"{child.name} ended ({status}). Again in {pause:g} s.", file=log)
            if ended.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE)
            with self._lock:
                if ended.is_set():
                    return
                place, began = self.children.index(child), time.monotonic()
                try:
                    child, _ = self._serve(environment)
                except StackError:
                    return  # the run is over
                self.children[place] = child


def _module(directory: Path, name: str) -> Path:
    return directory.joinpath(*name.split(".")).with_suffix(".py")
