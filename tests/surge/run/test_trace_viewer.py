"""`surge up` shows its reader the traces of their requests."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from threading import Thread, enumerate as threads

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rich.console import Console

from stack.checkpoint import Checkpoint, read
from stack.system import System
from surge.machine.waiting import wait_until
from surge.run import trace_viewer
from surge.run.trace_viewer import TraceViewer, shown_traces

TOML = """
number = 98
name = "followed"
title = "A service whose traces are followed"
change = "none"
touches = []
shows = []
[serve]
command = ["uvicorn", "app:app", "--log-level", "warning"]
services = ["traces"]
"""

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})
"""


@pytest.fixture
def followed(tmp_path: Path) -> Checkpoint:
    (tmp_path / "checkpoint.toml").write_text(TOML)
    (tmp_path / "app.py").write_text(APP)
    return read(tmp_path)


@pytest.fixture
def system(followed: Checkpoint) -> Iterator[System]:
    with System(followed) as system:
        yield system


def send(system: System, trace: str, *names: str) -> None:
    """Spans of a trace that is called by one letter."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for name in names:
        scope.spans.add(trace_id=trace.encode() * 16, span_id=name.encode()[:8].rjust(8), name=name)
    httpx2.post(
        f"{system.traces_url}/v1/traces",
        content=request.SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
    )


def traces(said: StringIO) -> list[str]:
    """The letters of the traces that were shown."""
    ids = re.findall("^trace ([0-9a-f]{2})", said.getvalue(), re.MULTILINE)
    return [bytes.fromhex(id).decode() for id in ids]


def test_a_trace_is_shown_when_complete_and_again_when_it_has_grown(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(system, "o", "old")
    viewer = TraceViewer(system.traces_url, Console(file=(said := StringIO())))
    monkeypatch.setattr(trace_viewer, "QUIET_SECONDS", 3600)
    send(system, "a", "[bold]first")
    send(system, "b", "second")
    viewer.show_next()
    assert traces(said) == []  # more of it may come
    monkeypatch.setattr(trace_viewer, "QUIET_SECONDS", 0)
    monkeypatch.setattr(trace_viewer, "STALE_SECONDS", 3600)
    for _ in range(3):
        viewer.show_next()
    assert traces(said) == ["a", "b"]
    assert "[bold]first" in said.getvalue()
    send(system, "a", "job")
    viewer.show_next()
    assert traces(said) == ["a", "b", "a"]
    assert "2 spans" in said.getvalue()
    monkeypatch.setattr(trace_viewer, "STALE_SECONDS", 0)
    send(system, "c", "third")
    viewer.show_next()
    assert traces(said) == ["a", "b", "a"]


def test_traces_are_shown_as_they_come_and_urls_before(system: System) -> None:
    with shown_traces(system, Console(file=(said := StringIO()), width=80)):
        send(system, "a", "first")
        wait_until(lambda: traces(said) == ["a"], "the trace to be shown")
    for url in (system.traces_url, f"{system.url}/metrics"):
        assert url in said.getvalue()


def test_ctrl_c_during_the_start_leaves_no_thread(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Thread):
        def start(self) -> None:
            super().start()
            raise KeyboardInterrupt

    monkeypatch.setattr(trace_viewer, "Thread", Interrupted)
    before = set(threads())
    with pytest.raises(KeyboardInterrupt), shown_traces(system, Console(file=StringIO())):
        pass
    wait_until(lambda: set(threads()) <= before, "the end of the thread")


def test_a_system_without_traces_prints_nothing(followed: Checkpoint) -> None:
    (followed.directory / "checkpoint.toml").write_text(TOML.replace('["traces"]', "[]"))
    with (
        System(read(followed.directory)) as system,
        shown_traces(system, Console(file=(said := StringIO()))),
    ):
        assert said.getvalue() == ""


UP = """
import sys
from pathlib import Path
from surge import cli
from stack.checkpoint import read
cli.find = lambda which: read(Path(which))
cli.main()
"""


def test_up_shows_traces_until_ctrl_c(followed: Checkpoint) -> None:
    (followed.directory / "app.py").write_text(APP.replace('b""', "str(os.environ).encode()"))
    with (followed.directory / "app.py").open("a") as app:
        app.write("import os\n")
    command = [sys.executable, "-c", UP, "up", str(followed.directory), "--size", "tiny"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout
            url = next(line for line in up.stdout if line.startswith("ready ")).split()[1]
            next(line for line in up.stdout if line.startswith("Traces: "))
            assert f"{url}/metrics" in next(line for line in up.stdout if "Metrics: " in line)
            assert "'OTEL_BSP_SCHEDULE_DELAY': '500'" in httpx2.get(url).text
        finally:
            up.send_signal(signal.SIGINT)
        assert up.wait(30) == 0
