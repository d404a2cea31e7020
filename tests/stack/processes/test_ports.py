"""Ports: processes that choose at the same moment choose different ones."""

import subprocess
import sys

CHOOSE = """
from stack.processes.ports import free_port
print(*[free_port() for _ in range(100)], flush=True)
input()
"""


def test_no_port_is_chosen_twice_before_its_server_listens() -> None:
    pipe = subprocess.PIPE
    choosing = [
        subprocess.Popen([sys.executable, "-c", CHOOSE], stdin=pipe, stdout=pipe, text=True)
        for _ in range(4)
    ]
    chosen: list[str] = []
    for process in choosing:
        assert process.stdout
        chosen += process.stdout.readline().split()
    for process in choosing:
        process.communicate("\n")
    assert len(set(chosen)) == len(chosen) == 400
