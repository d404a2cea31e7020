"""Workers that end by themselves are started again; those that we end are not."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from steps import write_step

from stack import workers
from stack.checkpoint import Checkpoint
from stack.errors import StackError
from stack.processes.reaper import is_alive, processes_of
from stack.system import System
from surge.machine.waiting import wait_until

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})
"""
WORK = """
import os, signal, sys
from pathlib import Path
Path(os.environ["LOG_FILE"]).touch()
while not Path("poison").exists():
    signal.sigtimedwait([], 0.05)
sys.exit(3)
"""


@pytest.fixture
def step(tmp_path: Path) -> Checkpoint:
    return write_step(tmp_path, "jobs", 'worker = ["work"]\nservices = []', app=APP, work=WORK)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "FIRST_DELAY", 0.1)
    monkeypatch.setattr(workers, "MAX_DELAY", 0.4)


@pytest.fixture
def system(step: Checkpoint) -> Iterator[System]:
    with System(step) as system:
        yield system


def count_alive(system: System) -> int:
    """How many of the run's processes live, as its reaper sees them."""
    return len([process for process in processes_of(system.run.id) if is_alive(process)])


def test_a_worker_that_was_killed_is_followed_by_another(system: System) -> None:
    [first] = system.pids()["worker"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: system.pids()["worker"] != [first], "another worker")
    [second] = system.pids()["worker"]
    assert psutil.pid_exists(second)
    assert system.workers.log.read_text() == "worker-0 ended (-9). Again in 0.1 s.\n"


def test_one_that_ends_at_once_gets_longer_and_longer_pauses(system: System) -> None:
    (system.directory / "poison").touch()

    def pauses() -> list[str]:
        log = system.workers.log
        return re.findall(r"in (\S+) s", log.read_text()) if log.exists() else []

    wait_until(lambda: len(pauses()) >= 5, "five ends")
    assert pauses()[:5] == ["0.1", "0.2", "0.4", "0.4", "0.4"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_those_that_we_end_stay_away(system: System, how: signal.Signals) -> None:
    one_worker = count_alive(system)
    system.workers.start()
    assert count_alive(system) == one_worker + 1
    system.workers.stop(how)
    time.sleep(0.5)  # more than a pause
    assert count_alive(system) == one_worker - 1
    assert "worker" not in system.pids()
    assert not system.workers.log.exists()
    system.workers.start()
    assert count_alive(system) == one_worker


def interrupt(system: System) -> None:
    with system:
        os.kill(system.pids()["worker"][0], signal.SIGKILL)
        wait_until(system.workers.log.exists, "its end to be noticed")
        raise KeyboardInterrupt


def test_none_is_started_when_its_run_is_over(step: Checkpoint) -> None:
    system = System(step)
    with pytest.raises(KeyboardInterrupt):
        interrupt(system)
    time.sleep(0.5)
    assert not processes_of(system.run.id)
    assert not system.run_dir.exists()


def test_nothing_is_started_once_the_run_was_released(system: System) -> None:
    system.run.release()
    with pytest.raises(StackError, match="over"):
        system.run.start("late", ["sleep", "60"])
