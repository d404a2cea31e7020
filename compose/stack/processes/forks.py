"""Services forked from `stack.processes.forkserver`; each is a child like any other."""

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
from stack.processes.keeper import MARK

GONE = "The fork server has ended. What it said last stands above."

used: "ForkServer | None" = None
"""What starts services, while `in_use`."""


class Forked:
    """A child of the fork server; it can be treated like a `subprocess.Popen`."""

    def __init__(self) -> None:
        self.pid = 0
        self.status: int | None = None
        self.started, self._over = Event(), Event()

    def begin(self, pid: int) -> None:
        """Take note that it runs."""
        self.pid = pid
        self.started.set()

    def end(self, status: int) -> None:
        """Take note that it has ended, or never began."""
        self.status = status
        self.started.set()
        self._over.set()

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self.status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        if not self._over.wait(timeout) or self.status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self.status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The owner's end of it; the server itself comes when the first service is asked for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._server: subprocess.Popen[str] | None = None
        self._gone = False
        self._listener = Thread(target=self._listen, daemon=True)
        self._children: dict[str, Forked] = {}

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path
    ) -> Forked:
        """Start a module with its arguments, as `python -m` would; `environment` is all it gets.

        Raises:
            StackError: the fork server has ended.
        """
        name, child = uuid4().hex, Forked()
        order = {
            "name": name,
            "command": command,
            "environment": environment,
            "directory": str(directory),
            "log": str(log),
        }
        with self._lock:
            if not self._server:
                self._begin()
            assert self._server
            assert self._server.stdin
            if self._gone:
                raise StackError(GONE)
            self._children[name] = child
            with suppress(BrokenPipeError):  # the listener is about to hear of it
                print(json.dumps(order), file=self._server.stdin, flush=True)
        child.started.wait()
        if not child.pid:
            raise StackError(GONE)
        return child

    def close(self) -> None:
        """End the server; its children are left to the keepers of their runs."""
        if not self._server:
            return
        assert self._server.stdin
        assert self._server.stdout
        with suppress(BrokenPipeError):
            self._server.stdin.close()
        self._listener.join()
        self._server.stdout.close()
        self._server.wait()

    def _begin(self) -> None:
        # It belongs to no run: who ends a run must not end it.
        environment = {name: value for name, value in os.environ.items() if name != MARK}
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
        assert self._server
        assert self._server.stdout
        for line in self._server.stdout:
            match json.loads(line):
                case {"started": name, "pid": pid}:
                    self._children[name].begin(pid)
                case {"ended": name, "status": status}:
                    self._children.pop(name).end(status)
        with self._lock:
            self._gone = True
        for child in self._children.values():  # nobody will tell how they end
            child.end(-signal.SIGKILL)


def use() -> None:
    """From now on runs start their services by a fork, where that can be done."""
    global used
    used = ForkServer() if sys.platform == "linux" else None


@contextmanager
def in_use() -> Iterator[None]:
    """As long as this lasts, likewise."""
    global used
    before = used
    use()
    try:
        yield
    finally:
        if used:
            used.close()
        used = before
