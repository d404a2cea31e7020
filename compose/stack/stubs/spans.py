"""Spans, decoded from what services send: OTLP over HTTP, as protobuf.

A span is one operation of one service for one request: its start and end, its parent, and its
outcome. All spans with the same trace id form one trace.
"""

import gzip
import zlib
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

STATUS = {
    trace_pb2.Status.STATUS_CODE_UNSET: "unset",
    trace_pb2.Status.STATUS_CODE_OK: "ok",
    trace_pb2.Status.STATUS_CODE_ERROR: "error",
}


@dataclass(frozen=True)
class Span:
    """One span; its times are nanoseconds since 1970."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the root span."""
    service: str
    name: str
    start: int
    end: int
    status: str
    message: str
    """What went wrong, if the status is an error."""
    attributes: dict[str, Any]


def read(body: bytes, compressed: bool) -> tuple[list[Span], int]:
    """The spans in a request's body, and how many were invalid.

    Raises:
        ValueError: the body is not OTLP.
    """
    try:
        request = ExportTraceServiceRequest.FromString(
            gzip.decompress(body) if compressed else body
        )
    except (DecodeError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"This is no OTLP: {error}") from None
    spans: list[Span] = []
    rejected = 0
    for resource in request.resource_spans:
        service = str(_values(resource.resource.attributes).get("service.name", "unknown"))
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            if len(span.trace_id) == 16 and len(span.span_id) == 8:
                spans.append(_span(service, span))
            else:
                rejected += 1
    return spans, rejected


def _span(service: str, sent: trace_pb2.Span) -> Span:
    return Span(
        trace_id=sent.trace_id.hex(),
        span_id=sent.span_id.hex(),
        parent_id=sent.parent_span_id.hex(),
        service=service,
        name=sent.name,
        start=sent.start_time_unix_nano,
        end=sent.end_time_unix_nano,
        status=STATUS.get(sent.status.code, "unset"),
        message=sent.status.message,
        attributes=_values(sent.attributes),
    )


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    match kind := value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(each) for each in value.array_value.values]
        case "kvlist_value":
            return _values(value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
        case _:
            return getattr(value, kind)
