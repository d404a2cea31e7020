"""The verbs of a notebook: predict, count, measure, and poke at a running shop.

The rows go to `.surge/results`, or where SURGE_RESULTS says.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from rich.console import Console

from stack.checkpoint import Checkpoint, find
from stack.processes import forks
from stack.system import System
from surge.book import blocks
from surge.count import counters
from surge.crowd import runner, surge_shape
from surge.exercise import predict as predictions, progress
from surge.load.workloads import WORKLOADS
from surge.measure import neighbours, paired, samples
from surge.present import figures, surge_figure, themes
from surge.results.rows import RECENT, Comparison, Row, record, rows
from surge.results.wording import counted, number, sentence
from surge.run import workspace
from surge.run.reused import Kept
from surge.run.scale import (
    SCALE,
    seconds as seconds,  # these for notebooks, as the verbs here
    some,
    times as times,
)
from surge.run.shop import Shop, serve
from surge.run.variants import (
    alone as alone,  # and these
    served as served,
    step_of,
    what_if as what_if,
)

RESULTS = Path(os.environ.get("SURGE_RESULTS", RECENT))
STARTED: type[System] = System

if SCALE.size == "tiny":
    STARTED = Kept
    paired.System = Kept  # type: ignore[attr-defined]
    SCRATCH = tempfile.TemporaryDirectory(prefix="surge-")
    # A test must not touch what is the reader's, or another test's.
    workspace.WORK = Path(SCRATCH.name)
    paired.SCHEDULES["quick"] = samples.Schedule(
        max_starts=1, min_starts=1, rounds=1, slice_seconds=0.03, warmup_seconds=0.03
    )
    WORKLOADS.update({name: replace(found, connections=2) for name, found in WORKLOADS.items()})
    forks.enable()


def predict(which: str, *answers: float) -> None:
    """Show a step's questions, and keep your answers."""
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
    show(blocks.table(["question", "unit", "your answer"], lines))


def reveal(which: str) -> None:
    """Hold your answers against what was counted and measured here."""
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
    show(blocks.table(["question", "you", "here", ""], lines))


def count(which: str, directory: Path | None = None, counter: str = "") -> None:
    """Count a step's claims.

    Args:
        which: the step.
        directory: your own code, if it is that which should keep them.
        counter: only claims about this one.
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
            keep(row)
        holds = "✓ yes" if row.holds else "✕ **no**"
        lines.append([row.name, f"`{row.counter}`", row.expected, counted(row.value), holds])
    show(blocks.table(["claim", "counter", "claimed", "counted", "holds"], lines))


def measure(
    a: str | Checkpoint, b: str | Checkpoint, workload: str, directory: Path | None = None
) -> None:
    """Compare B with A by the paired protocol; `directory` is B's code if it is not our own."""
    row = paired.compare(
        step_of(a), step_of(b), workload, SCALE.effort, directory=directory, size=SCALE.size
    )
    keep(row)
    show(f"**{sentence(row)}.**")
    if row.ratio:
        draw(figures.comparison(row), figures.alt_comparison(row))
    show(blocks.sides(row))


def sweep(a: str | Checkpoint, others: Iterable[Checkpoint], *workloads: str) -> None:
    """Compare each of the others with A, on several workloads, and show them in one table."""
    found: list[Comparison] = []
    for other in some(others):
        found += paired.compare_many(step_of(a), other, workloads, SCALE.effort, size=SCALE.size)
    for row in found:
        keep(row)
    show(blocks.table_of_variants(found))


def crowd(journey: str, *steps: str, shoppers: int = 100) -> None:
    """Send the same Locust crowd to each of the steps, one after the other."""
    shoppers = min(shoppers, SCALE.shoppers)
    met = {}
    lines = []
    for label, outcome in _outcomes(journey, steps, shoppers, SCALE.crowd_seconds):
        total = outcome.total
        met[label] = total.times
        waits = [total.percentile(percent) for percent in (50, 95, 99)]
        lines.append([label, total.requests, total.failures, number(total.per_second), *waits])
    show(f"{shoppers} shoppers, journey *{journey}*, {SCALE.crowd_seconds} s each:")
    if all(met.values()):
        draw(figures.latency(met), figures.alt_latency(met))
    titles = ["", "requests", "failed", "a second", "p50 ms", "p95 ms", "p99 ms"]
    show(blocks.table(titles, lines))


def surge(*steps: str, shoppers: int = surge_shape.PEAK_SHOPPERS) -> None:
    """Send the same surge to each of the steps, one after the other.

    Args:
        steps: which.
        shoppers: how many there are at its height; before and after it is a tenth of them.
    """
    shoppers, seconds = min(shoppers, SCALE.shoppers), 3 * SCALE.crowd_seconds
    met = {
        label: outcome.timeline
        for label, outcome in _outcomes("surge", steps, shoppers, seconds)
        if outcome.timeline
    }
    show(f"A surge of {shoppers} shoppers, {seconds} s each:")
    draw(surge_figure.surge(met), surge_figure.alt_surge(met))
    titles, *lines = surge_figure.data_surge(met)
    show(blocks.table(titles, lines))


def beside(
    *steps: str, directory: Path | None = None, reads: float = 200, reports: float = 2
) -> None:
    """Look at hot products at a steady rate: alone, and while somebody asks for reports.

    Args:
        steps: which, one after the other.
        directory: your own code in their place.
        reads: how many looks a second.
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
    show(blocks.table([*titles, "CPU of the app", "of the worker"], lines))


def _outcomes(
    journey: str, steps: Sequence[str], shoppers: int, seconds: int
) -> Iterator[tuple[str, runner.Outcome]]:
    """What the same crowd meets at each of the steps."""
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
    """Bring a step up, to look around: `with up("05") as shop: shop.get("/products/1")`.

    Args:
        which: the step.
        directory: your own code in its place.
        max_connections: what PostgreSQL allows the service.
        environment: settings of the service, such as `{"POOL_SIZE": "5"}`.
        instances: how many there are; `client` talks to the first.
    """
    system = STARTED(
        step_of(which),
        directory,
        size=SCALE.size,
        max_connections=max_connections,
        environment=environment,
        instances=instances,
    )
    return serve(system, SCALE.shoppers)


def tabulate(titles: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Show a table."""
    show(blocks.table(titles, lines))


def show(markdown: str) -> None:
    """Show a piece of Markdown."""
    display(Markdown(markdown))  # type: ignore[no-untyped-call]


def draw(figure: Figure, alt: str) -> None:
    """Show a figure, and say it in words to those who do not see it."""
    display(Image(themes.png(figure), alt=alt, width=760))  # type: ignore[no-untyped-call]


def keep(row: Row) -> None:
    """Record a row, unless the run was only to see whether the notebook runs."""
    if SCALE.size == "full":
        record(row, RESULTS)
