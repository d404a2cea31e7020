"""The checkpoints that a promise is tested at, and how little of them has to run."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from stack.checkpoint import Checkpoint, checkpoints, find, read
from stack.system import System

LAST = checkpoints()[-1]
PROGRAMS = Path(__file__).parents[1] / "faults" / "programs"


def introduced_in(*names: str) -> list[Checkpoint]:
    """The steps that introduce a promise, and the last, which has to keep them all.

    A change that breaks a promise in a step between breaks it at the last one, too, unless a later
    step mends it.
    """
    steps = [find(name) for name in names]
    return steps if LAST in steps else [*steps, LAST]


SMALL = """
number = 99
name = "{name}"
title = "A service of a few lines"
change = "none"
touches = []
shows = []
[serve]
command = ["uvicorn", "app:app"]
{serve}
"""
BEHIND_NGINX = 'services = []\ninstances = 2\nproxy = "nginx"'


def write_step(folder: Path, name: str, serve: str, **modules: str) -> Checkpoint:
    """Write a small checkpoint to test the stack with: what it needs, and its modules."""
    (folder / "checkpoint.toml").write_text(SMALL.format(name=name, serve=serve))
    for module, code in modules.items():
        (folder / f"{module}.py").write_text(code)
    return read(folder)


def each(steps: Sequence[Checkpoint]) -> pytest.MarkDecorator:
    """Run the test at each of these steps."""
    return pytest.mark.parametrize("step", steps, ids=lambda step: step.label)


def without_worker(
    step: Checkpoint,
    environment: Mapping[str, str] | None = None,
    *,
    instances: int = 1,
    **options: Any,
) -> System:
    """A system without worker, for promises that need no jobs; usually with one instance.

    Each of its processes reads the same libraries, which is most of what a start costs.
    """
    few = {"instances": instances, "worker": False}
    return System(step, size="tiny", environment=environment, **few, **options)


def run_program(step: Checkpoint, name: str, *arguments: str, **environment: str) -> None:
    """Run one of the programs of tests/faults with the step's own code; it must not fail."""
    settings = {**os.environ, "PYTHONPATH": str(step.directory), **environment}
    command = [sys.executable, PROGRAMS / name, *arguments]
    subprocess.run(command, cwd=step.directory, env=settings, check=True)
