"""Traces. The service that starts one decides whether it is recorded (head sampling)."""

import asyncio
import itertools
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from secrets import token_hex
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from starlette.types import Scope

from app.settings import settings

# Version, trace id, the caller's span id, and whether the trace is sampled; no id is all zeros.
TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]")
TRACE_ID_PREFIX, numbers = token_hex(8).encode(), itertools.count(1)  # one for each process
tracer = trace.get_tracer("shop")


@asynccontextmanager
async def open_tracing(service: str) -> AsyncIterator[None]:
    """Send sampled spans to the collector: in batches, from a thread of its own."""
    if not settings.otel_exporter_otlp_endpoint:
        yield  # there is no collector
        return
    # The SDK's default sampler does as the traceparent says.
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(timeout=settings.trace_timeout)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        await asyncio.to_thread(provider.shutdown)  # sends what is left; may take a while


def ensure_traceparent(scope: Scope, headers: dict[bytes, bytes]) -> bytes:
    """Return nginx's `traceparent`, or start a trace for a request that did not come through it."""
    parent = headers.get(b"traceparent", b"")
    if TRACEPARENT.fullmatch(parent):
        return parent
    number = next(numbers)
    sampled = random.random() < settings.trace_share  # noqa: S311 - chance, not a secret
    parent = b"00-%b%016x-%016x-0%d" % (TRACE_ID_PREFIX, number, number, sampled)
    others = [header for header in scope["headers"] if header[0] != b"traceparent"]
    scope["headers"] = [*others, (b"traceparent", parent)]  # the framework reads it, too
    return parent


def trace_id_of(parent: bytes) -> str:
    return parent[3:35].decode()


def is_sampled(parent: bytes) -> bool:
    return parent.endswith(b"1")


def resume_trace(
    parent: bytes, name: str, kind: SpanKind = SpanKind.SERVER
) -> AbstractContextManager[object]:
    """A span for a whole request or job, if its trace is sampled."""
    if not is_sampled(parent):
        return nullcontext()
    context = propagate.extract({"traceparent": parent.decode()})
    return tracer.start_as_current_span(name, context, kind)


def current_span() -> Span | None:
    """The span that we are in, if its trace is sampled."""
    current = trace.get_current_span()
    return current if current.is_recording() else None


def span(name: str, **attributes: Any) -> AbstractContextManager[object]:
    """A span for a part of a request. In a trace that is not sampled, it costs one question."""
    if not current_span():
        return nullcontext()
    return tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def record_span(name: str, started: int, **attributes: Any) -> None:
    """The same for a part that is over; `started` is in nanoseconds."""
    if current_span():
        tracer.start_span(name, None, SpanKind.CLIENT, attributes, start_time=started).end()


def batch_span(spans: list[Span], name: str) -> AbstractContextManager[object]:
    """A span for work that several traces share: in the first one's trace, linked to the others."""
    if not spans:
        return nullcontext()
    first, *others = spans
    links = [Link(other.get_span_context()) for other in others]
    return tracer.start_as_current_span(name, trace.set_span_in_context(first), links=links)


def trace_headers() -> dict[str, str]:
    """For calls to other services, so that their spans become part of the trace."""
    here = trace.get_current_span().get_span_context()
    if not here.is_valid:
        return {}
    trace_id, span_id = trace.format_trace_id(here.trace_id), trace.format_span_id(here.span_id)
    return {"traceparent": f"00-{trace_id}-{span_id}-0{here.trace_flags.sampled:d}"}


def current_traceparent() -> str | None:
    return trace_headers().get("traceparent")


def describe_request(route: str, status: int) -> None:
    """Tell the span what the framework would, had it seen the request."""
    request_span = trace.get_current_span()
    request_span.set_attributes({"http.route": route, "http.response.status_code": status})
    if status >= 500:
        request_span.set_status(StatusCode.ERROR)


def record_request(parent: bytes, name: str, seconds: float, status: int) -> None:
    """Make the span of a request that is over: a hit, or an unsampled one that went wrong."""
    ended = time.time_ns()
    started = ended - int(1e9 * seconds)
    attributes = {"http.response.status_code": status, "late": not is_sampled(parent)}
    context = propagate.extract({"traceparent": parent[:-1].decode() + "1"})
    request_span = tracer.start_span(name, context, SpanKind.SERVER, attributes, start_time=started)
    if status >= 500:
        request_span.set_status(StatusCode.ERROR)
    request_span.end(ended)
