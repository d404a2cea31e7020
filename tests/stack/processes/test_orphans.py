"""Who has lost their parent is found, and nobody else is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stack.host.account import account
from stack.processes.run import Child, Run
from surge.machine.waiting import wait_until

FORKS = """
import os
while True:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
"""
"""Has a new child at every moment, as a database without a pool of connections does."""
LEAVES = """
import os, time
if os.fork():
    os._exit(0)
time.sleep(600)
"""


@contextmanager
def running(code: str) -> Iterator[tuple[Run, Child]]:
    who = account()
    run = Run(who.home, who)
    child = run.start("server", [sys.executable, "-c", code])
    try:
        yield run, child
    finally:
        run.close()
        child.process.wait()


def test_a_child_that_was_just_born_is_no_orphan() -> None:
    with running(FORKS) as (run, child):
        assert [run.orphans([child.pid]) for _ in range(100)] == [[]] * 100


def test_a_process_whose_parent_has_ended_is_one() -> None:
    with running(LEAVES) as (run, child):
        child.process.wait()
        wait_until(lambda: bool(run.orphans([child.pid])), "the orphan")
        [(name, pid)] = run.orphans([child.pid])
        assert name == "server" and pid != child.pid
