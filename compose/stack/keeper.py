"""The keeper: ends a run's processes and removes its folder when their owner is gone.

The owner holds the write end of the keeper's standard input. However the owner ends (return,
exception, Ctrl-C, `kill -9`, closed terminal), the kernel closes that pipe, and the keeper acts.
It finds the processes by a mark in their environment, so there is no moment in which a child
exists and nobody knows of it.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import psutil

MARK = "SURGE_RUN"
GRACE_SECONDS = 5.0


def marked(run: str) -> list[psutil.Process]:
    """The processes whose environment carries this run's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == run:
                found.append(process)
        except psutil.Error:
            continue  # ended meanwhile, or somebody else's
    return found


def end(processes: list[psutil.Process]) -> None:
    """Ask the processes to end, then insist."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            try:
                process.send_signal(signal_number)
            except psutil.Error:
                continue
        _, processes = psutil.wait_procs(processes, timeout=GRACE_SECONDS)


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
        from stack import attached  # only here: the usual keeper stays small

        attached.drop(url, run)


if __name__ == "__main__":
    main()
