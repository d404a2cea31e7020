"""The verbs of a notebook: predict, count, measure, and explore a running shop.

The rows go to `.surge/results`, or to the folder that SURGE_RESULTS names.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from rich.console import Console

from stack.checkpoint import Checkpoint, find
from stack.processes import forks
from stack.system import System
from surge.book.markdown import comparison_table, table, variants_table
from surge.count import counters
from surge.crowd import runner, surge_shape
from surge.exercise import predict as predictions, progress
from surge.measure import neighbours, paired
from surge.measure.samples import Schedule
from surge.present import figures, surge_figure, themes
from surge.results.rows import RECENT, Comparison, Row, record, rows
from surge.results.wording import counted, number, sentence
from surge.run import variants
from surge.run.reused import ReusedSystem
from surge.run.scale import (
    SCALE,
    seconds as seconds,  # these for notebooks, as the verbs here
    some,
    times as times,
)
from surge.run.shop import Shop, serve
from surge.run.variants import (
    single_instance as single_instance,  # and these
    step_of,
    variant as variant,
)

RESULTS = Path(os.environ.get("SURGE_RESULTS", RECENT))


@dataclass(frozen=True)
class Context:
    """What the verbs work with: the class that starts systems, the setup of comparisons, and the
    folder of the experiments, if it is not the reader's own."""

    system: type[System] = System
    setup: paired.Setup = paired.USUAL
    scratch: TemporaryDirectory[str] | None = None

    @classmethod
    def of_a_dry_run(cls) -> "Context":
        """The least of everything. Experiments must not touch the reader's or another run's."""
        glance = Schedule(
            starts=1, pairs=1, slice_seconds=0.03, warmup_seconds=0.03, open_seconds=0.03
        )
        setup = paired.Setup(ReusedSystem, glance, connections=2)
        return cls(ReusedSystem, setup, TemporaryDirectory(prefix="surge-"))


if SCALE.size == "tiny":
    forks.enable()
    CONTEXT = Context.of_a_dry_run()
else:
    CONTEXT = Context()


def predict(which: str, *answers: float) -> None:
    """Show a step's questions, and store your answers."""
    step = find(which)
    mine = progress.load()
    lines = []
    for place, asked in enumerate(step.predictions):
        if place < len(answers):
            mine.step(step.name).predictions[asked.truth] = answers[place]
        answer = mine.step(step.name).predictions.get(asked.truth)
        lines.append([asked.question, asked.unit, "…" if answer is None else f"{answer:g}"])
    if answers:
        mine.save()
    show(table(["question", "unit", "your answer"], lines))


def reveal(which: str) -> None:
    """Compare your answers with what was counted and measured here."""
    step = find(which)
    mine = progress.load().step(step.name).predictions
    measured = list(rows(RESULTS))
    lines = []
    for asked in step.predictions:
        answer, true = mine.get(asked.truth), predictions.truth(step, asked, measured)
        lines.append(
            [
                asked.question,
                "no answer" if answer is None else f"{answer:g}",
                "not yet known" if true is None else f"{number(true)} {asked.unit}",
                "" if answer is None or true is None else predictions.score(answer, true),
            ]
        )
    show(table(["question", "you", "here", ""], lines))


def count(which: str, directory: Path | None = None, counter: str = "") -> None:
    """Count a step's claims.

    Args:
        which: the step.
        directory: your own code, to count it instead of the step's.
        counter: only the claims about this counter.
    """
    step = find(which)
    claims = [claim for claim in step.claims if counter in ("", claim.counter)][: SCALE.claims]
    if SCALE.size == "tiny":
        claims = [
            claim.model_copy(
                update={"size": SCALE.size, "requests": min(claim.requests, SCALE.shoppers)}
            )
            for claim in claims
        ]
    lines = []
    for row in counters.claims(step.model_copy(update={"claims": claims}), directory):
        if directory is None:
            record_row(row)
        holds = "✓ yes" if row.holds else "✕ **no**"
        lines.append([row.name, f"`{row.counter}`", row.expected, counted(row.value), holds])
    show(table(["claim", "counter", "claimed", "counted", "holds"], lines))


def measure(
    a: str | Checkpoint,
    b: str | Checkpoint,
    workload: str,
    directory: Path | None = None,
    must_log: bool = True,
) -> None:
    """Compare B with A by the paired protocol.

    Args:
        a: the step, or variant, to compare with.
        b: the one that the verdict is about.
        workload: the name of the workload.
        directory: your own code, in place of B's.
        must_log: whether a response without its log line rejects the comparison.
    """
    row = paired.compare(
        step_of(a),
        step_of(b),
        workload,
        SCALE.effort,
        directory=directory,
        size=SCALE.size,
        setup=replace(CONTEXT.setup, must_log=must_log),
    )
    record_row(row)
    show(f"**{sentence(row)}.**")
    if row.ratio:
        draw(figures.comparison(row), figures.alt_comparison(row))
    show(comparison_table(row))


def sweep(a: str | Checkpoint, others: Iterable[Checkpoint], *workloads: str) -> None:
    """Compare each of the others with A, on several workloads, and show them in one table."""
    found: list[Comparison] = []
    for other in some(others):
        found += paired.compare_many(
            step_of(a), other, workloads, SCALE.effort, size=SCALE.size, setup=CONTEXT.setup
        )
    for row in found:
        record_row(row)
    show(variants_table(found))


def crowd(journey: str, *steps: str, shoppers: int = 100) -> None:
    """Send the same Locust crowd to each of the steps, one after the other."""
    shoppers = min(shoppers, SCALE.shoppers)
    times_of = {}
    lines = []
    for label, outcome in _outcomes(journey, steps, shoppers, SCALE.crowd_seconds):
        total = outcome.total
        times_of[label] = total.times
        waits = [total.percentile(percent) for percent in (50, 95, 99)]
        lines.append([label, total.requests, total.failures, number(total.per_second), *waits])
    show(f"{shoppers} shoppers, journey *{journey}*, {SCALE.crowd_seconds} s each:")
    if all(times_of.values()):
        draw(figures.latency(times_of), figures.alt_latency(times_of))
    titles = ["", "requests", "failed", "a second", "p50 ms", "p95 ms", "p99 ms"]
    show(table(titles, lines))


def surge(*steps: str, shoppers: int = surge_shape.PEAK_SHOPPERS) -> None:
    """Send the same surge to each of the steps, one after the other.

    Args:
        steps: the steps.
        shoppers: how many there are at its height; a tenth of them come before and after it.
    """
    shoppers, seconds = min(shoppers, SCALE.shoppers), 3 * SCALE.crowd_seconds
    timelines = {
        label: outcome.timeline
        for label, outcome in _outcomes("surge", steps, shoppers, seconds)
        if outcome.timeline
    }
    show(f"A surge of {shoppers} shoppers, {seconds} s each:")
    draw(surge_figure.surge(timelines), surge_figure.alt_surge(timelines))
    titles, *lines = surge_figure.data_surge(timelines)
    show(table(titles, lines))


def beside(
    *steps: str, directory: Path | None = None, reads: float = 200, reports: float = 2
) -> None:
    """Read hot products at a steady rate: first alone, then while reports are asked for.

    Args:
        steps: the steps, one after the other.
        directory: your own code, in place of theirs.
        reads: how many reads a second.
        reports: how many reports a second.
    """
    lines = []
    for which in steps:
        label = find(which).label + (f" ({directory.name})" if directory else "")
        with up(which, directory) as shop:
            seconds = SCALE.crowd_seconds
            lines.append([label, *neighbours.looks(shop, reads, 0, seconds)])
            lines.append(["beside reports", *neighbours.looks(shop, reads, reports, seconds)])
    show(f"{reads:g} looks a second for {SCALE.crowd_seconds} s, and {reports:g} reports a second:")
    titles = ["", "p50 ms", "p99 ms", "longest ms", "reports asked for", "made by then"]
    show(table([*titles, "CPU of the app", "of the worker"], lines))


def _outcomes(
    journey: str, steps: Sequence[str], shoppers: int, seconds: int
) -> Iterator[tuple[str, runner.Outcome]]:
    """Send the same crowd to each of the steps; yields its label and what the crowd met."""
    for which in some(steps):
        label = find(which).label
        with up(which) as shop:
            outcome = runner.run(shop.system.url, journey, shoppers, seconds, False, Console())
        if outcome.rejected:
            show(f"**{label}: rejected, {outcome.rejected}**")
        yield label, outcome


def up(
    which: str | Checkpoint,
    directory: Path | None = None,
    max_connections: int = 100,
    environment: dict[str, str] | None = None,
    instances: int | None = None,
) -> AbstractContextManager[Shop]:
    """Bring a step up, to explore it: `with up("05") as shop: shop.get("/products/1")`.

    Args:
        which: the step.
        directory: your own code, in place of its own.
        max_connections: how many connections PostgreSQL accepts from the service.
        environment: settings of the service, such as `{"POOL_SIZE": "5"}`.
        instances: how many instances run; `client` talks to the first.
    """
    system = CONTEXT.system(
        step_of(which),
        directory,
        size=SCALE.size,
        max_connections=max_connections,
        environment=environment,
        instances=instances,
    )
    return serve(system, SCALE.shoppers)


def what_if(which: str, name: str, file: str, *changes: tuple[str, str]) -> Path:
    """Copy a step to `work/NN-name` with some text of one file replaced; returns the folder."""
    work = Path(CONTEXT.scratch.name) if CONTEXT.scratch else None
    return variants.what_if(which, name, file, *changes, work=work)


def tabulate(titles: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Show a table."""
    show(table(titles, lines))


def show(markdown: str) -> None:
    """Show a piece of Markdown."""
    display(Markdown(markdown))  # type: ignore[no-untyped-call]


def draw(figure: Figure, alt: str) -> None:
    """Show a figure, with its alt text for readers who cannot see it."""
    display(Image(themes.png(figure), alt=alt, width=760))  # type: ignore[no-untyped-call]


def record_row(row: Row) -> None:
    """Record a row, unless this is a dry run."""
    if SCALE.size == "full":
        record(row, RESULTS)
