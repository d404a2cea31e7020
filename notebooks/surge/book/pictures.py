"""The pictures of the book: SVG files drawn from the committed rows.

A file ends with a fingerprint of what it was drawn from: the rows and the drawing code. It shows
whether the file is current. Drawing it again would not: another version of matplotlib draws it a
little differently.
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from stack.checkpoint import checkpoints, find
from stack.paths import ROOT
from surge.book.listings import code_block
from surge.book.markdown import table
from surge.measure import ladder as ladders, pairs
from surge.present import figures, tables, terminal, themes
from surge.results import cost, stats, wording
from surge.results.rows import COMMITTED, ClaimRow, Comparison, Row, rows

FOLDER = ROOT / "chapters" / "figures"


FIGURE_CODE = (figures, cost, pairs, ladders, stats, themes, wording)
TERMINAL_CODE = (tables, terminal, cost, ladders, themes, wording)


@dataclass(frozen=True)
class Picture:
    """A picture with its words, and the file that holds it."""

    name: str
    rows: Sequence[Row]
    code: Sequence[ModuleType]
    """What draws it: a change there, or in the rows, makes the file stale."""
    draw_svg: Callable[[], str]
    alt: str
    summary: str
    """The title of `words`."""
    words: str
    """The same in Markdown."""

    @property
    def path(self) -> Path:
        """The file."""
        return FOLDER / f"{self.name}.svg"

    @property
    def fingerprint(self) -> str:
        """A hash of the rows and of the code, as a comment."""
        made = hashlib.sha256()
        for row in self.rows:
            made.update(row.model_dump_json().encode())
        for module in self.code:
            made.update(inspect.getsource(module).encode())
        return f"<!-- drawn from {made.hexdigest()[:16]} -->\n"

    def is_current(self) -> bool:
        """Whether the file shows these rows, drawn by this code."""
        return self.path.exists() and self.path.read_text(encoding="utf-8").endswith(
            self.fingerprint
        )

    def draw(self) -> None:
        """Write the file."""
        FOLDER.mkdir(exist_ok=True)
        self.path.write_text(self.draw_svg() + self.fingerprint, encoding="utf-8")


def comparison(a: str, b: str, workload: str) -> Picture | None:
    """Two checkpoints on a workload; None when no good row is committed."""
    row = newest_comparison(a, b, workload)
    if row is None or row.ratio is None:
        return None
    titles, *lines = figures.data_comparison(row)
    return Picture(
        name=f"{a}-{b}-{workload}".replace("/", "-"),
        rows=[row],
        code=FIGURE_CODE,
        draw_svg=lambda: themes.svg(figures.comparison(row)),
        alt=figures.alt_comparison(row),
        summary="The figure as a table",
        words=table(titles, lines),
    )


def ladder(workload: str = "hot") -> Picture | None:
    """Every step on a workload; None when no row is committed."""
    found = [row for row in committed() if row.workload == workload]
    if not ladders.points(found, workload):
        return None
    titles, *lines = figures.data_ladder(found, workload)
    return Picture(
        name=f"ladder-{workload}",
        rows=found,
        code=FIGURE_CODE,
        draw_svg=lambda: themes.svg(figures.ladder(found, workload)),
        alt=figures.alt_ladder(found, workload),
        summary="The figure as a table",
        words=table(titles, lines),
    )


def climb(last: str) -> Picture | None:
    """The table at the end of a climb to this step; None when no row is committed."""
    steps = [step for step in checkpoints() if step.number <= find(last).number]
    labels = [step.label for step in steps]
    shown = [
        (below.label, step.label, name) for below, step in pairwise(steps) for name in step.shows
    ]
    found = [
        row
        for row in newest_rows()
        if (isinstance(row, ClaimRow) and row.checkpoint in labels)
        or (isinstance(row, Comparison) and (row.a, row.b, row.workload) in shown)
    ]
    if not found:
        return None
    lines = f"$ uv run surge climb --to {last}", tables.ladder(found)
    return Picture(
        name=f"climb-{last}",
        rows=found,
        code=TERMINAL_CODE,
        draw_svg=lambda: terminal.svg(*lines),
        alt=(
            f"The table in a terminal at the end of a climb from {labels[0]} to {labels[-1]}: for "
            "each step its claims that hold, and for each workload the requests a second against "
            "the step before, with the 95 % interval, and the CPU milliseconds a request."
        ),
        summary="The picture as text",
        words=code_block("text", terminal.text(*lines)),
    )


def newest_comparison(a: str, b: str, workload: str) -> Comparison | None:
    """The newest committed comparison of two checkpoints on a workload.

    Each may be served in another way, such as `13/granian`; `b` may also be an experiment of a
    notebook, such as `work/02-no-index`, served in any way.
    """
    of_a = label(a)
    of_b = f" ({b})" if b.startswith("work/") else label(b)
    found = (row for row in committed() if (row.a, row.workload) == (of_a, workload))
    return next((row for row in found if row.b.endswith(of_b)), None)


def label(which: str) -> str:
    """The label in the rows of a step or, with a blank-free name after `/`, of its variant."""
    step, _, variant = which.partition("/")
    return f"{find(step).label} ({variant})" if variant else find(step).label


def committed() -> list[Comparison]:
    """The newest committed comparisons."""
    return ladders.comparisons(newest_rows())


def recorded_claims(label: str) -> list[ClaimRow]:
    """The newest committed claims of a step."""
    return [row for row in ladders.claims(newest_rows()) if row.checkpoint == label]


def newest_rows() -> list[Row]:
    """The newest committed rows. Hundreds of blocks ask, so the files are read when they change."""
    stats = [path.stat() for path in sorted(COMMITTED.glob("*.jsonl"))]
    return _read(COMMITTED, tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in stats))


@lru_cache(maxsize=1)
def _read(folder: Path, state: tuple[tuple[int, int, int], ...]) -> list[Row]:
    return ladders.newest(list(rows(folder)))
