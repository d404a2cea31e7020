"""CPU time by tier: all of a tier's processes count, the dead ones too, and no others."""

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from surge.machine import cpu_time, process_time
from surge.machine.waiting import wait_until

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
FOREVER = "import threading\ndef burn():\n    while True: pass\n" + (
    "threading.Thread(target=burn, daemon=True).start()"
)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not record reaped children")


@contextmanager
def python(code: str) -> Iterator[int]:
    """Run code until it has printed a line; it ends when the test lets go."""
    process = subprocess.Popen(
        [sys.executable, "-c", code + "\nprint(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.communicate(b"\n")


def test_cpu_time_of_a_process_is_in_its_tier() -> None:
    with python(BURN.format(seconds=0.5)) as busy, python("") as idle:
        tiers = cpu_time.read({"app": [busy], "cache": [idle]}).tiers
    assert tiers["app"] >= 0.5
    assert tiers["cache"] < 0.5


PARENT = f"""
import subprocess, sys, threading
pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
burn = {BURN.format(seconds=1) + "print(flush=True); input()"!r}
child = subprocess.Popen([sys.executable, "-c", burn], **pipes)
child.stdout.readline()
threading.Thread(target=child.wait, daemon=True).start()
"""
"""Its child has burnt a second, and is reaped as soon as it ends."""


def test_living_children_belong_to_their_parents_tier() -> None:
    with python(PARENT) as parent:
        assert process_time.tree_seconds(parent) >= 1


@LINUX
def test_a_child_that_is_reaped_after_it_was_read_counts_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_and_reap(process: psutil.Process) -> float:
        seconds = read(process)
        if process.pid != parent:
            process.kill()
            wait_until(lambda: not psutil.pid_exists(process.pid), "its end")
        return seconds

    read = process_time.process_seconds
    monkeypatch.setattr(process_time, "process_seconds", read_and_reap)
    with python(PARENT) as parent:
        assert 1 <= process_time.tree_seconds(parent) < 2


@LINUX
def test_children_that_have_ended_are_not_forgotten() -> None:
    code = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN.format(seconds=0.4)!r}], check=True)
"""
    with python(code) as parent:
        assert process_time.tree_seconds(parent) >= 0.4


def test_only_cpu_time_between_the_two_readings_counts() -> None:
    with python(BURN.format(seconds=0.3)) as pid:
        before = cpu_time.read({"app": [pid]})
        used = cpu_time.between(before, cpu_time.read({"app": [pid]}))
    assert 0 <= used.tiers["app"] < 0.3


@LINUX
def test_small_costs_are_seen_though_the_process_table_rounds_them_away() -> None:
    """A clock tick is 10 ms; half a second of an idle-looking database is less."""
    code = (
        "import sys\nprint(flush=True)\nfor line in sys.stdin: print(sum(range(1000)), flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        readings = []
        for _ in range(5):
            readings.append(process_time.tree_seconds(process.pid))
            process.stdin.write(b"go\n")
            process.stdin.flush()
            process.stdout.readline()
        process.stdin.close()
    assert readings == sorted(set(readings))


def test_a_process_that_is_in_no_tier_is_foreign() -> None:
    with python(FOREVER) as ours, python(FOREVER) as theirs:
        before = cpu_time.read({"app": [ours]})
        own = process_time.tree_seconds(theirs)
        time.sleep(1.0)
        own = process_time.tree_seconds(theirs) - own
        used = cpu_time.between(before, cpu_time.read({"app": [ours]}))
    assert used.foreign + used.unexplained >= 0.9 * own > 0


@LINUX
def test_all_processes_and_idleness_add_up_to_the_machine() -> None:
    with python(FOREVER) as pid:
        before = cpu_time.read({"app": [pid]})
        time.sleep(1.0)
        used = cpu_time.between(before, cpu_time.read({"app": [pid]}))
    whole = sum(used.tiers.values()) + used.ours + used.foreign + used.idle + used.unexplained
    assert whole == pytest.approx(used.capacity)
    assert used.capacity >= (os.cpu_count() or 1)


LOST = f"""
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(4):
    subprocess.call([sys.executable, "-c", {BURN.format(seconds=0.2)!r}])
"""
"""Nobody waits for its children, so the kernel forgets what they used."""


@LINUX
def test_work_that_no_process_accounts_for_is_unexplained() -> None:
    before = cpu_time.read({})
    with python(LOST):
        used = cpu_time.between(before, cpu_time.read({}))
    assert used.unexplained > 0.6


@pytest.mark.parametrize(
    ("configuration", "apart"),
    [(b"#\nCONFIG_IRQ_TIME_ACCOUNTING=y\n", True), (b"# CONFIG_IRQ_TIME is not set\n", False)],
)
def test_the_kernel_says_whether_interrupts_are_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configuration: bytes, apart: bool
) -> None:
    (tmp_path / "config.gz").write_bytes(gzip.compress(configuration))
    monkeypatch.setattr(cpu_time, "KERNEL_CONFIGURATIONS", [str(tmp_path / "config.gz")])
    assert cpu_time.interrupts_are_apart.__wrapped__() is apart
    monkeypatch.setattr(cpu_time, "KERNEL_CONFIGURATIONS", [str(tmp_path / "none")])
    assert cpu_time.interrupts_are_apart.__wrapped__() is None
