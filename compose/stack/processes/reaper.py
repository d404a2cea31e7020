"""The reaper: ends a run's processes and removes its folder once their owner is gone.

The owner holds the write end of the reaper's standard input. However the owner ends (return,
exception, Ctrl-C, `kill -9`, closed terminal), the kernel closes that pipe, and the reaper acts.
It finds the processes by a variable in their environment, which they have from their first moment:
no process can escape by starting just before the owner ends. There are two exceptions. nginx
overwrites its environment with its process title; it is the only process in the run's folder with
an empty one. A forked service shows the environment of its fork server; its output goes to a file
in the run's folder.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from stack.processes.pause import resume

RUN_VARIABLE = "SURGE_RUN"
"""The environment variable that names the run a process belongs to."""
SERVER_VARIABLE = "SURGE_SERVER"
"""The environment variable that names the server of the run that it belongs to."""

ESCALATION = {signal.SIGTERM: 0.5, signal.SIGINT: 4.5, signal.SIGKILL: 5.0}
"""Signals in the order in which they are sent, and seconds to wait after each. On SIGTERM our
servers wait for open requests or clients; on a SIGINT after that they do not."""


def processes_of(run: str) -> list[psutil.Process]:
    """The processes that belong to a run."""
    found = []
    for process in psutil.process_iter():
        try:
            if belongs_to(process, run):
                found.append(process)
        except psutil.Error:
            continue  # it has ended meanwhile, or is another user's
    return found


def belongs_to(process: psutil.Process, run: str) -> bool:
    """Whether a process belongs to a run."""
    try:
        environment = process.environ()
    except psutil.AccessDenied:
        # In a container, root may not inspect PostgreSQL, which runs as `nobody`; its data is ours.
        return any(part.endswith(f"/{run}/data") for part in process.cmdline())
    if RUN_VARIABLE in environment:
        return environment[RUN_VARIABLE] == run
    if not environment:
        return Path(process.cwd()).name == run
    return _writes_to(process.pid, run)


def _writes_to(pid: int, run: str) -> bool:
    """Whether a process's standard output is a file in the run's folder (Linux only)."""
    with suppress(OSError):  # it has ended, or is another user's
        return Path(f"/proc/{pid}/fd/1").readlink().parent.name == run
    return False


def terminate(processes: list[psutil.Process]) -> None:
    """End processes, with a stronger signal each time some are left."""
    for signal_number, seconds in ESCALATION.items():
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(signal_number)
        deadline = time.monotonic() + seconds
        while processes and time.monotonic() < deadline:
            time.sleep(0.02)
            processes = [process for process in processes if is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs. A zombie, whose parent has not waited for it, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Wait until the owner is gone, then clean up after it."""
    # A closed terminal or a Ctrl-C to the whole group must not end the reaper.
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    run, folder = sys.argv[1:]
    os.chdir("/")
    sys.stdin.buffer.read()
    while survivors := processes_of(run):
        resume(process.pid for process in survivors)
        terminate(survivors)
    shutil.rmtree(Path(folder), ignore_errors=True)
    if url := os.environ.get("SURGE_POSTGRES_URL"):
        from stack.errors import StackError
        from stack.host import external_postgres  # imported late: usually the reaper stays small

        try:
            external_postgres.drop(url, run)
        except StackError as error:
            sys.exit(f"The database surge_{run} may be left behind. {error}")


if __name__ == "__main__":
    main()
