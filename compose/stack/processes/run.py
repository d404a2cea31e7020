"""One run: a folder of its own, its child processes, and the keeper that ends them.

The keeper holds a lock on the folder. A folder whose lock is free has lost its keeper, as when the
machine went down: whoever begins a run gives such folders another keeper first, which ends what is
left and removes them.
"""

import fcntl
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import ClassVar

import psutil

from stack.errors import StackError
from stack.host.account import Account
from stack.processes import forks
from stack.processes.keeper import MARK

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
REST = 0.2
"""Seconds without work after which a service has started. CPU time comes in hundredths."""


class Child:
    """A server process of a run, with its log."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes] | forks.Forked, log: Path
    ) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def tree(self) -> list[psutil.Process]:
        """The process and its children, and theirs."""
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def rests(self) -> bool:
        """Whether all of it uses next to no CPU for a moment; one that has no children rests."""
        before = self.tree()
        if len(before) == 1:
            return True
        used = _cpu_seconds(before)
        time.sleep(REST)
        return _cpu_seconds(self.tree()) - used < REST / 10

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Ask `ready` again and again until it says yes.

        Raises:
            StackError: the process ended, or the time is up; with the end of its log.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            if self.process.poll() is not None:
                raise StackError(
                    f"{self.name} ended at start. Its last words:\n{self.last_words()}"
                )
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} was not ready within {READY_SECONDS:.0f} s. Its last words:\n"
                    f"{self.last_words()}"
                )
            time.sleep(0.02)

    def last_words(self) -> str:
        """The end of the log, for an error message; without small talk."""
        said = self.log.read_text(errors="replace").splitlines()
        return "\n".join([line for line in said if line and not line.startswith("INFO:")][-5:])

    def stop(self, signal_number: int) -> None:
        """Ask the process to end, wait, then insist."""
        self.ask_to_end(signal_number)
        self.wait_for_end()

    def ask_to_end(self, signal_number: int) -> None:
        """Send a signal, if the process still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)

    def wait_for_end(self) -> None:
        """Wait, then insist."""
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time of those that are still there."""
    used = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:2])
    return used


class Run:
    """A folder under `home`, and the children that live and die with it."""

    open: ClassVar[set["Run"]] = set()

    def __init__(self, home: Path, account: Account) -> None:
        self.id = secrets.token_hex(6)
        runs = home / "run"
        runs.mkdir(exist_ok=True)
        self.directory = runs / self.id
        self._starting, self._over = RLock(), False
        with _lock(runs):  # a folder that is just being made has no keeper yet, either
            for folder in runs.iterdir():
                # It has a keeper, or that has just removed it.
                with (
                    suppress(BlockingIOError, FileNotFoundError),
                    _lock(folder, fcntl.LOCK_NB) as lock,
                ):
                    _keep(folder, lock, subprocess.DEVNULL).wait()
            self.directory.mkdir()
            with _lock(self.directory) as lock:
                self._keeper = _keep(self.directory, lock, subprocess.PIPE)
        account.own(self.directory)
        Run.open.add(self)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        account: Account | None = None,
    ) -> Child:
        """Start a child in a session of its own, so that a Ctrl-C reaches only us.

        Raises:
            StackError: the run is over.
        """
        log = self.directory / f"{name}.log"
        with self._going_on(), log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=directory or self.directory,
                env={**os.environ, **(environment or {}), MARK: self.id},
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

        The port stands where the command says `{port}`; otherwise it is told as uvicorn is told.

        Raises:
            StackError: the run is over.
        """
        told = [part.replace("{port}", str(port)) for part in command]
        if port and told == [*command]:
            told += ["--host", "127.0.0.1", "--port", str(port)]
        # What Python itself reads from its environment, it reads only once.
        if forks.used and not any(setting.startswith("PYTHON") for setting in environment):
            log = self.directory / f"{name}.log"
            settings = {**os.environ, **environment, MARK: self.id}
            with self._going_on():
                log.touch()
                process = forks.used.start(told, settings, directory or self.directory, log)
            return Child(name, process, log)
        module = [sys.executable, "-m", *told]
        return self.start(name, module, environment=environment, directory=directory)

    def close(self) -> None:
        """End what is left and remove the folder."""
        self.let_go()
        self._keeper.wait()
        Run.open.discard(self)

    def let_go(self) -> None:
        """Tell the keeper that nobody needs the run any more."""
        assert self._keeper.stdin
        with self._starting:
            self._over = True
        self._keeper.stdin.close()

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Meanwhile nobody tells the keeper to act, who would not see a child that comes later."""
        with self._starting:
            if self._over:
                raise StackError("The run is over.")
            yield


@contextmanager
def _lock(folder: Path, how: int = 0) -> Iterator[int]:
    """Hold a folder's lock; a process that inherits the open folder holds it on."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | how)
        yield opened
    finally:
        os.close(opened)


def _keep(folder: Path, lock: int, owner: int) -> subprocess.Popen[bytes]:
    """Start the keeper of a folder; `owner` is the standard input whose end makes it act."""
    return subprocess.Popen(
        [sys.executable, "-m", "stack.processes.keeper", folder.name, str(folder)],
        stdin=owner,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[lock],
    )


def end_all() -> None:
    """Close every open run; other threads that use one get errors from servers that are gone."""
    ending = list(Run.open)
    for run in ending:
        run.let_go()
    for run in ending:
        run.close()
