"""How much a notebook does, as the environment variable SURGE_NOTEBOOK_SIZE says.

tiny    a dry run, on a small dataset: to test that a notebook runs
quick   for you, here and now (the default)
full    for numbers to publish
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from stack.seed.data import Size
from surge.results.rows import Effort

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    size: Size
    effort: Effort
    shoppers: int
    crowd_seconds: int
    claims: int
    """At most so many. In a dry run, a claim also sends at most as many requests as shoppers."""


SCALES = {
    "tiny": Scale("tiny", "quick", shoppers=20, crowd_seconds=1, claims=1),
    "quick": Scale("full", "quick", shoppers=1_000, crowd_seconds=10, claims=100),
    "full": Scale("full", "full", shoppers=1_000, crowd_seconds=30, claims=100),
}
SCALE = SCALES[os.environ.get("SURGE_NOTEBOOK_SIZE", "quick")]


def times(many: int) -> int:
    """How often to repeat something: so many times, or a hundredth of it in a dry run."""
    return many if SCALE.size == "full" else max(1, many // 100)


def seconds(many: float) -> float:
    """So many seconds, or a hundredth of them in a dry run."""
    return many if SCALE.size == "full" else many / 100


def some(many: Iterable[T]) -> list[T]:
    """All of them, or only the last in a dry run."""
    return list(many) if SCALE.size == "full" else list(many)[-1:]
