"""The trace receiver: accepts the spans that services send, and shows the traces they form.

It takes the place of a production collector and trace store, and speaks their protocol:
`POST /v1/traces` accepts OTLP over HTTP, as protobuf, plain or gzip. It stores the newest 1,000
traces, in memory only.

    GET /                 the newest 20 as trees, for people
    GET /traces           all that are stored, newest first: how many spans, seconds since the last
    GET /traces/{id}      one as a tree; as JSON for clients that accept application/json
    GET /stats            traces, spans and errors (failed spans) since the last `POST /reset`

Spans of one trace arrive in any order, from several services, some of them late. A span that is
sent twice is stored once. The receiver is bare ASGI, so that it costs little CPU beside the
service. Serve it by

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

from stack.stubs.asgi import read_body, send_response
from stack.stubs.span_trees import draw
from stack.stubs.spans import Span, read
from stack.stubs.trace_store import MAX_SPANS, TraceStore

SHOWN = 20
INVALID_ARGUMENT = 3
"""gRPC's code for a malformed request; OTLP reports errors by gRPC's codes."""
PROTOBUF, JSON, TEXT = "application/x-protobuf", "application/json", "text/plain; charset=utf-8"

Response = tuple[int, str, bytes]
"""Status, content type and body."""

store = TraceStore()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept spans, show traces."""
    if scope["type"] != "http":
        return
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    match scope["method"], scope["path"].strip("/").split("/"):
        case "POST", ["v1", "traces"]:
            status, content_type, body = receive_spans(await read_body(receive), headers)
        case "POST", ["reset"]:
            store.reset()
            status, content_type, body = as_json(store.counts)
        case "GET", ["stats"]:
            status, content_type, body = as_json(store.counts)
        case "GET", ["traces"]:
            status, content_type, body = as_json(overview())
        case "GET", ["traces", trace_id] if trace_id in store.traces:
            spans = list(store.traces[trace_id].spans.values())
            plain = JSON not in headers.get("accept", "")
            status, content_type, body = as_text(draw(spans)) if plain else as_json(as_dict(spans))
        case "GET", [""]:
            trees = [draw(list(trace.spans.values())) for _, trace in store.newest()[:SHOWN]]
            status, content_type, body = as_text("\n\n".join(trees) or "No trace has come yet.")
        case _:
            status, content_type, body = as_text(
                "There is no such trace here, and no such page.", 404
            )
    await send_response(send, status, content_type, body)


def receive_spans(body: bytes, headers: dict[str, str]) -> Response:
    """Store the spans of a request; the response is OTLP's."""
    content_type = headers.get("content-type", "").partition(";")[0].strip()
    if content_type != PROTOBUF:
        return rejection(415, f"Send {PROTOBUF}. This is {content_type or 'of no type'}.")
    try:
        spans, rejected = read(body, headers.get("content-encoding") == "gzip")
    except ValueError as error:
        return rejection(400, str(error))
    response = ExportTraceServiceResponse()
    rejected += [store.add(span) for span in spans].count(False)
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = f"ids of 16 and 8 bytes; {MAX_SPANS} spans a trace"
    return 200, PROTOBUF, response.SerializeToString()


def rejection(status: int, message: str) -> Response:
    """An error response, as OTLP defines it."""
    error = Status(code=INVALID_ARGUMENT, message=message)
    return status, PROTOBUF, error.SerializeToString()


def overview() -> list[dict[str, Any]]:
    """A line about each stored trace, newest first."""
    now = time.monotonic()
    return [
        {"trace_id": trace_id, "spans": len(trace.spans), "quiet_seconds": now - trace.updated}
        for trace_id, trace in store.newest()
    ]


def as_dict(spans: list[Span]) -> dict[str, Any]:
    """One trace, ready for JSON."""
    return {"trace_id": spans[0].trace_id, "spans": [asdict(span) for span in spans]}


def as_json(value: object) -> Response:
    """A response for programs."""
    return 200, JSON, json.dumps(value).encode()


def as_text(text: str, status: int = 200) -> Response:
    """A response for people."""
    return status, TEXT, f"{text}\n".encode()


def main(port: Annotated[int, typer.Option()], host: str = "127.0.0.1") -> None:
    """Receive spans until SIGTERM."""
    uvicorn.run(app, host=host, port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(main)
