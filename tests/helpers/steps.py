"""Which checkpoints a promise has to be proved for, and how little of them has to run."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from stack.checkpoint import Checkpoint, checkpoints, find
from stack.system import System

PROGRAMS = Path(__file__).parents[1] / "faults" / "programs"


def introduced_in(*names: str) -> list[Checkpoint]:
    """The steps in which a promise is made, and the last, which has to keep them all.

    What breaks a promise in a step between breaks it at the last one, too, unless it was mended on
    the way.
    """
    steps = [find(name) for name in names]
    last = checkpoints()[-1]
    return steps if last in steps else [*steps, last]


def each(steps: Sequence[Checkpoint]) -> pytest.MarkDecorator:
    """The test is made for each of these steps."""
    return pytest.mark.parametrize("step", steps, ids=lambda step: step.label)


def without_worker(
    step: Checkpoint,
    environment: Mapping[str, str] | None = None,
    *,
    instances: int = 1,
    **options: Any,
) -> System:
    """A step without its worker, for promises that no job is part of; usually one instance of it.

    Each of its processes reads the same libraries, which is most of what a start costs.
    """
    few = {"instances": instances, "worker": False}
    return System(step, size="tiny", environment=environment, **few, **options)


def run_program(step: Checkpoint, name: str, *arguments: str, **environment: str) -> None:
    """Run one of the programs of tests/faults with the step's own code; it must not fail."""
    settings = {**os.environ, "PYTHONPATH": str(step.directory), **environment}
    command = [sys.executable, PROGRAMS / name, *arguments]
    subprocess.run(command, cwd=step.directory, env=settings, check=True)
