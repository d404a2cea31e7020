"""One run: a folder of its own, its child processes, and the keeper that ends them."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from stack.account import Account
from stack.errors import StackError
from stack.keeper import MARK

READY_SECONDS = 60.0
STOP_SECONDS = 10.0


class Child:
    """A server process of a run, with its log."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

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

    def last_words(self, lines: int = 5) -> str:
        """The end of the log, for an error message."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, signal_number: int) -> None:
        """Ask the process to end, wait, then insist."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Run:
    """A folder under `home`, and the children that live and die with it."""

    open: ClassVar[set["Run"]] = set()

    def __init__(self, home: Path, account: Account) -> None:
        self.id = secrets.token_hex(6)
        self.directory = home / "run" / self.id
        self.directory.mkdir(parents=True)
        account.own(self.directory)
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "stack.keeper", self.id, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
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
        """Start a child in a session of its own, so that a Ctrl-C reaches only us."""
        log = self.directory / f"{name}.log"
        with log.open("wb") as output:
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

    def close(self) -> None:
        """End what is left and remove the folder."""
        self._keeper.communicate()
        Run.open.discard(self)


def end_all() -> None:
    """Close every open run; other threads that use one get errors from servers that are gone."""
    for run in list(Run.open):
        run.close()
