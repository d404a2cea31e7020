"""The workers of a service: processes that do the jobs it has promised."""

import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from stack.ports import free_port
from stack.run import Child, Run


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

    def start(self) -> None:
        """Start one more; a reader who has none yet fails a claim, not here.

        Raises:
            StackError: it does not come up.
        """
        if not self.command or not _module(self.directory, self.command[0]).is_file():
            return
        name = f"worker-{next(self._numbers)}"
        log_file = self.run.directory / f"jobs-of-{name}.log"
        environment = {**self.settings(), "LOG_FILE": str(log_file)}
        if "OTEL_EXPORTER_OTLP_ENDPOINT" in environment:
            environment["METRICS_PORT"] = str(port := free_port())
            self.metrics.append(f"http://127.0.0.1:{port}/metrics")
        child = self.run.serve(name, self.command, None, environment, self.directory)
        self.undo.callback(child.stop, signal.SIGTERM)
        child.wait_until(log_file.exists)  # it has read its code and works
        self.children.append(child)

    def end(self, signal_number: int = signal.SIGTERM) -> None:
        """End them all; with SIGKILL, in the middle of whatever they do."""
        for child in self.children:
            child.stop(signal_number)
        self.children.clear()
        self.metrics.clear()


def _module(directory: Path, name: str) -> Path:
    return directory.joinpath(*name.split(".")).with_suffix(".py")
