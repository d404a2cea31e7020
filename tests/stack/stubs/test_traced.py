"""A checkpoint that asks for the trace receiver gets one, and its processes are told where."""

import json
import os
from pathlib import Path

import httpx2
import pytest
from steps import write_step

from stack.checkpoint import Checkpoint, read
from stack.system import System
from surge.machine.waiting import wait_until

# Sends what it has when it is told to end, as services do.
TELLS = """
import os
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=60_000))

def note(name):
    provider.get_tracer("tests").start_span(name).end()
"""

APP = """
import json, os
from tells import note, provider

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        provider.shutdown()
        await send({"type": "lifespan.shutdown.complete"})
    if scope["type"] == "http":
        if scope["path"] == "/note":
            note("asked")
        body = json.dumps(dict(os.environ)).encode()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body})
"""

WORK = """
import json, os, signal
from pathlib import Path
from tells import note, provider
note("worked")
signal.signal(signal.SIGTERM, lambda *_: provider.shutdown() or os._exit(0))
Path(os.environ["LOG_FILE"]).write_text(json.dumps(dict(os.environ)))
while True:
    signal.pause()
"""


@pytest.fixture
def traced(tmp_path: Path) -> Checkpoint:
    serve = 'worker = ["work"]\nservices = ["traces"]'
    return write_step(tmp_path, "traced", serve, app=APP, work=WORK, tells=TELLS)


def stats(system: System) -> dict[str, int]:
    found: dict[str, int] = httpx2.get(f"{system.traces_url}/stats").json()
    return found


def test_service_and_worker_send_their_spans_to_a_receiver_of_the_run(traced: Checkpoint) -> None:
    with System(traced) as system:
        assert set(system.pids()) == {"app", "worker", "traces"}
        httpx2.get(f"{system.url}/note")
        assert stats(system)["spans"] == 0  # they are kept back for a minute
        system.service.stop_all()
        system.workers.stop()
        wait_until(lambda: stats(system)["spans"] == 2, "the spans")
        shown = httpx2.get(system.traces_url).text
    assert "asked" in shown
    assert "worked" in shown


def test_they_are_told_where_and_the_worker_where_to_show_its_metrics(traced: Checkpoint) -> None:
    with System(traced) as system:
        told = httpx2.get(system.url).json()
        assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == system.traces_url
        [log] = system.run_dir.glob("jobs-of-*.log")
        told = json.loads(log.read_text())
        assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == system.traces_url
        assert [f"http://127.0.0.1:{told['METRICS_PORT']}/metrics"] == system.workers.metrics
        system.workers.stop()
        assert system.workers.metrics == []


def test_after_a_restart_nothing_is_left_of_earlier_traces(traced: Checkpoint) -> None:
    with System(traced) as system:
        url = system.traces_url
        httpx2.get(f"{system.url}/note")
        system.restart_app({})
        assert stats(system) == {"traces": 0, "spans": 0, "errors": 0}
        assert system.traces_url == url
        assert len(system.workers.metrics) == 1


def test_a_service_without_traces_gets_no_exporter(traced: Checkpoint) -> None:
    path = traced.directory / "checkpoint.toml"
    path.write_text(path.read_text().replace('["traces"]', "[]").replace('worker = ["work"]', ""))
    with System(read(traced.directory)) as system:
        told = httpx2.get(system.url).json()
        assert system.traces_url == ""
        assert "traces" not in system.pids()
    assert {"OTEL_EXPORTER_OTLP_ENDPOINT", "METRICS_PORT"} & set(told) <= set(os.environ)
