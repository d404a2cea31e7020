"""Starts services through `stack.processes.forkserver`; each is a child like any other."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from uuid import uuid4

from stack.errors import StackError
from stack.processes.reaper import RUN_VARIABLE

SERVER_ENDED = "The fork server has ended. What it said last stands above."
HONOURED = frozenset({"PYTHONPATH", "PYTHONASYNCIODEBUG"})
"""Python's own settings that work in a fork: of these the server takes care, and asyncio asks for
them whenever it makes a loop. The others are read when Python starts."""

active: "ForkServerClient | None" = None
"""Starts the services of all runs, while forks are `enabled`."""


class ForkedProcess:
    """A child of the fork server, with the methods of a `subprocess.Popen` that we use."""

    def __init__(self) -> None:
        self.pid = 0
        self.status: int | None = None
        self.started, self._ended = Event(), Event()

    def set_started(self, pid: int) -> None:
        """Record that the process runs."""
        self.pid = pid
        self.started.set()

    def set_ended(self, status: int) -> None:
        """Record that the process has ended, or could not start."""
        self.status = status
        self.started.set()
        self._ended.set()

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self.status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        if not self._ended.wait(timeout) or self.status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self.status

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)


class ForkServerClient:
    """The owner's end of the pipes; the fork server itself starts with the first service."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._server: subprocess.Popen[str] | None = None
        self._server_ended = False
        self._listener = Thread(target=self._listen, daemon=True)
        self._children: dict[str, ForkedProcess] = {}

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path
    ) -> ForkedProcess:
        """Start a module with its arguments, as `python -m` would; `environment` is all it gets.

        Raises:
            StackError: the fork server has ended.
        """
        name, child = uuid4().hex, ForkedProcess()
        request = {
            "name": name,
            "command": command,
            "environment": environment,
            "directory": str(directory),
            "log": str(log),
        }
        with self._lock:
            if not self._server:
                self._start_server()
            assert self._server
            assert self._server.stdin
            if self._server_ended:
                raise StackError(SERVER_ENDED)
            self._children[name] = child
            with suppress(BrokenPipeError):  # then the listener soon ends, and the child with it
                print(json.dumps(request), file=self._server.stdin, flush=True)
        child.started.wait()
        if not child.pid:
            raise StackError(SERVER_ENDED)
        return child

    def close(self) -> None:
        """End the server; its children are left to the reapers of their runs."""
        if not self._server:
            return
        assert self._server.stdin
        assert self._server.stdout
        with suppress(BrokenPipeError):
            self._server.stdin.close()
        self._listener.join()
        self._server.stdout.close()
        self._server.wait()

    def _start_server(self) -> None:
        # It serves many runs and belongs to none: a run's reaper must not end it.
        environment = {name: value for name, value in os.environ.items() if name != RUN_VARIABLE}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "stack.processes.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self._listener.start()

    def _listen(self) -> None:
        """Record what the server reports, until it ends."""
        assert self._server
        assert self._server.stdout
        for line in self._server.stdout:
            match json.loads(line):
                case {"started": name, "pid": pid}:
                    self._children[name].set_started(pid)
                case {"ended": name, "status": status}:
                    self._children.pop(name).set_ended(status)
        with self._lock:
            self._server_ended = True
        for child in self._children.values():  # their exit statuses are lost
            child.set_ended(-signal.SIGKILL)


def can_honour(environment: Mapping[str, str]) -> bool:
    """Whether a fork would do what all these settings say."""
    return {name for name in environment if name.startswith("PYTHON")} <= HONOURED


def enable() -> None:
    """From now on, runs start their services by forks, where that is possible."""
    global active
    active = ForkServerClient() if sys.platform == "linux" else None


@contextmanager
def enabled() -> Iterator[None]:
    """Within this context, runs start their services by forks, where that is possible."""
    global active
    outer = active
    enable()
    try:
        yield
    finally:
        if active:
            active.close()
        active = outer
