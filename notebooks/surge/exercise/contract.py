"""Runs the contract suite against a checkpoint, or against the reader's own version of it."""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from stack.checkpoint import Checkpoint
from stack.errors import StackError
from stack.paths import ROOT
from stack.processes.reaper import RUN_VARIABLE
from stack.system import System
from surge.results.rows import Contract

PYTEST_SETTINGS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_timeout"}
"""Load only the plugin that the suite needs: the others take a second or two."""


@dataclass(frozen=True)
class Failure:
    """One broken promise of the contract."""

    test: str
    message: str


@dataclass(frozen=True)
class SuiteResult:
    """The result of a run of the suite."""

    row: Contract
    failures: list[Failure]


def run_suite(
    checkpoint: Checkpoint, directory: Path | None = None, *, stop_at_first: bool = False
) -> SuiteResult:
    """Start the checkpoint on the tiny dataset and run `tests/contract` against it.

    Args:
        checkpoint: the checkpoint.
        directory: the reader's code, to run instead of the checkpoint's own.
        stop_at_first: stop at the first failure.

    Raises:
        StackError: the service did not start, or the suite itself could not run.
    """
    started = time.monotonic()
    with (
        System(checkpoint, directory, size="tiny") as system,
        tempfile.TemporaryDirectory() as scratch,
    ):
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "tests/contract", "-q", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}", "-o", "addopts=", *(["-x"] if stop_at_first else [])]
        targets = {"SURGE_TARGET": system.url, "SURGE_PARTNERS": system.partners_url}
        # If this process is killed, the run's keeper ends the suite, too: it looks for this mark.
        environment = {**os.environ, **targets, **PYTEST_SETTINGS, RUN_VARIABLE: system.run.id}
        result = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if result.returncode not in (0, 1):
            raise StackError(f"The contract suite could not run:\n{result.stdout[-800:]}")
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - we wrote it
    failures = [
        Failure(case.get("name", ""), problem.get("message", ""))
        for case in cases
        for problem in case
        if problem.tag in ("failure", "error")
    ]
    skipped = sum(1 for case in cases if case.find("skipped") is not None)
    row = Contract(
        checkpoint=checkpoint.label,
        passed=len(cases) - len(failures) - skipped,
        failed=len(failures),
        seconds=round(time.monotonic() - started, 1),
    )
    return SuiteResult(row, failures)
