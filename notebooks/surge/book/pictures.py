"""The figures of the chapters: SVG files drawn from the committed rows.

A file ends with a mark of what it was drawn from: the rows and the drawing code. So it is known to
be current without drawing it again, which another version of matplotlib would do a little
differently.
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from stack.checkpoint import find
from stack.paths import ROOT
from surge.measure import cost, ladder, pairs
from surge.present import figures, themes
from surge.results import stats, wording
from surge.results.rows import COMMITTED, Comparison, Row, rows

FOLDER = ROOT / "chapters" / "figures"


@dataclass(frozen=True)
class Picture:
    """A figure with its words, and where it is kept."""

    name: str
    rows: Sequence[Row]
    alt: str
    data: figures.Table
    figure: Callable[[], Figure]

    @property
    def path(self) -> Path:
        """The file."""
        return FOLDER / f"{self.name}.svg"

    @property
    def mark(self) -> str:
        """What the figure is made from, as a comment."""
        made = hashlib.sha256()
        for row in self.rows:
            made.update(row.model_dump_json().encode())
        for module in (figures, cost, pairs, ladder, stats, themes, wording):
            made.update(inspect.getsource(module).encode())
        return f"<!-- drawn from {made.hexdigest()[:16]} -->\n"

    def current(self) -> bool:
        """Whether the file shows these rows."""
        return self.path.exists() and self.path.read_text(encoding="utf-8").endswith(self.mark)

    def draw(self) -> None:
        """Write the file."""
        FOLDER.mkdir(exist_ok=True)
        self.path.write_text(themes.svg(self.figure()) + self.mark, encoding="utf-8")


def comparison(a: str, b: str, workload: str) -> Picture | None:
    """Two checkpoints on a workload; None when no good row is committed."""
    row = compared(a, b, workload)
    if row is None or row.ratio is None:
        return None
    return Picture(
        name=f"{a}-{b}-{workload}".replace("/", "-"),
        rows=[row],
        alt=figures.alt_comparison(row),
        data=figures.data_comparison(row),
        figure=lambda: figures.comparison(row),
    )


def climb(workload: str = "hot") -> Picture | None:
    """Every step on a workload; None when no row is committed."""
    found = [row for row in committed() if row.workload == workload]
    if not ladder.points(found, workload):
        return None
    return Picture(
        name=f"ladder-{workload}",
        rows=found,
        alt=figures.alt_ladder(found, workload),
        data=figures.data_ladder(found, workload),
        figure=lambda: figures.ladder(found, workload),
    )


def compared(a: str, b: str, workload: str) -> Comparison | None:
    """The newest committed comparison of two checkpoints on a workload.

    Each may be served in another way, such as `12/granian`; `b` may also be an experiment of a
    notebook, such as `work/02-no-index`, whoever served it.
    """
    of_a = label(a)
    of_b = f" ({b})" if b.startswith("work/") else label(b)
    found = (row for row in committed() if (row.a, row.workload) == (of_a, workload))
    return next((row for row in found if row.b.endswith(of_b)), None)


def label(which: str) -> str:
    """What rows call a step, perhaps one that is served in another way."""
    step, _, served = which.partition("/")
    return f"{find(step).label} ({served})" if served else find(step).label


def committed() -> list[Comparison]:
    """The newest committed comparisons."""
    return ladder.comparisons(ladder.newest(list(rows(COMMITTED))))
