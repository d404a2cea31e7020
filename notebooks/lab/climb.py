"""The main job: prove, count and measure every checkpoint, then show the ladder."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from lab import counters, paired, suite
from lab.results import ClaimRow, Comparison, Contract, Effort, Row, record
from stack.checkpoint import Checkpoint


@dataclass(frozen=True)
class Stage:
    """One piece of a climb; `weight` is its usual share of the time, for the ETA."""

    checkpoint: Checkpoint
    below: Checkpoint | None
    verb: str
    weight: int


def stages(climbed: list[Checkpoint], effort: Effort) -> list[Stage]:
    """What a climb does, in order."""
    measure = 35 if effort == "quick" else 300
    plan = []
    for below, checkpoint in zip([None, *climbed], climbed, strict=False):
        plan.append(Stage(checkpoint, below, "prove", 10))
        plan.append(Stage(checkpoint, below, "count", 12))
        if below:
            plan.append(Stage(checkpoint, below, "measure", measure))
    return plan


def do(stage: Stage, effort: Effort, progress: paired.Progress) -> Iterator[Row]:
    """Do one stage; yields its rows."""
    match stage.verb:
        case "prove":
            yield suite.prove(stage.checkpoint).row
        case "count":
            yield from counters.claims(stage.checkpoint)
        case "measure" if stage.below:
            yield from paired.compare_many(
                stage.below, stage.checkpoint, stage.checkpoint.shows, effort, progress=progress
            )


def climb(climbed: list[Checkpoint], effort: Effort, console: Console) -> list[Row]:
    """Climb the checkpoints given, bottom first; every row is recorded as it comes."""
    plan = stages(climbed, effort)
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
        task = progress.add_task("", total=sum(stage.weight for stage in plan))
        done = 0
        for stage in plan:
            what = f"{stage.checkpoint.label}: {stage.verb}"
            progress.update(task, description=what, completed=done)

            def show(detail: str, part: float, stage: Stage = stage, done: int = done) -> None:
                text = f"{stage.checkpoint.label}: {stage.verb} {detail}"
                progress.update(task, description=text, completed=done + part * stage.weight)

            for row in do(stage, effort, show):
                record(row)
                rows.append(row)
                progress.console.print(line(row))
            done += stage.weight
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
                f"{row.checkpoint:<12} {row.name}: {row.counter} {row.value:g} "
                f"({row.expected}) {state}"
            )
        case Comparison():
            if row.rejected or row.ratio is None:
                return f"{row.b:<12} {row.workload}: [yellow]rejected[/], {row.rejected}"
            ratio = row.ratio.throughput
            sign = "≥ " if row.at_least else ""
            return (
                f"{row.b:<12} {row.workload}: {row.verdict} than {row.a}, "
                f"{sign}{ratio.median:.2f}x ({ratio.low:.2f}-{ratio.high:.2f})"
                if row.verdict != "cannot tell"
                else f"{row.b:<12} {row.workload}: cannot tell from {row.a}, "
                f"{ratio.median:.2f}x ({ratio.low:.2f}-{ratio.high:.2f})"
            )


def failed(rows: list[Row]) -> bool:
    """Whether a promise was broken or a claim does not hold."""
    return any(
        (isinstance(row, Contract) and row.failed > 0)
        or (isinstance(row, ClaimRow) and not row.holds)
        for row in rows
    )
