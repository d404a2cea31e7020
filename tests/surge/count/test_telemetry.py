"""What a service reports about itself is compared with what it was asked."""

from pathlib import Path

import pytest

from stack.checkpoint import Checkpoint, Claim, read
from surge.count import runs, telemetry
from surge.count.servers import Servers

TOML = """
number = 98
name = "telling"
title = "A service that tells what it does"
change = "none"
touches = []
shows = []
[serve]
command = ["uvicorn", "app:app", "--log-level", "warning"]
services = ["postgres", "partners", "traces"]
instances = 2
proxy = "nginx"
"""

# Two spans for every request that nginx has chosen; a line in the log, and a count, for all.
APP = """
import json, os
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Histogram, generate_latest

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("tests")
requests = Histogram(
    "http_server_request_duration_seconds", "Time", ["method", "route", "status"]
)
log = open(os.environ["LOG_FILE"], "a", buffering=1)

def work(headers):
    context = TraceContextTextMapPropagator().extract(headers)
    span = tracer.start_span("request", context)
    tracer.start_span("query", set_span_in_context(span)).end()
    span.end()
    trace_id = f"{span.get_span_context().trace_id:032x}"
    print(json.dumps({"path": "/products/1", "trace_id": trace_id}), file=log)
    print("no JSON, of /products/1", file=log)
    requests.labels("GET", "/products/{product_id}", "200").observe(0.01)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        provider.shutdown()
        await send({"type": "lifespan.shutdown.complete"})
    if scope["type"] != "http":
        return
    status, body = 200, b"{}"
    if scope["path"] == "/metrics":
        status, body = 404 if "SHY" in os.environ else 200, generate_latest()
    elif scope["path"] == "/readyz":
        requests.labels("GET", "/readyz", "200").observe(0.01)
    else:
        work({name.decode(): value.decode() for name, value in scope["headers"]})
    await send({"type": "http.response.start", "status": status})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture
def telling(tmp_path: Path) -> Checkpoint:
    (tmp_path / "checkpoint.toml").write_text(TOML)
    (tmp_path / "app.py").write_text(APP)
    return read(tmp_path)


def claim(share: str, **environment: str) -> Claim:
    return Claim(
        name="about telemetry",
        workload="detail",
        counter="traces.spans",
        because="chapters/x.md",
        requests=200,
        size="tiny",
        environment={"NGINX_TRACE_SHARE": share, **environment},
    )


def test_metrics_traces_and_log_are_counted(telling: Checkpoint) -> None:
    with Servers(telling) as servers:
        whole = runs.count(servers, claim("100%")).counters
        part = runs.count(servers, claim("25%", SHY="1")).counters
    assert whole["metrics.requests"] == 1
    assert whole["traces.spans"] == 2
    assert whole["traces.found"] == 1
    assert part["metrics.requests"] == 0  # it shows none
    assert 0.1 < part["traces.found"] < 0.4  # a sample of 200: five standard deviations
    assert part["traces.spans"] == pytest.approx(2 * part["traces.found"])


def test_lines_that_are_not_json_have_no_ids() -> None:
    written = b'{"path": "/orders", "trace_id": "a"}\n["/orders"]\n/orders\n{"path": "/orders"}\n'
    lines = telemetry.request_lines(written + b'{"path": "/readyz", "trace_id": "b"}\n')
    assert len(lines) == 4
    assert telemetry.distinct_ids(lines, "trace_id") == {"a"}
