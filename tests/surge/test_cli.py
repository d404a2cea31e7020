"""The command: what a reader types, what the screen says, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
import pytest
from typer.testing import CliRunner

from stack.checkpoint import find
from stack.errors import StackError
from stack.host.account import Account
from stack.paths import CHECKPOINTS, ROOT
from stack.processes.ports import free_port
from surge import cli
from surge.climb.climb import MAX_PARALLEL
from surge.exercise import progress
from surge.machine.waiting import wait_until
from surge.run import rolling_restart, workspace

SURGE = [sys.executable, "-c", "from surge.cli import main; main()"]
COMMANDS = ["climb", "up", "compare", "load", "diff", "start", "check", "hint", "predict"]
COMMANDS += ["sync", "lab", "roll"]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands with a progress file and a work folder of the test's own."""
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    monkeypatch.setattr(workspace, "WORK", tmp_path / "work")
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    return CliRunner()


def surge(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SURGE, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_help_names_every_command(runner: CliRunner) -> None:
    shown = runner.invoke(cli.app, ["--help"])
    assert shown.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in shown.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(runner: CliRunner, command: str) -> None:
    assert runner.invoke(cli.app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "99"],
        ["up", "nonesuch"],
        ["diff", "01", "x"],
        ["compare", "04", "05", "--workload", "nonesuch"],
        ["check", "05", "--json"],
        ["check", "05", "--reference", "--watch", "--json"],
        ["start", "01"],
        ["load", "01", "--journey", "nonesuch"],
        ["load", "01", "--journey", "surge", "--time", "2"],
    ],
    ids=" ".join,
)
def test_a_mistake_ends_in_a_short_error_and_status_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if (ROOT / "work" / "05").exists() and arguments[0] == "check":
        pytest.skip("you have a version of your own in work/05")
    monkeypatch.setenv("SURGE_POSTGRES_URL", "postgresql://127.0.0.1:1/nobody")
    ended = surge(*arguments)
    assert "SURGE_POSTGRES_URL" not in ended.stderr, "it was noticed only when servers were wanted"
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert 1 <= len(ended.stderr.splitlines()) <= 8  # with the frame around a wrong option


def test_hint_reveals_one_at_a_time_and_ends(runner: CliRunner) -> None:
    hints = find("05").hints
    for number, hint in enumerate(hints, start=1):
        shown = runner.invoke(cli.app, ["hint", "05"]).output
        assert f"Hint {number} of {len(hints)}" in shown
        assert hint.text.split()[0] in shown
    assert runner.invoke(cli.app, ["hint", "05"]).exit_code != 0


def test_start_keeps_an_attempt_and_fresh_sets_it_aside(runner: CliRunner) -> None:
    assert runner.invoke(cli.app, ["start", "05"]).exit_code == 0
    mine = workspace.WORK / "05" / "app" / "main.py"
    mine.write_text("my work")
    assert runner.invoke(cli.app, ["start", "05"]).exit_code != 0
    assert mine.read_text() == "my work"
    assert runner.invoke(cli.app, ["start", "05", "--fresh"]).exit_code == 0
    assert mine.read_text() == (find("04").directory / "app" / "main.py").read_text()
    assert [path.read_text() for path in workspace.WORK.glob("05-*/app/main.py")] == ["my work"]


def test_predict_stores_a_number_and_rejects_a_word(runner: CliRunner) -> None:
    answers = "many\n7\n" + "9\n" * 10
    shown = runner.invoke(cli.app, ["predict", "05"], input=answers)
    assert shown.exit_code == 0
    assert "Error" in shown.output
    kept = json.loads(progress.FILE.read_text())["steps"]["async"]["predictions"]
    assert kept[find("05").predictions[0].truth] == 7


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_up_serves_until_it_is_ended_and_leaves_nothing(ending: signal.Signals) -> None:
    port = free_port()
    command = [*SURGE, "up", "02", "--port", str(port), "--size", "tiny"]
    pipe = subprocess.PIPE
    slow = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(command, env=slow, stdout=pipe, stderr=pipe, text=True) as up:
        try:
            assert up.stdout
            while not (line := up.stdout.readline()).startswith("ready "):
                assert up.poll() is None
            assert line.split()[1] == f"http://127.0.0.1:{port}"
            assert httpx2.get(f"http://127.0.0.1:{port}/products/1").status_code == 200
            assert surge("up", "01", "--port", str(port), "--size", "tiny").returncode == 2
            servers = psutil.Process(up.pid).children(recursive=True)
            assert all("PYTHONDONTWRITEBYTECODE" not in server.environ() for server in servers)
        finally:
            up.send_signal(ending)
        up.wait(30)
    wait_until(lambda: not any(server.is_running() for server in servers), "their ends")


def test_ctrl_c_ends_up_after_the_requests_under_way() -> None:
    slow = {**os.environ, "PARTNERS_LATENCY_MS": "3000"}
    command = [*SURGE, "up", "resilient", "--size", "tiny"]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, cwd=ROOT, env=slow, stdout=pipe, text=True) as up,
        ThreadPoolExecutor(1) as shopper,
    ):
        try:
            assert up.stdout
            url = next(line for line in up.stdout if line.startswith("ready ")).split()[1]
            next(line for line in up.stdout if "Metrics: " in line)
            asked = shopper.submit(httpx2.get, f"{url}/products/7/offers", timeout=30)
            time.sleep(1)
        finally:
            up.send_signal(signal.SIGINT)
        assert asked.result().status_code == 200
        assert up.wait(30) == 0


def test_ctrl_c_ends_a_climb_that_counts_in_parallel(tmp_path: Path) -> None:
    command = [*SURGE, "climb", "--to", "02"]
    with (
        (tmp_path / "said").open("w+") as said,
        subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said) as climb,
    ):
        try:
            while len(servers := services(climb.pid)) < MAX_PARALLEL:
                assert climb.poll() is None
                time.sleep(0.05)
            climb.send_signal(signal.SIGINT)
            assert climb.wait(60) == 130  # its runs alone would go on for longer
        finally:
            climb.kill()
        assert not [server for server in servers if server.is_running()]
        said.seek(0)
        assert "Traceback" not in said.read()


def services(owner: int) -> list[psutil.Process]:
    """The checkpoints' services that a command has started."""
    found = []
    for child in psutil.Process(owner).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if Path(child.cwd()).parent == CHECKPOINTS:
                found.append(child)
    return found


def test_roll_restarts_the_instances_of_an_up_in_turn() -> None:
    command = [*SURGE, "up", "balanced", "--size", "tiny"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout
            url = next(line for line in up.stdout if line.startswith("ready ")).split()[1]
            next(line for line in up.stdout if "surge roll" in line)
            assert surge("roll").returncode == 0
            said = [next(line for line in up.stdout if line.endswith("back\n")) for _ in range(2)]
            assert len(set(said)) == 2
            assert httpx2.get(f"{url}/products/7").status_code == 200
        finally:
            up.send_signal(signal.SIGINT)


def test_roll_without_an_up_is_an_error(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling_restart, "account", lambda: Account({}, tmp_path, tmp_path))
    with pytest.raises(StackError, match="surge up 14"):
        runner.invoke(cli.app, ["roll"], catch_exceptions=False)
