"""No checkpoint answers 5xx, whatever its OpenAPI document allows or forbids to be sent."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from stack.checkpoint import Checkpoint, checkpoints
from stack.system import System

OPTIONS = [
    "--checks=not_a_server_error",
    "--phases=coverage,fuzzing",
    "--max-examples=120",  # of every operation, after the cases that cover its schema
    "--generation-deterministic",
    "--request-timeout=60",  # a busy machine is no fault of the service
    "--suppress-health-check=all",
    "--no-color",
]


class Attack(NamedTuple):
    """What schemathesis said, and where it wrote the rest."""

    result: subprocess.CompletedProcess[str]
    report: Path


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Attack]]]:
    """Every checkpoint attacked, two at a time."""
    folder = tmp_path_factory.mktemp("attacks")
    with ThreadPoolExecutor(2) as lanes:
        yield {step.label: lanes.submit(attack, step, folder / step.name) for step in checkpoints()}
        lanes.shutdown(cancel_futures=True)


def attack(checkpoint: Checkpoint, folder: Path) -> Attack:
    folder.mkdir()  # it leaves notes beside it
    with System(checkpoint, size="tiny", partners={"latency_ms": 0}) as system:
        result = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{system.url}/openapi.json"),
                *OPTIONS,
                f"--report-json-path={folder / 'report.json'}",
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    return Attack(result, folder / "report.json")


@pytest.mark.parametrize("checkpoint", checkpoints(), ids=lambda checkpoint: checkpoint.label)
def test_a_thousand_made_up_requests_get_no_server_error(
    checkpoint: Checkpoint, attacks: dict[str, Future[Attack]]
) -> None:
    result, report = attacks[checkpoint.label].result()
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
    summary = json.loads(report.read_text())
    assert summary["operations"]["tested"] == summary["operations"]["total"]
    assert summary["test_cases"]["generated"] >= 1_000
