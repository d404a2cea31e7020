"""Paths: the clone, its checkpoints, and the git-ignored state."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / "checkpoints"
STATE = ROOT / ".surge"
