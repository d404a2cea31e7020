"""One run: a folder of its own, its child processes, and the reaper that ends them.

The reaper holds a lock on the folder. If the lock is free, the reaper is gone, as after a power
failure. So each new run first starts another reaper for such folders, which ends the processes
that are left and removes the folder.
"""

import fcntl
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import ClassVar

import psutil

from stack.errors import StackError
from stack.host.account import Account
from stack.host.ext4 import spread
from stack.processes import forks
from stack.processes.reaper import RUN_VARIABLE, SERVER_VARIABLE, processes_of

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
IDLE_SECONDS = 0.2
"""A service that uses no CPU for so long has started. CPU time comes in hundredths."""


class Child:
    """A server process of a run, with its log."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes] | forks.ForkedProcess, log: Path
    ) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def tree(self) -> list[psutil.Process]:
        """The process and all its descendants."""
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def is_idle(self) -> bool:
        """Whether the tree uses next to no CPU for a moment; a single process counts as idle."""
        processes = self.tree()
        if len(processes) == 1:
            return True
        used = _cpu_seconds(processes)
        time.sleep(IDLE_SECONDS)
        return _cpu_seconds(self.tree()) - used < IDLE_SECONDS / 10

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Call `ready` until it returns True.

        Raises:
            StackError: the process ended, or the time is up; with the end of its log.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            if self.process.poll() is not None:
                raise StackError(f"{self.name} ended at start. Its last words:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} was not ready within {READY_SECONDS:.0f} s. Its last words:\n"
                    f"{self.log_tail()}"
                )
            time.sleep(0.02)

    def log_tail(self) -> str:
        """The last five lines of the log, for an error message; without uvicorn's INFO lines."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if line and not line.startswith("INFO:")][-5:])

    def stop(self, signal_number: int) -> None:
        """Send a signal and wait for the process to end; kill it if that takes too long."""
        self.send_signal(signal_number)
        self.wait_or_kill()

    def send_signal(self, signal_number: int) -> None:
        """Send a signal, if the process still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)

    def wait_or_kill(self) -> None:
        """Wait for the process to end; kill it if that takes too long."""
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time of those processes that still run."""
    used = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:2])
    return used


class Run:
    """A folder under `home`, and child processes that end with it."""

    open_runs: ClassVar[set["Run"]] = set()

    def __init__(self, home: Path, account: Account) -> None:
        self.id = secrets.token_hex(6)
        runs = home / "run"
        if not runs.exists():
            runs.mkdir(exist_ok=True)
            spread(runs)
        self.directory = runs / self.id
        self._start_lock, self._is_over = RLock(), False
        with _lock(runs):  # a folder that another run is just making has no reaper yet, either
            for folder in runs.iterdir():
                _clean_up_if_abandoned(folder)
            self.directory.mkdir()
            with _lock(self.directory) as lock:
                self._reaper = _start_reaper(self.directory, lock, subprocess.PIPE)
        account.take_ownership(self.directory)
        Run.open_runs.add(self)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        account: Account | None = None,
    ) -> Child:
        """Start a child in a session of its own, so that a Ctrl-C does not reach it.

        Raises:
            StackError: the run is over.
        """
        log = self.directory / f"{name}.log"
        with self._must_be_open(), log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=directory or self.directory,
                env={**os.environ, **(environment or {}), **self._marks(name)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **(account.popen if account else {}),
            )
        return Child(name, process, log)

    def serve(
        self,
        name: str,
        command: Sequence[str],
        port: int | None,
        environment: Mapping[str, str],
        directory: Path | None = None,
    ) -> Child:
        """Start a Python module with its arguments, on a loopback port if it listens at all.

        `{port}` in the command is replaced by the port. A command without it gets uvicorn's options
        `--host` and `--port`.

        Raises:
            StackError: the run is over.
        """
        arguments = [part.replace("{port}", str(port)) for part in command]
        if port and arguments == [*command]:
            arguments += ["--host", "127.0.0.1", "--port", str(port)]
        if forks.active and forks.can_honour(environment):
            log = self.directory / f"{name}.log"
            full = {**os.environ, **environment, **self._marks(name)}
            with self._must_be_open():
                log.touch()
                process = forks.active.start(arguments, full, directory or self.directory, log)
            return Child(name, process, log)
        module = [sys.executable, "-m", *arguments]
        return self.start(name, module, environment=environment, directory=directory)

    def orphans(self, roots: Collection[int]) -> list[tuple[str, int]]:
        """Processes of the run without a parent in it, with the name of the server of each.

        Their parent has ended, or has let go of them: they are in no tree of ours any more.

        Args:
            roots: the processes that have their parent outside of the run from the beginning.
        """
        members = processes_of(self.id)
        pids = {process.pid for process in members}
        found = []
        for process in members:
            with suppress(psutil.Error):  # it has ended meanwhile
                if process.pid in roots or process.ppid() in pids:
                    continue
                if name := process.environ().get(SERVER_VARIABLE):
                    found.append((name, process.pid))
        return found

    def close(self) -> None:
        """End the children and remove the folder."""
        self.release()
        self._reaper.wait()
        Run.open_runs.discard(self)

    def release(self) -> None:
        """Tell the reaper to act, without waiting for it."""
        assert self._reaper.stdin
        with self._start_lock:
            self._is_over = True
        self._reaper.stdin.close()

    def _marks(self, server: str) -> dict[str, str]:
        """Environment variables by which the run's processes are found again."""
        return {RUN_VARIABLE: self.id, SERVER_VARIABLE: server}

    @contextmanager
    def _must_be_open(self) -> Iterator[None]:
        """Keep the run from ending meanwhile: the reaper would miss a child that starts later."""
        with self._start_lock:
            if self._is_over:
                raise StackError("The run is over.")
            yield


@contextmanager
def _lock(folder: Path, flags: int = 0) -> Iterator[int]:
    """Lock a folder; a process that inherits the file descriptor keeps it locked."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | flags)
        yield opened
    finally:
        os.close(opened)


def _start_reaper(folder: Path, lock: int, stdin: int) -> subprocess.Popen[bytes]:
    """Start the reaper of a folder; it acts when its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "stack.processes.reaper", folder.name, str(folder)],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[lock],
    )


def _clean_up_if_abandoned(folder: Path) -> None:
    """Start another reaper for a folder that has lost its own, and wait until it is done."""
    # Its reaper holds the lock, or has just removed the folder.
    with suppress(BlockingIOError, FileNotFoundError), _lock(folder, fcntl.LOCK_NB) as lock:
        _start_reaper(folder, lock, subprocess.DEVNULL).wait()


def close_all() -> None:
    """Close every open run; threads that still use one get errors from servers that are gone."""
    closing = list(Run.open_runs)
    for run in closing:
        run.release()
    for run in closing:
        run.close()
