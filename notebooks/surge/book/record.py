"""Records the numbers of the book, on a machine that does nothing else.

    python -m surge.book.record [--quick] [NN …]

It runs the notebooks at full length (with --quick, to try it out, at less), which count every claim
and measure every step, and records their rows under `notebooks/results`. Then it measures what the
ladders still lack, and generates the chapters' blocks anew.
"""

import os
import sys
from datetime import UTC, datetime

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from stack.checkpoint import Checkpoint, checkpoints, find, previous
from stack.paths import ROOT
from surge.book.losses import WORKLOADS
from surge.book.sync import sync
from surge.measure import ladder, paired
from surge.results.rows import COMMITTED, Comparison, Effort, record, rows

NOTEBOOKS = ROOT / "notebooks"
BEFORE = "00"
"""The number of the chapter before the first step."""
MOST_SECONDS = 3_600
"""For one cell."""


def main(arguments: list[str]) -> None:
    """Record the chapters named, or all of them."""
    names = [name for name in arguments if name != "--quick"]
    effort: Effort = "quick" if "--quick" in arguments else "full"
    os.environ["SURGE_RESULTS"] = str(COMMITTED)
    if not names or BEFORE in names:
        rerun("00_before_you_climb", effort)
        drop_replaced()
    steps = [find(name) for name in names if name != BEFORE]
    for step in steps if names else checkpoints():
        began = datetime.now(UTC)
        rerun(step.directory.name, effort)
        measure_missing(step, began, effort)
        drop_replaced()
        print(f"{step.label}: {datetime.now(UTC) - began}", flush=True)
    for stale in sync(check=False):
        print(f"updated: {stale}")


def rerun(name: str, effort: Effort) -> None:
    """Run a notebook, and keep what it shows."""
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    execute(notebook, effort)
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


def execute(notebook: NotebookNode, size: str) -> None:
    """Run a notebook from top to bottom, in place.

    Raises:
        CellExecutionError: a cell failed.
    """
    client = NotebookClient(
        notebook,
        timeout=MOST_SECONDS,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        record_timing=False,  # times of day would make every run a change
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    client.execute(env={**os.environ, "SURGE_NOTEBOOK_SIZE": size})
    notebook.metadata.pop("language_info", None)


def measure_missing(step: Checkpoint, began: datetime, effort: Effort) -> None:
    """Measure this step on every workload on which its notebook, begun at that time, did not.

    The first step is compared with itself, as a control of the instrument.
    """
    below = previous(step) or step
    measured = {
        row.workload
        for row in rows(COMMITTED)
        if isinstance(row, Comparison)
        and (row.a, row.b) == (below.label, step.label)
        and row.recorded_at >= began
    }
    missing = [workload for workload in WORKLOADS if workload not in measured]
    for row in paired.compare_many(below, step, missing, effort) if missing else []:
        record(row, COMMITTED)


def drop_replaced() -> None:
    """Drop the rows that a later run of the same thing has replaced."""
    newest = ladder.newest(list(rows(COMMITTED)))
    for path in COMMITTED.glob("*.jsonl"):
        path.unlink()
    for row in newest:
        record(row, COMMITTED)


if __name__ == "__main__":
    main(sys.argv[1:])
