"""No checkpoint answers 5xx, whatever its OpenAPI document allows or forbids to be sent."""

import json
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("checkpoint", checkpoints(), ids=lambda checkpoint: checkpoint.label)
def test_a_thousand_made_up_requests_get_no_server_error(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    with System(checkpoint, size="tiny", partners={"latency_ms": 0}) as system:
        result = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{system.url}/openapi.json"),
                *OPTIONS,
                f"--report-json-path={report}",
            ],
            cwd=tmp_path,  # it leaves notes beside it
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
    summary = json.loads(report.read_text())
    assert summary["operations"]["tested"] == summary["operations"]["total"]
    assert summary["test_cases"]["generated"] >= 1_000
