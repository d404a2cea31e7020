"""The verbs of a notebook: predict, count, measure, and poke at a running shop.

The environment variable SURGE_NOTEBOOK_SIZE says how thoroughly:

    tiny    a small dataset and a glance at everything: to test that a notebook runs
    quick   for you, here and now (the default)
    full    for numbers to publish

The rows go to `.surge/results`, or where SURGE_RESULTS says.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from rich.console import Console

from lab import blocks, counters, figures, load, paired, progress, themes
from lab import predict as predictions
from lab.results import RECENT, Effort, Row, record, rows
from lab.shop import Shop, serve
from lab.words import number, sentence
from lab.workloads import WORKLOADS
from stack.checkpoint import Size, find
from stack.errors import StackError
from stack.paths import ROOT, STATE
from stack.system import System


@dataclass(frozen=True)
class Scale:
    """How thoroughly."""

    size: Size
    effort: Effort
    shoppers: int
    crowd_seconds: int
    claims: int
    """At the most; likewise the shoppers."""


SCALES = {
    "tiny": Scale("tiny", "quick", shoppers=20, crowd_seconds=1, claims=2),
    "quick": Scale("full", "quick", shoppers=1_000, crowd_seconds=10, claims=100),
    "full": Scale("full", "full", shoppers=1_000, crowd_seconds=30, claims=100),
}
SCALE = SCALES[os.environ.get("SURGE_NOTEBOOK_SIZE", "quick")]
RESULTS = Path(os.environ.get("SURGE_RESULTS", RECENT))
WORK = ROOT / "work"

if SCALE.size == "tiny":
    WORK = STATE / "what-if"  # a test must not touch what is the reader's
    paired.PACES["quick"] = paired.Pace(
        starts=1, enough=1, rounds=1, slice_seconds=0.1, warm_seconds=0.1
    )
    WORKLOADS.update({name: replace(found, connections=2) for name, found in WORKLOADS.items()})


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
    claims = [
        claim if SCALE.size == "full" else claim.model_copy(update={"size": SCALE.size})
        for claim in step.claims
        if counter in ("", claim.counter)
    ][: SCALE.claims]
    lines = []
    for row in counters.claims(step.model_copy(update={"claims": claims}), directory):
        if directory is None:
            keep(row)
        holds = "✓ yes" if row.holds else "✕ **no**"
        lines.append([row.name, f"`{row.counter}`", row.expected, number(row.value), holds])
    show(blocks.table(["claim", "counter", "claimed", "counted", "holds"], lines))


def measure(a: str, b: str, workload: str, directory: Path | None = None) -> None:
    """Compare B with A by the paired protocol; `directory` is B's code if it is not our own."""
    row = paired.compare(
        find(a), find(b), workload, SCALE.effort, directory=directory, size=SCALE.size
    )
    keep(row)
    show(f"**{sentence(row)}.**")
    if row.ratio:
        draw(figures.comparison(row), figures.alt_comparison(row))
    show(blocks.sides(row))


def crowd(journey: str, *steps: str, shoppers: int = 100) -> None:
    """Send the same Locust crowd to each of the steps, one after the other."""
    shoppers = min(shoppers, SCALE.shoppers)
    met = {}
    lines = []
    for which in steps if SCALE.size == "full" else steps[-1:]:
        label = find(which).label
        with up(which) as shop:
            url = shop.system.url
            outcome = load.run(url, journey, shoppers, SCALE.crowd_seconds, False, Console())
        if outcome.rejected:
            show(f"**{label}: rejected, {outcome.rejected}**")
        total = outcome.total
        met[label] = total.times
        waits = [total.percentile(percent) for percent in (50, 95, 99)]
        lines.append([label, total.requests, total.failures, number(total.per_second), *waits])
    show(f"{shoppers} shoppers, journey *{journey}*, {SCALE.crowd_seconds} s each:")
    if all(met.values()):
        draw(figures.latency(met), figures.alt_latency(met))
    titles = ["", "requests", "failed", "a second", "p50 ms", "p95 ms", "p99 ms"]
    show(blocks.table(titles, lines))


def up(
    which: str,
    directory: Path | None = None,
    max_connections: int = 100,
    environment: dict[str, str] | None = None,
) -> AbstractContextManager[Shop]:
    """Bring a step up, to look around: `with up("05") as shop: shop.get("/products/1")`.

    Args:
        which: the step.
        directory: your own code in its place.
        max_connections: what PostgreSQL allows the service.
        environment: settings of the service, such as `{"POOL_SIZE": "5"}`.
    """
    system = System(
        find(which),
        directory,
        size=SCALE.size,
        max_connections=max_connections,
        environment=environment,
    )
    return serve(system, SCALE.shoppers)


def what_if(which: str, name: str, file: str, *changes: tuple[str, str]) -> Path:
    """Copy a step to `work/NN-name` with some text of one file replaced; gives the folder.

    Raises:
        StackError: the file does not have the text to be replaced.
    """
    step = find(which)
    target = WORK / f"{step.number:02d}-{name}"
    shutil.rmtree(target, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.log", "README.md", "checkpoint.toml")
    shutil.copytree(step.directory, target, ignore=ignore)
    changed = target / file
    text = changed.read_text(encoding="utf-8")
    for old, new in changes:
        if old not in text:
            raise StackError(f"{file} of {step.label} does not have {old!r}: mend the experiment.")
        text = text.replace(old, new)
    changed.write_text(text, encoding="utf-8")
    return target


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
