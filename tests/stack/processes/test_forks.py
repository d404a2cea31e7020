"""A forked service sees what a started one sees, and ends like one."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack.errors import StackError
from stack.host.account import account
from stack.processes import forks
from stack.processes.ports import free_port
from stack.processes.reaper import SERVER_VARIABLE, is_alive, processes_of
from stack.processes.run import Child, Run
from surge.machine.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux alone")

ABOUT_ITSELF = """
import json, os, signal, sys
about = {
    "name": __name__,
    "package": __spec__.name,
    "arguments": sys.argv,
    "path": sys.path,
    "directory": os.getcwd(),
    "environment": dict(os.environ),
    "leads its session": os.getsid(0) == os.getpid(),
    "open": sorted(os.listdir("/proc/self/fd"))[:-1],  # but for the list itself
    "input": sys.stdin.read(),
    "signals": {name.name: str(signal.getsignal(name)) for name in signal.Signals},
    "main": sys.modules["__main__"].__dict__ is globals(),
}
print(json.dumps(about), flush=True)
"""
OWNER = """
import sys, time
from pathlib import Path
import psutil
from stack.processes import forks
from stack.host.account import account
from stack.processes.run import Run
who = account()
run = Run(who.home, who)
forks.enable()
child = run.serve("sleeper", ["sleeper"], None, {}, Path(sys.argv[1]))
while not child.log.stat().st_size:
    time.sleep(0.01)
for said in (run.id, run.directory, child.pid, psutil.Process(child.pid).ppid()):
    print(said, flush=True)
time.sleep(600)
"""


@pytest.fixture
def run() -> Iterator[Run]:
    who = account()
    one = Run(who.home, who)
    yield one
    one.close()


def module(folder: Path, name: str, code: str) -> Path:
    (folder / f"{name}.py").write_text(code)
    return folder


def about(child: Child) -> Any:
    assert child.process.wait(30) == 0, child.log.read_text()
    told = json.loads(child.log.read_text())
    told["arguments"][0] = Path(told["arguments"][0]).stem
    assert told["environment"].pop(SERVER_VARIABLE) == child.name
    return told


def test_a_forked_service_sees_what_a_started_one_sees(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, settings = module(tmp_path, "about", ABOUT_ITSELF), {"COLOUR": "blue"}
    command = ["about", "--port", "{port}"]
    forked = run.serve("forked", command, 9, settings, folder)
    assert isinstance(forked.process, forks.ForkedProcess)
    monkeypatch.setattr(forks, "active", None)
    started = run.serve("started", command, 9, settings, folder)
    assert isinstance(started.process, subprocess.Popen)
    assert about(forked) == about(started)


def test_a_fork_customizes_itself_as_a_start_does(run: Run, tmp_path: Path) -> None:
    folder = module(tmp_path, "about", ABOUT_ITSELF)
    (tmp_path / "other").mkdir()
    module(tmp_path / "other", "sitecustomize", "import os; os.environ['CUSTOMIZED'] = 'yes'")
    environment = {"PYTHONPATH": str(tmp_path / "other"), "PYTHONASYNCIODEBUG": "1"}
    with forks.enabled():
        forked = run.serve("forked", ["about"], None, environment, folder)
        assert not isinstance(forked.process, subprocess.Popen)
        assert about(forked)["environment"]["CUSTOMIZED"] == "yes"


def test_settings_of_python_itself_need_a_start(run: Run, tmp_path: Path) -> None:
    folder = module(tmp_path, "about", ABOUT_ITSELF)
    child = run.serve("started", ["about"], None, {"PYTHONHASHSEED": "1"}, folder)
    assert isinstance(child.process, subprocess.Popen)
    assert about(child)["environment"]["PYTHONHASHSEED"] == "1"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('no')", 1),
        ("1 / 0", 1),
        ("import os; os.kill(os.getpid(), 15)", -15),
        ("import atexit; atexit.register(print, 'bye')", 0),
    ],
)
def test_a_forked_service_ends_with_its_own_status(
    run: Run, tmp_path: Path, code: str, status: int
) -> None:
    child = run.serve("ending", ["ending"], None, {}, module(tmp_path, "ending", code))
    assert child.process.wait(30) == status
    assert child.process.poll() == status
    assert ("ZeroDivisionError" in child.log.read_text()) == ("1 / 0" in code)
    assert ("bye" in child.log.read_text()) == ("bye" in code)


def test_a_forked_service_can_be_stopped_and_waited_for(run: Run, tmp_path: Path) -> None:
    folder = module(tmp_path, "sleeper", "import time; time.sleep(600)")
    child = run.serve("sleeper", ["sleeper"], None, {}, folder)
    assert child.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        child.process.wait(0.1)
    child.stop(signal.SIGKILL)
    assert child.process.poll() == -signal.SIGKILL
    child.process.send_signal(signal.SIGTERM)  # has no effect any more


def test_worker_processes_of_uvicorn_are_forked_too(run: Run, tmp_path: Path) -> None:
    folder = module(tmp_path, "shop", "async def app(scope, receive, send): pass")
    child = run.serve("uvicorn", ["uvicorn", "shop:app", "--workers=2"], free_port(), {}, folder)
    child.wait_until(lambda: len(child.tree()) == 3)
    members = child.tree()
    assert {member.cmdline()[-1] for member in members} == {"stack.processes.forkserver"}
    child.stop(signal.SIGTERM)
    assert not any(map(is_alive, members))


def test_forks_have_different_random_numbers(run: Run, tmp_path: Path) -> None:
    folder = module(tmp_path, "dice", "import random; print(random.random())")
    children = [run.serve(name, ["dice"], None, {}, folder) for name in ("one", "other")]
    assert [child.process.wait(30) for child in children] == [0, 0]
    assert len({child.log.read_text() for child in children}) == 2


def test_a_fork_server_that_has_ended_is_one_line_at_once(run: Run, tmp_path: Path) -> None:
    folder = module(tmp_path, "sleeper", "import time; time.sleep(600)")
    with forks.enabled():
        child = run.serve("sleeper", ["sleeper"], None, {}, folder)
        psutil.Process(psutil.Process(child.pid).ppid()).kill()
        assert child.process.wait(30) == -signal.SIGKILL
        for _ in range(2):
            with pytest.raises(StackError, match="fork server has ended"):
                run.serve("another", ["sleeper"], None, {}, folder)


def test_nothing_is_left_when_the_owner_is_killed(tmp_path: Path) -> None:
    folder = module(tmp_path, "sleeper", "import time; print(1, flush=True); time.sleep(600)")
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as owner:
        try:
            assert owner.stdout
            run, directory, child, server = [next(owner.stdout).strip() for _ in range(4)]
            assert psutil.Process(int(server)).cmdline()[-1] == "stack.processes.forkserver"
            assert [process.pid for process in processes_of(run)] == [int(child)]
            both = [psutil.Process(int(pid)) for pid in (child, server)]
        finally:
            owner.kill()
    wait_until(lambda: not any(map(is_alive, both)), "their ends")
    wait_until(lambda: not Path(directory).exists(), "the end of the run's folder")
