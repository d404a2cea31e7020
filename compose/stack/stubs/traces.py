"""The trace receiver: takes the spans that services send, and shows the traces they make.

It stands where a collector and a trace store stand in production, and speaks as they do:
`POST /v1/traces` takes OTLP over HTTP, as protobuf, plain or gzip. It keeps the newest 1,000
traces, in memory alone.

    GET /                 the newest 20 as trees, for people
    GET /traces           all that are kept, newest first: how many spans, how long since the last
    GET /traces/{id}      one as a tree, or as JSON for who accepts application/json
    GET /stats            traces, spans and errors (failed spans) since the last `POST /reset`

Spans of one trace come in any order, from several services, some of them late. The same span sent
twice is one. It is written on bare ASGI to cost little beside the service, and served by

    python -m stack.stubs.traces --port 4318
"""

import json
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
import uvicorn
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.types import Receive, Scope, Send

from stack.stubs.asgi import reply, whole
from stack.stubs.span_trees import draw
from stack.stubs.spans import Span, read
from stack.stubs.tracestore import SPANS, Store

SHOWN = 20
INVALID_ARGUMENT = 3
"""What gRPC calls a request that nobody can read; OTLP's answers name errors as gRPC does."""
PROTOBUF, JSON, TEXT = "application/x-protobuf", "application/json", "text/plain; charset=utf-8"

Answer = tuple[int, str, bytes]


store = Store()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Take spans, show traces."""
    if scope["type"] != "http":
        return
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    match scope["method"], scope["path"].strip("/").split("/"):
        case "POST", ["v1", "traces"]:
            status, kind, content = take(await whole(receive), headers)
        case "POST", ["reset"]:
            store.reset()
            status, kind, content = as_json(store.counts)
        case "GET", ["stats"]:
            status, kind, content = as_json(store.counts)
        case "GET", ["traces"]:
            status, kind, content = as_json(overview())
        case "GET", ["traces", trace_id] if trace_id in store.traces:
            spans = list(store.traces[trace_id].spans.values())
            plain = JSON not in headers.get("accept", "")
            status, kind, content = as_text(draw(spans)) if plain else as_json(one(spans))
        case "GET", [""]:
            trees = [draw(list(trace.spans.values())) for _, trace in store.newest()[:SHOWN]]
            status, kind, content = as_text("\n\n".join(trees) or "No trace has come yet.")
        case _:
            status, kind, content = as_text("There is no such trace here, and no such page.", 404)
    await reply(send, status, kind, content)


def take(body: bytes, headers: dict[str, str]) -> Answer:
    """Keep the spans of a request; says so as OTLP wants it said."""
    kind = headers.get("content-type", "").partition(";")[0].strip()
    if kind != PROTOBUF:
        return refused(415, f"Send {PROTOBUF}. This is {kind or 'of no type'}.")
    try:
        spans, rejected = read(body, headers.get("content-encoding") == "gzip")
    except ValueError as error:
        return refused(400, str(error))
    answer = ExportTraceServiceResponse()
    if rejected := rejected + [store.add(span) for span in spans].count(False):
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = f"ids of 16 and 8 bytes; {SPANS} spans a trace"
    return 200, PROTOBUF, answer.SerializeToString()


def refused(status: int, message: str) -> Answer:
    """An error as OTLP wants it said."""
    said = Status(code=INVALID_ARGUMENT, message=message)
    return status, PROTOBUF, said.SerializeToString()


def overview() -> list[dict[str, Any]]:
    """What is kept, newest first."""
    now = time.monotonic()
    return [
        {"trace_id": trace_id, "spans": len(trace.spans), "quiet_seconds": now - trace.touched}
        for trace_id, trace in store.newest()
    ]


def one(spans: list[Span]) -> dict[str, Any]:
    """A trace for programs."""
    return {"trace_id": spans[0].trace_id, "spans": [asdict(span) for span in spans]}


def as_json(value: object) -> Answer:
    """An answer for programs."""
    return 200, JSON, json.dumps(value).encode()


def as_text(text: str, status: int = 200) -> Answer:
    """An answer for people."""
    return status, TEXT, f"{text}\n".encode()


def main(port: Annotated[int, typer.Option()], host: str = "127.0.0.1") -> None:
    """Take spans until SIGTERM."""
    uvicorn.run(app, host=host, port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(main)
