"""The main job: prove, count and measure every checkpoint, then show the ladder.

Proofs and counts come out the same however busy the machine is and however a service was started,
so several of them run at once, on forked services. Measurements have the machine to themselves, and
their services start as a reader would start them.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from stack.checkpoint import Checkpoint
from stack.processes import forks, run
from surge.count import counters
from surge.exercise import contract
from surge.measure import paired
from surge.results.rows import ClaimRow, Comparison, Contract, Effort, Row, record
from surge.results.wording import counted, marked, ratio

Task = Callable[[], list[Row]]

MAX_PARALLEL = 1 + min(os.cpu_count() or 1, 4)
"""Tasks wait, too: on two cores, two of them would leave a fifth of the time idle. Five took 2.2 GB
of memory, and all their counts came out the same even on two cores."""

MEASURE_WEIGHT: dict[Effort, int] = {"quick": 3, "full": 40}
"""How long a step's measurements usually take, for the ETA; a proof or a count takes 1."""


def climb(steps: list[Checkpoint], effort: Effort, console: Console) -> list[Row]:
    """Climb the steps given, bottom first; every row is recorded as it comes."""
    tasks, neighbours = exact_tasks(steps), list(pairwise(steps))
    weight = MEASURE_WEIGHT[effort]
    with progress_bar(console) as bar:
        journal = Journal(bar, total=len(tasks) + weight * len(neighbours))
        with forks.enabled():
            for rows in run_parallel(tasks):
                journal.add(rows)
        for below, step in neighbours:
            show = partial(journal.show, step, weight)
            rows = [*paired.compare_many(below, step, step.shows, effort, progress=show)]
            journal.add(rows, weight)
    return journal.rows


def exact_tasks(steps: list[Checkpoint]) -> list[Task]:
    """The tasks that need no clock; the longest first, so that all threads end at about one time.

    Claims that a step keeps from those below are counted at the top, for all of them.
    """
    *below, top = steps
    counts = [partial(count, step) for step in [*map(Checkpoint.with_own_claims, below), top]]
    return [*counts, *(partial(prove, step) for step in steps)]


def count(step: Checkpoint) -> list[Row]:
    """Count a step's claims."""
    return list(counters.claims(step))


def prove(step: Checkpoint) -> list[Row]:
    """Run the contract suite against a step."""
    return [contract.run_suite(step).row]


def run_parallel(tasks: list[Task]) -> Iterator[list[Row]]:
    """Run several tasks at once; yields the rows of each, in order."""
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        except BaseException:  # Ctrl-C above all: the tasks that run must not be waited for
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in futures):  # one may be starting a run
                run.close_all()
                time.sleep(0.05)
            raise


def progress_bar(console: Console) -> Progress:
    """A progress bar with an estimate of the time left, which vanishes at the end."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("about"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class Journal:
    """Records and prints the rows of a climb as they come, above its progress bar.

    Args:
        bar: the progress bar, shown already.
        total: the weight of all tasks together.
    """

    def __init__(self, bar: Progress, total: int) -> None:
        self.rows: list[Row] = []
        self._bar = bar
        self._task = bar.add_task("prove and count", total=total)
        self._done = 0

    def add(self, rows: list[Row], weight: int = 1) -> None:
        """Add the rows of a task that has ended."""
        for row in rows:
            record(row)
            self.rows.append(row)
            self._bar.console.print(line(row))
        self._done += weight
        self._bar.update(self._task, completed=self._done)

    def show(self, step: Checkpoint, weight: int, detail: str, part: float) -> None:
        """Show how far a measurement has come: the part of it that is done, from 0 to 1."""
        text = f"{step.label}: measure {detail}"
        self._bar.update(self._task, description=text, completed=self._done + part * weight)


def line(row: Row) -> str:
    """One row in one line, as it is shown while the climb goes on."""
    match row:
        case Contract():
            state = "[green]kept[/]" if not row.failed else f"[red]{row.failed} broken[/]"
            return f"{row.checkpoint:<12} contract: {row.passed} promises, {state}"
        case ClaimRow():
            state = "[green]holds[/]" if row.holds else "[red]does not hold[/]"
            return (
                f"{row.checkpoint:<12} {row.name}: {row.counter} {counted(row.value)} "
                f"({row.expected}) {state}"
            )
        case Comparison():
            if row.rejected or row.ratio is None:
                return f"{row.b:<12} {row.workload}: [yellow]{marked(row)}[/], {row.rejected}"
            against = f"{ratio(row.ratio.throughput, row.at_least)} against {row.a}"
            return f"{row.b:<12} {row.workload}: {marked(row)}, {against}"


def failed(rows: list[Row]) -> bool:
    """Whether a promise was broken or a claim does not hold."""
    return any(
        (isinstance(row, Contract) and row.failed > 0)
        or (isinstance(row, ClaimRow) and not row.holds)
        for row in rows
    )
