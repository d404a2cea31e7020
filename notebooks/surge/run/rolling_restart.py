"""`surge roll`: a terminal asks the `surge up` in another one to restart its instances in turn."""

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

NAME = "rolls.pid"
"""In a run's folder: the process that rolls its instances when it gets SIGUSR1. Not SIGHUP, which
is what a closed terminal sends."""


def serve(system: System, console: Console) -> None:
    """Wait until the service ends by itself, and roll it whenever somebody asks."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGUSR1, ask)
    (system.run_dir / NAME).write_text(str(os.getpid()))
    while system.service.is_running():
        if asked:
            asked = False
            roll(system, console)
        time.sleep(0.2)


def roll(system: System, console: Console) -> None:
    """Restart the instances one by one, and say so."""
    try:
        for number, url in enumerate(system.urls):
            console.print(f"{url}: no new shoppers; restarting")
            system.restart_instance(number)
            console.print(f"{url}: back")
    except StackError as error:  # the others still serve
        console.print(str(error), style="red", markup=False)


def ask_all() -> int:
    """Ask every `surge up` that has a proxy; returns how many there are."""
    asked = 0
    for path in account().home.glob(f"run/*/{NAME}"):
        with suppress(OSError, ValueError, psutil.Error):  # it ends just now
            pid = int(path.read_text())
            # The number may be somebody else's by now, if the folder is all that is left of a run.
            if any(child.ppid() == pid for child in processes_of(path.parent.name)):
                os.kill(pid, signal.SIGUSR1)
                asked += 1
    return asked
