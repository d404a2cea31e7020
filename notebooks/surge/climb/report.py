"""The report of a climb: one self-contained HTML file, for a phone, a desk or paper."""

import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stack.paths import ROOT
from surge.measure import ladder
from surge.measure.ladder import Step
from surge.present import figures
from surge.present.figures import Shape, Table
from surge.present.themes import DARK, LIGHT, Theme, svg
from surge.results import wording
from surge.results.cost import EXTERNAL_TIERS, cost
from surge.results.rows import Comparison, Row


@dataclass(frozen=True)
class Picture:
    """A figure in every theme and shape, with its alt text and its data as a table."""

    title: str
    alt: str
    data: Table
    sources: dict[str, str]
    """Data URLs by theme and shape, such as `dark wide`."""


def write(rows: Sequence[Row], path: Path) -> Path:
    """Write the report of these rows; links to chapters are relative to its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(rows, path.parent), encoding="utf-8")
    return path


def page(rows: Sequence[Row], folder: Path) -> str:
    """The report as HTML, for a file in `folder`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    steps = ladder.steps(rows)
    latest = ladder.newest(rows)
    in_steps = [row for step in steps for row in step.comparisons]
    measured = ladder.comparisons(latest)
    return environment.get_template("report.html.j2").render(
        steps=steps,
        pictures=[picture(rows, workload) for workload in ladder.workloads(rows)],
        best=best(measured),
        others=[row for row in measured if row not in in_steps],
        measured=measured,
        rejected=[row for row in measured if row.rejected],
        claims=ladder.claims(latest),
        promises=sum(row.passed for row in ladder.contracts(latest)),
        broken=sum(row.failed for row in ladder.contracts(latest)),
        runs=runs(latest),
        elsewhere=EXTERNAL_TIERS,
        light=LIGHT,
        dark=DARK,
        wording=wording,
        cost=cost,
        link=lambda target: os.path.relpath(ROOT / target, folder.resolve()),
        chapter=chapter,
    )


def best(measured: Sequence[Comparison]) -> Comparison | None:
    """The comparison for the title: the largest step with the verdict *faster*."""
    ratios = [(row.ratio.throughput.median, row) for row in measured if row.ratio]
    faster = [(times, row) for times, row in ratios if row.verdict == "faster"]
    return max(faster, key=lambda found: found[0])[1] if faster else None


def picture(rows: Sequence[Row], workload: str) -> Picture:
    """The ladder figure of one workload."""
    themes: dict[str, Theme] = {"light": LIGHT, "dark": DARK}
    shapes: tuple[Shape, ...] = ("wide", "tall")
    return Picture(
        title=workload,
        alt=figures.alt_ladder(rows, workload),
        data=figures.data_ladder(rows, workload),
        sources={
            f"{name} {shape}": data_url(svg(figures.ladder(rows, workload, theme, shape)))
            for name, theme in themes.items()
            for shape in shapes
        },
    )


def data_url(image: str) -> str:
    """A URL that holds an SVG image."""
    return "data:image/svg+xml;base64," + b64encode(image.encode()).decode()


def chapter(step: Step) -> str | None:
    """The path of the step's chapter; None when there is none."""
    path = f"chapters/{step.label.replace(' ', '-')}.md"
    return path if (ROOT / path).exists() else None


def runs(latest: Sequence[Row]) -> list[Row]:
    """One row for each machine and commit."""
    return list({(row.machine.model_dump_json(), row.commit): row for row in latest}.values())
