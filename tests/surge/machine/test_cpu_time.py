"""CPU time by tier: all of a tier's processes count, the dead ones too, and no others."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest

from surge.machine import cpu_time
from surge.machine.waiting import wait_until

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
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
        assert cpu_time.tree_seconds(parent) >= 1


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

    read = cpu_time.process_seconds
    monkeypatch.setattr(cpu_time, "process_seconds", read_and_reap)
    with python(PARENT) as parent:
        assert 1 <= cpu_time.tree_seconds(parent) < 2


@LINUX
def test_children_that_have_ended_are_not_forgotten() -> None:
    code = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN.format(seconds=0.4)!r}], check=True)
"""
    with python(code) as parent:
        assert cpu_time.tree_seconds(parent) >= 0.4


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
            readings.append(cpu_time.tree_seconds(process.pid))
            process.stdin.write(b"go\n")
            process.stdin.flush()
            process.stdout.readline()
        process.stdin.close()
    assert readings == sorted(set(readings))


def test_a_process_that_is_in_no_tier_is_foreign() -> None:
    burn = [sys.executable, "-c", BURN.format(seconds=30)]
    with subprocess.Popen(burn) as ours, subprocess.Popen(burn) as theirs:
        pids = {"app": [ours.pid], "neighbour": [theirs.pid]}
        before = cpu_time.read(pids)
        time.sleep(1.0)
        after = cpu_time.read(pids)
        ours.kill()
        theirs.kill()
    unaware = [replace(reading, tiers={"app": reading.tiers["app"]}) for reading in (before, after)]
    known, unknown = cpu_time.between(before, after), cpu_time.between(*unaware)
    assert known.tiers["neighbour"] > 0
    assert unknown.foreign_share > known.foreign_share
