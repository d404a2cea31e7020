"""The reader's folder, `work`: what they write there, and experiments, begin as copies of ours."""

import shutil
from pathlib import Path

from stack.checkpoint import Checkpoint
from stack.paths import ROOT

WORK = ROOT / "work"


def copy(step: Checkpoint, target: Path) -> None:
    """Copy a step's code; its README and its claims would mislead."""
    ignore = shutil.ignore_patterns("__pycache__", "*.log", "README.md", "checkpoint.toml")
    shutil.copytree(step.directory, target, ignore=ignore)
