"""The main job: prove, count and measure every checkpoint, then show the ladder.

What is proved or counted comes out the same however busy the machine is and however a service was
started: several such stages go on at once, on services that were forked. What is measured has the
machine to itself, and starts as you would start it.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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

LANES = 1 + min(os.cpu_count() or 1, 4)
"""Lanes wait, too: on two cores, two of them would leave a fifth idle. Five took 2.2 GB of memory,
and all that they counted came out the same even on two cores."""


@dataclass(frozen=True)
class Stage:
    """One comparison of a climb; `weight` is its usual share of the time, for the ETA."""

    what: str
    weight: int
    do: Callable[[paired.Progress], list[Row]]


def exact(climbed: list[Checkpoint]) -> list[Callable[[], list[Row]]]:
    """What needs no clock; first what takes longest, so that no lane ends much before the other.

    What a step keeps from those below is counted at the top, for all of them.
    """
    *below, top = climbed
    counts = [partial(count, step) for step in [*map(Checkpoint.with_own_claims, below), top]]
    return [*counts, *(partial(prove, step) for step in climbed)]


def timed(climbed: list[Checkpoint], effort: Effort) -> list[Stage]:
    """What does: every step against the one below."""
    weight = {"quick": 3, "full": 40}[effort]
    return [
        Stage(f"{step.label}: measure", weight, partial(measure, below, step, effort))
        for below, step in pairwise(climbed)
    ]


def prove(step: Checkpoint) -> list[Row]:
    """Run the contract suite."""
    return [contract.prove(step).row]


def count(step: Checkpoint) -> list[Row]:
    """Count the claims."""
    return list(counters.claims(step))


def measure(
    below: Checkpoint, step: Checkpoint, effort: Effort, progress: paired.Progress
) -> list[Row]:
    """Compare a step with the one below."""
    return list(paired.compare_many(below, step, step.shows, effort, progress=progress))


def in_lanes(work: list[Callable[[], list[Row]]]) -> Iterator[list[Row]]:
    """Do some pieces at once; yields the rows of each, in order."""
    with ThreadPoolExecutor(LANES) as lanes:
        doing = [lanes.submit(piece) for piece in work]
        try:
            for piece in doing:
                yield piece.result()
        except BaseException:  # Ctrl-C above all: what goes on in the lanes must not be waited for
            lanes.shutdown(wait=False, cancel_futures=True)
            while not all(piece.done() for piece in doing):  # a lane may just begin a run
                run.close_all()
                time.sleep(0.05)
            raise


def climb(climbed: list[Checkpoint], effort: Effort, console: Console) -> list[Row]:
    """Climb the checkpoints given, bottom first; every row is recorded as it comes."""
    first, then = exact(climbed), timed(climbed, effort)
    rows: list[Row] = []
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("about"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task(
            "prove and count", total=len(first) + sum(stage.weight for stage in then)
        )
        done = 0

        def keep(found: list[Row], weight: int) -> None:
            nonlocal done
            for row in found:
                record(row)
                rows.append(row)
                progress.console.print(line(row))
            done += weight
            progress.update(task, completed=done)

        with forks.enabled():
            for found in in_lanes(first):
                keep(found, 1)
        for stage in then:

            def show(detail: str, part: float, stage: Stage = stage) -> None:
                text, completed = f"{stage.what} {detail}", done + part * stage.weight
                progress.update(task, description=text, completed=completed)

            keep(stage.do(show), stage.weight)
    return rows


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
