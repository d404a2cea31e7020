"""An exercise: a starter to change, a check that says what to read, and hints one at a time.

`tests/contract` compares the answers, `stack.checkpoint.Claim.holds` what was counted.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import watchfiles
from rich.console import Console
from rich.markup import escape

from stack.checkpoint import Checkpoint, previous
from stack.errors import StackError
from surge.count import counters
from surge.exercise import contract
from surge.results.wording import counted
from surge.run import workspace

CONTRACT_CHAPTER = "chapters/00-before-you-climb.md#one-contract-for-all"


def work_directory(checkpoint: Checkpoint) -> Path:
    """The folder in which the reader works on a checkpoint."""
    return workspace.WORK / f"{checkpoint.number:02d}"


def require_directory(directory: Path) -> Path:
    """The absolute path of a folder.

    Raises:
        StackError: there is no such folder.
    """
    if not directory.is_dir():
        raise StackError(f"There is no folder {directory}. Make it with `surge start NN`.")
    return directory.resolve()


def create_starter(checkpoint: Checkpoint, *, fresh: bool) -> Path:
    """Copy the step below to the reader's folder, as the code to start from.

    Raises:
        StackError: the folder exists and `fresh` is not asked for, or there is no step below.
    """
    below = previous(checkpoint)
    if below is None:
        raise StackError(
            f"{checkpoint.label} is where the climb begins: there is no step below to start from. "
            "Try `surge start 02`."
        )
    target = work_directory(checkpoint)
    if target.exists():
        if not fresh:
            raise StackError(
                f"{target} exists. Keep working there, or add --fresh to set it aside and begin "
                "again."
            )
        target.rename(target.with_name(f"{target.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    target.parent.mkdir(exist_ok=True)
    workspace.copy(below, target)
    return target


@dataclass(frozen=True)
class Finding:
    """The outcome of one part of a check; `lesson` is the place in a chapter that explains it."""

    name: str
    ok: bool
    expected: str
    found: str
    lesson: str


def run_checks(checkpoint: Checkpoint, directory: Path | None) -> Iterator[Finding]:
    """Run the contract suite, then count the claims in order; ends after the first failure.

    Args:
        checkpoint: the checkpoint whose claims are counted.
        directory: the reader's code; None checks the checkpoint itself.
    """
    result = contract.run_suite(checkpoint, directory, stop_at_first=True)
    for failure in result.failures:
        yield Finding(
            failure.test, False, "the contract's answer", failure.message, CONTRACT_CHAPTER
        )
        return
    yield Finding("the contract", True, "every promise kept", f"{result.row.passed} kept", "")
    for row in counters.claims(checkpoint, directory):
        found = f"{row.counter} = {counted(row.value)}"
        yield Finding(row.name, row.holds, f"{row.counter} {row.expected}", found, row.because)
        if not row.holds:
            return


def check(checkpoint: Checkpoint, directory: Path | None, console: Console, as_json: bool) -> bool:
    """Check a version and print every finding as it comes; returns whether all of it passed."""
    findings = []
    for finding in run_checks(checkpoint, directory):
        findings.append(finding)
        if not as_json:
            print_finding(finding, console)
    passed = all(finding.ok for finding in findings)
    if as_json:
        document = {"passed": passed, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(document, indent=2))
    elif passed:
        console.print(f"[green]{checkpoint.label} holds.[/] See what it bought: surge climb")
    return passed


def print_finding(finding: Finding, console: Console) -> None:
    """Print a finding; of a failure also what was expected and found, and where to read on."""
    if finding.ok:
        console.print(f"[green]✓[/] {escape(finding.name)} [dim]({escape(finding.found)})[/]")
        return
    console.print(f"[red]✗[/] [bold]{escape(finding.name)}[/]")
    console.print(f"  expected: {escape(finding.expected)}")
    console.print(f"  found:    {escape(finding.found)}")
    console.print(f"  read:     {finding.lesson}")


def watch(checkpoint: Checkpoint, directory: Path, console: Console) -> None:
    """Check again on every save, until Ctrl-C."""
    files = watchfiles.PythonFilter(extra_extensions=[".sql", ".toml", ".template"])
    saves = watchfiles.watch(directory, watch_filter=files, rust_timeout=100, yield_on_timeout=True)
    next(saves)  # starts to watch: a save during the first check is not missed
    for saved in chain([None], filter(None, saves)):
        if saved:
            console.rule(time.strftime("%H:%M:%S"))
        try:
            check(checkpoint, directory, console, as_json=False)
        except StackError as error:  # code that does not start yet must not end the watch
            console.print(str(error), style="red", markup=False)


def next_hint(checkpoint: Checkpoint, revealed: int) -> str:
    """The next hint, when `revealed` of them have been shown.

    Raises:
        StackError: there are no more.
    """
    if revealed >= len(checkpoint.hints):
        raise StackError(
            f"That was the last hint for {checkpoint.label}. See how we did it: "
            f"surge diff {checkpoint.number - 1:02d} {checkpoint.number:02d}"
        )
    return checkpoint.hints[revealed].text
