"""Traces: where a request has been, and for how long. Of those that go well, a few are enough."""

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
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from starlette.types import Scope

from app.settings import settings

# Version, trace, the caller's span, and whether the trace is kept; nobody is called nothing.
PARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]")
RUN, numbers = token_hex(8), itertools.count(1)
tracer = trace.get_tracer("shop")


@asynccontextmanager
async def open_tracing(service: str) -> AsyncIterator[None]:
    """From here on, what is kept goes to the collector: in batches, by a thread of its own."""
    if not settings.otel_exporter_otlp_endpoint:
        yield  # there is none
        return
    # What is kept, the beginning of the trace has decided. That is how the SDK does it by itself.
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(timeout=settings.trace_timeout)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        await asyncio.to_thread(provider.shutdown)  # sends what is left, which may take its time


def begin(scope: Scope, headers: dict[bytes, bytes]) -> bytes:
    """The request's `traceparent`: nginx's, or one of our own for those who come past it."""
    parent = headers.get(b"traceparent", b"")
    if PARENT.fullmatch(parent):
        return parent
    number = f"{next(numbers):016x}"
    kept = random.random() < settings.trace_share  # noqa: S311 - chance, not a secret
    parent = f"00-{RUN}{number}-{number}-0{kept:d}".encode()
    others = [header for header in scope["headers"] if header[0] != b"traceparent"]
    scope["headers"] = [*others, (b"traceparent", parent)]  # the framework reads it, too
    return parent


def id_of(parent: bytes) -> str:
    return parent[3:35].decode()


def is_kept(parent: bytes) -> bool:
    return parent.endswith(b"1")


def follow(
    parent: bytes, name: str, kind: SpanKind = SpanKind.SERVER
) -> AbstractContextManager[object]:
    """A span for all that is done for a request or a job, if its trace is kept."""
    if not is_kept(parent):
        return nullcontext()
    return tracer.start_as_current_span(name, within(parent), kind)


def kept_here() -> list[Span]:
    """The span that we are in, if its trace is kept."""
    here = trace.get_current_span()
    return [here] if here.is_recording() else []


def span(name: str, **attributes: Any) -> AbstractContextManager[object]:
    """A span for a part of it. Where the trace is not kept, all that it costs is to ask."""
    if not kept_here():
        return nullcontext()
    return tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def record_part(name: str, started: int, **attributes: Any) -> None:
    """The same for a part that is over, which began at so many nanoseconds."""
    if kept_here():
        kind = SpanKind.CLIENT
        tracer.start_span(name, kind=kind, attributes=attributes, start_time=started).end()


def together(spans: list[Span], name: str) -> AbstractContextManager[object]:
    """A span for what is done for several at once: in the first one's trace. It names the rest."""
    if not spans:
        return nullcontext()
    first, *others = spans
    links = [Link(other.get_span_context()) for other in others]
    return tracer.start_as_current_span(name, trace.set_span_in_context(first), links=links)


def headers() -> dict[str, str]:
    """What we say to others, so that what they do for us is a part of the trace."""
    here = trace.get_current_span().get_span_context()
    if not here.is_valid:
        return {}
    trace_id, span_id = trace.format_trace_id(here.trace_id), trace.format_span_id(here.span_id)
    return {"traceparent": f"00-{trace_id}-{span_id}-0{here.trace_flags.sampled:d}"}


def record(parent: bytes, name: str, seconds: float, status: int) -> None:
    """A span made afterwards: of a hit, or of what was not to be kept and then went wrong."""
    ended = time.time_ns()
    started = ended - int(1e9 * seconds)
    attributes = {"http.response.status_code": status, "late": not is_kept(parent)}
    kept = within(parent[:-1] + b"1")
    done = tracer.start_span(name, kept, SpanKind.SERVER, attributes, start_time=started)
    if status >= 500:
        done.set_status(StatusCode.ERROR)
    done.end(ended)


def within(parent: bytes) -> Context:
    return propagate.extract({"traceparent": parent.decode()})
