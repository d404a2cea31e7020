"""No checkpoint answers 5xx to requests that its OpenAPI document allows or forbids."""

import fcntl
import json
import os
import subprocess
import sys
from base64 import b64decode
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from stack.checkpoint import Checkpoint, checkpoints
from stack.processes.reaper import RUN_VARIABLE
from stack.system import System

OPTIONS = [
    "--checks=not_a_server_error",
    "--phases=coverage,fuzzing",
    "--max-examples=80",  # of every operation, after the cases that cover its schema
    "--generation-deterministic",
    "--request-timeout=60",  # a busy machine is no fault of the service
    "--suppress-health-check=all",
    "--no-color",
    "--output-sanitize=false",  # the requests are kept as they were
]


Requests = list[dict[str, Any]]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where generated requests are kept, by what they were generated from.

    Generating a request takes ten times as long as answering it, and the same operations lead to
    the same requests. They are replayed against each other service with those operations.
    """
    mine = tmp_path_factory.getbasetemp()
    kept = (mine if worker_id == "master" else mine.parent) / "made-up"
    kept.mkdir(exist_ok=True)
    return kept


@pytest.mark.parametrize("checkpoint", checkpoints(), ids=lambda checkpoint: checkpoint.label)
def test_a_thousand_generated_requests_get_no_server_error(
    checkpoint: Checkpoint, tmp_path: Path, made_up: Path
) -> None:
    with System(checkpoint, size="tiny", partners={"latency_ms": 0}) as system:
        document = httpx2.get(f"{system.url}/openapi.json").json()
        with (made_up / sha256(asked_for(document)).hexdigest()).open("a+") as kept:
            fcntl.flock(kept, fcntl.LOCK_EX)  # two processes would generate the same requests
            kept.seek(0)
            if text := kept.read():
                requests = json.loads(text)
                fcntl.flock(kept, fcntl.LOCK_UN)
                ask(system, requests)
            else:
                requests = attack(system, tmp_path)
                kept.write(json.dumps(requests))
    assert len(requests) >= 1_000


def asked_for(document: dict[str, Any]) -> bytes:
    """What a document says of requests; what it says of responses makes none."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for about_responses in ("responses", "description"):
                operation.pop(about_responses, None)
    about = {"paths": document["paths"], "schemas": document["components"]["schemas"]}
    return json.dumps(about).encode()


def attack(system: System, folder: Path) -> Requests:
    """Let schemathesis generate and send requests; return them."""
    report, events = folder / "report.json", folder / "events.ndjson"
    result = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{system.url}/openapi.json"),
            *OPTIONS,
            f"--report-json-path={report}",
            f"--report-ndjson-path={events}",
        ],
        cwd=folder,  # it leaves notes
        env={
            **os.environ,
            RUN_VARIABLE: system.run.id,
        },  # and ends with the system, however that ends
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
    summary = json.loads(report.read_text())
    assert summary["operations"]["tested"] == summary["operations"]["total"]
    asked = [
        interaction["request"]
        for line in events.read_text().splitlines()
        for event in json.loads(line).values()
        for interaction in event.get("recorder", {}).get("interactions", {}).values()
    ]
    assert len(asked) == summary["test_cases"]["generated"]
    return asked


def ask(system: System, requests: Requests) -> None:
    """Send the requests once more, byte by byte."""
    where = urlsplit(system.url).netloc
    connection = HTTPConnection(where, timeout=60)
    for request in requests:
        target = request["uri"].split("/", 3)[3]
        body = b64decode(request.get("body", {}).get("$base64", ""))
        connection.putrequest(request["method"], f"/{target}")
        for name, values in request["headers"].items():
            for value in values:
                connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.read()
        assert answer.status < 500, f"{answer.status} for {request}"
    connection.close()
