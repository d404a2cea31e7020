"""However the owner ends, its servers end and its folder goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stack.host import external_postgres
from stack.host.account import account
from stack.processes.ports import free_port
from stack.processes.reaper import processes_of
from stack.processes.run import Run
from surge.machine.waiting import wait_until

OWNER = """
import sys, time
from stack.host.account import account
from stack.processes.run import Run
who = account()
run = Run(who.home, who)
nested = "import subprocess; subprocess.run(['sleep', '600'])"
child = run.start("sleeper", [sys.executable, "-c", nested])
for said in (run.id, run.directory):
    print(said, flush=True)
time.sleep(600)
"""


def owner() -> tuple[subprocess.Popen[str], str, Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    run, directory = [next(process.stdout).strip() for _ in range(2)]
    wait_until(lambda: len(processes_of(run)) == 2, "the child and its own child")
    return process, run, Path(directory)


def wait_until_gone(run: str, directory: Path) -> None:
    wait_until(lambda: not processes_of(run), "the end of its processes")
    wait_until(lambda: not directory.exists(), "the end of its folder")


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGINT", "SIGTERM", "SIGHUP"])
def test_nothing_is_left_after_the_owner_is_ended_by(signal_name: str) -> None:
    process, run, directory = owner()
    with process:
        os.killpg(process.pid, getattr(signal, signal_name))
    wait_until_gone(run, directory)


HELPER = """
import os, sys, time
while os.getppid() == int(sys.argv[1]):
    time.sleep(0.1)
"""
SERVER = f"""
import os, subprocess, sys
command = [sys.executable, "-c", {HELPER!r}, str(os.getpid())]
unmarked = dict(env={{"HELPER": "1"}}, stdout=subprocess.DEVNULL, start_new_session=True)
helper = subprocess.Popen(command, **unmarked)
print(helper.pid, flush=True)
helper.wait()
"""
"""It has a helper without our mark, which ends with its parent, as PostgreSQL's processes do."""
PAUSING_OWNER = f"""
import sys, time
from stack.host.account import account
from stack.processes.pause import paused
from stack.processes.run import Run
who = account()
run = Run(who.home, who)
child = run.start("server", [sys.executable, "-c", {SERVER!r}])
while not (helper := child.log.read_text().strip()):
    time.sleep(0.05)
with paused([child.pid]):
    for said in (run.id, run.directory, helper):
        print(said, flush=True)
    time.sleep(600)
"""


def test_nothing_stays_paused_after_the_owner_is_killed() -> None:
    command = [sys.executable, "-c", PAUSING_OWNER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run, directory, helper = [next(process.stdout).strip() for _ in range(3)]
        assert psutil.Process(int(helper)).status() == psutil.STATUS_STOPPED
        process.kill()
    wait_until_gone(run, Path(directory))
    wait_until(lambda: not psutil.pid_exists(int(helper)), "the end of the helper")


def test_a_run_leaves_other_runs_alone() -> None:
    first, first_run, first_directory = owner()
    second, second_run, second_directory = owner()
    with first:
        first.kill()
    wait_until_gone(first_run, first_directory)
    third, third_run, third_directory = owner()
    with third:
        third.kill()
    wait_until_gone(third_run, third_directory)
    assert len(processes_of(second_run)) == 2
    assert second_directory.exists()
    with second:
        second.kill()
    wait_until_gone(second_run, second_directory)


def reaper_of(process: subprocess.Popen[str]) -> psutil.Process:
    [reaper] = [
        child
        for child in psutil.Process(process.pid).children()
        if "stack.processes.reaper" in child.cmdline()
    ]
    return reaper


def test_the_reaper_itself_ends() -> None:
    process, run, directory = owner()
    reaper = reaper_of(process)
    with process:
        process.kill()
    reaper.wait(30)
    wait_until_gone(run, directory)


def test_the_next_run_cleans_up_if_a_reaper_was_killed_with_its_owner() -> None:
    process, run, directory = owner()
    reaper_of(process).kill()
    with process:
        process.kill()
    assert len(processes_of(run)) == 2
    assert directory.exists()
    second, second_run, second_directory = owner()
    assert not processes_of(run)
    assert not directory.exists()
    with second:
        second.kill()
    wait_until_gone(second_run, second_directory)


def test_a_server_of_your_own_that_has_gone_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(
        external_postgres.URL_VARIABLE, f"postgresql://you@127.0.0.1:{free_port()}/postgres"
    )
    who = account()
    run = Run(who.home, who)
    run.close()
    said = capfd.readouterr().err
    assert said.startswith(f"The database surge_{run.id} may be left behind. SURGE_POSTGRES_URL ")
    assert said.count("\n") == 1
