"""The reader's folder, `work`: their versions and experiments begin there as copies of a step."""

import shutil
from pathlib import Path

from stack.checkpoint import Checkpoint
from stack.paths import ROOT

WORK = ROOT / "work"


def copy(step: Checkpoint, target: Path) -> None:
    """Copy a step's code, without its README and its claims: they would not fit what it becomes."""
    ignore = shutil.ignore_patterns("__pycache__", "*.log", "README.md", "checkpoint.toml")
    shutil.copytree(step.directory, target, ignore=ignore)
