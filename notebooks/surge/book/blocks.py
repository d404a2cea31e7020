"""The kinds of generated blocks that can stand in a chapter.

A marker is the name of a kind with its arguments; `@block` shows what it looks like. Where a block
compares, B may be an experiment of the chapter's notebook, such as `work/02-no-index`, or the same
code served in another way, such as `13/granian`. Numbers come from the rows committed under
`notebooks/results`, and from nowhere else.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stack.checkpoint import checkpoints, find
from stack.errors import StackError
from stack.paths import ROOT
from surge.book import diffs, losses, pictures
from surge.book.ledger import ledger
from surge.book.listings import code_block, listing
from surge.book.markdown import comparison_table, gains_table, short, table, variants_table
from surge.book.pictures import Picture
from surge.results.wording import counted, sentence


@dataclass(frozen=True)
class Kind:
    """A kind of block: what its marker looks like, what renders it, and what finds its picture."""

    usage: str
    render: Callable[..., str]
    picture: Callable[..., Picture | None] | None

    def check(self, marker: Sequence[str]) -> None:
        """Check the number of arguments; those in brackets are optional.

        Raises:
            StackError: there are too few, or too many.
        """
        words = self.usage.split()
        required = [word for word in words if not word.startswith("[")]
        if not len(required) <= len(marker) <= len(words):
            raise StackError(f"`{' '.join(marker)}` should be `{self.usage}`.")


KINDS: dict[str, Kind] = {}


def block(
    usage: str, picture: Callable[..., Picture | None] | None = None
) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Register a function that renders blocks; it gets the document and the marker's arguments."""

    def register(render: Callable[..., str]) -> Callable[..., str]:
        KINDS[usage.split()[0]] = Kind(usage, render, picture)
        return render

    return register


def render(kind: str, arguments: Sequence[str], document: Path) -> str:
    """Render one block of a document.

    Raises:
        StackError: the marker asks for something that is not there.
    """
    KINDS[kind].check([kind, *arguments])
    return KINDS[kind].render(document, *arguments)


def picture(kind: str, arguments: Sequence[str]) -> Picture | None:
    """The picture that a block shows, if it shows one and its rows are there."""
    find_picture = KINDS[kind].picture
    return find_picture(*arguments) if find_picture else None


@block("listing PATH[#NAME]")
def render_listing(document: Path, source: str) -> str:
    """A file, or one definition of it; of a `.template`, the lines around a directive."""
    path, _, name = source.partition("#")
    what = f", `{name}`" if name else ""
    return f"[`{path}`]({relative(document, ROOT / path)}){what}:\n\n{listing(path, name)}"


@block("diff A B FILE")
def render_diff(document: Path, a: str, b: str, file: str) -> str:
    """What changed in one file between two checkpoints."""
    old, new = find(a), find(b)
    text = diffs.unified(old, new, file)
    if not text:
        raise StackError(f"{file} is the same in {old.label} and {new.label}: no diff to show.")
    return code_block("diff", text)


@block("stat A B")
def render_stat(document: Path, a: str, b: str) -> str:
    """Which files changed between two checkpoints, and by how many lines."""
    lines = [
        [f"`{change.path}`", change.added, change.removed]
        for change in diffs.changes(find(a), find(b))
    ]
    return table(["file", "lines added", "lines removed"], lines)


@block("predict NN")
def render_predict(document: Path, which: str) -> str:
    """The questions of a checkpoint, for the reader to answer first."""
    questions = [
        f"{number}. {asked.question} *({asked.unit})*"
        for number, asked in enumerate(find(which).predictions, 1)
    ]
    return "\n".join([*questions, "", f"Write your answers down: `surge predict {which}`."])


@block("claims NN")
def render_claims(document: Path, which: str) -> str:
    """The claims of a checkpoint, with what was last counted for each."""
    step = find(which)
    recorded = {
        (row.name, row.counter, row.expected): row for row in pictures.recorded_claims(step.label)
    }
    lines = []
    for claim in step.claims:
        row = recorded.get((claim.name, claim.counter, claim.expected))
        found = [counted(row.value), "yes" if row.holds else "**no**"] if row else ["*not yet*", ""]
        name = f"[{claim.name}]({relative(document, ROOT / claim.because)})"
        lines.append([name, f"`{claim.workload}`", f"`{claim.counter}`", claim.expected, *found])
    return table(["claim", "counted on", "counter", "claimed", "counted", "holds"], lines)


@block("comparison A B WORKLOAD")
def render_comparison(document: Path, a: str, b: str, workload: str) -> str:
    """The verdict in a sentence, the numbers behind it, and how to get your own."""
    row = pictures.newest_comparison(a, b, workload)
    command = measuring_command(document, a, b, workload)
    if row is None:
        return not_recorded(command)
    made = f"{row.recorded_at:%-d %B %Y}, {row.machine.cpu}, {row.machine.cores} cores"
    note = f"Recorded {made}. Yours: {command}."
    return "\n\n".join([f"**{sentence(row)}.**", comparison_table(row), note])


@block("variants A B,… WORKLOAD,…")
def render_variants(document: Path, a: str, names: str, workloads: str) -> str:
    """A line for each way in which the notebook serves a step, A's own unless it says `NN/way`."""
    each = each_variant(a, names, workloads)
    found = [pictures.newest_comparison(a, way, workload) for way, workload in each]
    note = f"Yours: {measuring_command(document, a, each[0][0], workloads)}."
    if None in found:
        return f"*Not recorded yet. {note}*"
    return f"{variants_table(row for row in found if row)}\n\n{note}"


def each_variant(a: str, names: str, workloads: str) -> list[tuple[str, str]]:
    """Every way with every workload that the arguments of `variants` name."""
    ways = [name if "/" in name else f"{a}/{name}" for name in names.split(",")]
    return [(way, workload) for way in ways for workload in workloads.split(",")]


@block("gains A B WORKLOAD,…")
def render_gains(document: Path, a: str, b: str, workloads: str) -> str:
    """What lies between two steps: a line for each workload."""
    found = [(name, pictures.newest_comparison(a, b, name)) for name in workloads.split(",")]
    missing = [measuring_command(document, a, b, name) for name, row in found if row is None]
    if missing:
        return not_recorded(" · ".join(missing))
    rows_of = [row for _, row in found if row]
    sides = f"A is {rows_of[0].a}, B is {rows_of[0].b}; p99 is that of a full load."
    return f"{gains_table(rows_of)}\n\n{sides}"


@block("losses NN")
def render_losses(document: Path, which: str) -> str:
    """Where a request of this step costs far more than at an earlier one."""
    step = find(which)
    found = losses.costs(pictures.committed(), step.label)
    if not found:
        return "No accepted run compares it with the step before."
    measured = ", ".join(f"`{cost.workload}`" for cost in found)
    limit = (
        f"{losses.LOSS:g} times the CPU time that it took at the cheapest step before, "
        "as far down as every comparison was accepted"
    )
    lines = [
        [f"`{cost.workload}`", cost.best, f"{cost.factor:.2g} times"]
        for cost in found
        if cost.is_loss
    ]
    if not lines:
        return f"Measured on {measured}: nowhere does a request take more than {limit}."
    said = f"Measured on {measured}. A request takes more than {limit}, on:"
    return f"{said}\n\n{table(['', 'cheapest step before', f'CPU time at {step.name}'], lines)}"


@block("steps")
def render_steps(document: Path) -> str:
    """Every step against the step before, on every workload."""
    lines = []
    for below, step in pairwise(checkpoints()):
        found = [
            pictures.newest_comparison(below.name, step.name, workload)
            for workload in losses.WORKLOADS
        ]
        lines.append([step.label, *[row and short(row) for row in found]])
    return table(["", *[f"`{workload}`" for workload in losses.WORKLOADS]], lines)


@block("figure A B WORKLOAD", pictures.comparison)
def render_figure(document: Path, a: str, b: str, workload: str) -> str:
    """Every pair of a comparison, as a figure with its table."""
    found = pictures.comparison(a, b, workload)
    if found is None:
        return not_recorded(measuring_command(document, a, b, workload))
    return image(document, found)


@block("ladder [WORKLOAD]", pictures.ladder)
def render_ladder(document: Path, *workload: str) -> str:
    """Every step on one workload (hot), as a figure with its table."""
    found = pictures.ladder(*workload)
    return image(document, found) if found else not_recorded("`surge climb`")


@block("climb NN", pictures.climb)
def render_climb(document: Path, last: str) -> str:
    """The table that `surge climb --to NN` ends with, as a terminal shows it, and as text."""
    found = pictures.climb(last)
    return image(document, found) if found else not_recorded(f"`surge climb --to {last}`")


@block("output NOTEBOOK NAME")
def render_output(document: Path, notebook: str, name: str) -> str:
    """What a cell of a notebook showed when it was recorded; the cell begins with `# NAME`."""
    path = ROOT / "notebooks" / f"{notebook}.ipynb"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and cell["source"][:1] == [f"# {name}\n"]:
            every = [output.get("data", {}).get("text/markdown") for output in cell["outputs"]]
            if shown := ["".join(lines) for lines in every if lines]:
                return "\n\n".join(shown)
            raise StackError(f"the cell `# {name}` of {path.name} shows no table.")
    raise StackError(f"{path.name} has no cell that begins with `# {name}`.")


@block("ledger")
def render_ledger(document: Path) -> str:
    """The chapters' verdicts on the articles' advice."""
    return ledger(document.parent)


def image(document: Path, found: Picture) -> str:
    """A picture, and its words for readers who cannot see it or want the numbers."""
    return (
        f"![{found.alt}]({relative(document, found.path)})\n\n"
        f"<details>\n<summary>{found.summary}</summary>\n\n{found.words}\n\n</details>"
    )


def not_recorded(command: str) -> str:
    """The text in place of a number that is not recorded yet."""
    return f"*Not recorded yet. Measure it yourself: {command}.*"


def measuring_command(document: Path, a: str, b: str, workload: str) -> str:
    """The command that makes a comparison; a variant is made in the chapter's notebook."""
    if "/" in b:
        return f"`surge lab {document.name[:2]}`"
    return f"`surge compare {a} {b} --workload {workload}`"


def relative(document: Path, target: Path) -> str:
    """The relative link from a document to a file."""
    return os.path.relpath(target, document.parent)
