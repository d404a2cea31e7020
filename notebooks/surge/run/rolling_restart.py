"""`surge roll`: has the `surge up` in another terminal restart its instances one by one."""

import os
import signal
import time
from contextlib import suppress

import psutil
from rich.console import Console

from stack.errors import StackError
from stack.host.account import account
from stack.processes.reaper import processes_of
from stack.system import System

PID_FILE = "rolls.pid"
"""Holds, in a run's folder, the id of the process that restarts the instances on SIGUSR1. Not on
SIGHUP: a terminal that is closed sends that."""


def serve_until_exit(system: System, console: Console) -> None:
    """Wait until the service ends by itself; restart its instances on every SIGUSR1."""
    requested = False

    def request(*_: object) -> None:
        nonlocal requested
        requested = True

    signal.signal(signal.SIGUSR1, request)
    (system.run_dir / PID_FILE).write_text(str(os.getpid()))
    while system.service.is_running():
        if requested:
            requested = False
            restart_instances(system, console)
        time.sleep(0.2)


def restart_instances(system: System, console: Console) -> None:
    """Restart the instances one by one, and print how it goes."""
    try:
        for number, url in enumerate(system.urls):
            console.print(f"{url}: no new shoppers; restarting")
            system.restart_instance(number)
            console.print(f"{url}: back")
    except StackError as error:  # the other instances still serve
        console.print(str(error), style="red", markup=False)


def request_restarts() -> int:
    """Send the signal to every `surge up` that has a proxy; returns how many there are."""
    sent = 0
    for path in account().home.glob(f"run/*/{PID_FILE}"):
        with suppress(OSError, ValueError, psutil.Error):  # the run ends at this moment
            pid = int(path.read_text())
            # If only the folder is left of a run, its process id may be another program's by now.
            if any(child.ppid() == pid for child in processes_of(path.parent.name)):
                os.kill(pid, signal.SIGUSR1)
                sent += 1
    return sent
