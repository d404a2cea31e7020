"""The keeper: ends a run's processes and removes its folder when their owner is gone.

The owner holds the write end of the keeper's standard input. However the owner ends (return,
exception, Ctrl-C, `kill -9`, closed terminal), the kernel closes that pipe, and the keeper acts.
It finds the processes by a mark in their environment, so there is no moment in which a child
exists and nobody knows of it. nginx writes its title over its environment; there is no other with
an empty one in the run's folder. What was forked has the environment of its fork server there; its
output goes to the run's folder.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "SURGE_RUN"
INSISTENCE = {signal.SIGTERM: 0.5, signal.SIGINT: 4.5, signal.SIGKILL: 5.0}
"""How to ask, and for how long to wait. Our servers wait for requests or clients when they are
asked to end; asked once more by SIGINT they do not."""


def marked(run: str) -> list[psutil.Process]:
    """The processes whose environment carries this run's mark, or did."""
    found = []
    for process in psutil.process_iter():
        try:
            if belongs(process, run):
                found.append(process)
        except psutil.Error:
            continue  # ended meanwhile, or somebody else's
    return found


def belongs(process: psutil.Process, run: str) -> bool:
    """Whether a process carries this run's mark, or did."""
    try:
        environment = process.environ()
    except psutil.AccessDenied:
        # Root in a container may not look into PostgreSQL, which is nobody's; its data is ours.
        return any(part.endswith(f"/{run}/data") for part in process.cmdline())
    if MARK in environment:
        return environment[MARK] == run
    return Path(process.cwd()).name == run if not environment else _writes_to(process.pid, run)


def _writes_to(pid: int, run: str) -> bool:
    """Whether a process's standard output is a file in the run's folder (Linux only)."""
    with suppress(OSError):  # it has ended, or is somebody else's
        return Path(f"/proc/{pid}/fd/1").readlink().parent.name == run
    return False


def end(processes: list[psutil.Process]) -> None:
    """Ask the processes to end, then insist."""
    for signal_number, patience in INSISTENCE.items():
        for process in processes:
            try:
                process.send_signal(signal_number)
            except psutil.Error:
                continue
        deadline = time.monotonic() + patience
        while (processes := list(filter(lives, processes))) and time.monotonic() < deadline:
            time.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    """Whether a process still runs; one whose owner only has to take note of its end does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Wait for the owner to go, then clean up after it."""
    # A closed terminal or a group-wide Ctrl-C must not end the one who cleans up.
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    run, folder = sys.argv[1:]
    os.chdir("/")
    sys.stdin.buffer.read()
    while survivors := marked(run):
        end(survivors)
    shutil.rmtree(Path(folder), ignore_errors=True)
    if url := os.environ.get("SURGE_POSTGRES_URL"):
        from stack.errors import StackError
        from stack.host import attached  # only here: the usual keeper stays small

        try:
            attached.drop(url, run)
        except StackError as error:
            sys.exit(f"The database surge_{run} may be left behind. {error}")


if __name__ == "__main__":
    main()
