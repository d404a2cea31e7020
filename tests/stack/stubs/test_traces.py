"""The trace receiver: whatever the SDK sends becomes a trace that a person can read."""

import gzip
import re
from collections.abc import Iterator

import httpx2
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status as SpanStatus, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from stubs import started

from stack.stubs.trace_store import MAX_SPANS, MAX_TRACES
from stack.stubs.traces import PROTOBUF

NGINX = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-0af7651916cd43dd-01"}
TRACE = NGINX["traceparent"].split("-")[1]


@pytest.fixture(scope="module")
def running() -> Iterator[httpx2.Client]:
    with started("stack.stubs.traces") as client:
        yield client


@pytest.fixture
def receiver(running: httpx2.Client) -> httpx2.Client:
    running.post("/reset")
    return running


def sent(
    receiver: httpx2.Client,
    *batches: list[ReadableSpan],
    compression: Compression = Compression.NoCompression,
) -> None:
    url = str(receiver.base_url.join("/v1/traces"))
    exporter = OTLPSpanExporter(url, compression=compression)
    try:
        assert {exporter.export(batch) for batch in batches} == {SpanExportResult.SUCCESS}
    finally:
        exporter.shutdown()


class Notebook:
    """A service that notes its spans, to be sent later."""

    def __init__(self, name: str) -> None:
        self.kept = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource({"service.name": name}))
        self.provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.tracer = self.provider.get_tracer("tests")

    def spans(self) -> list[ReadableSpan]:
        return list(self.kept.get_finished_spans())


def sold() -> tuple[list[ReadableSpan], list[ReadableSpan]]:
    """What the shop and its worker did for one order that nginx passed on."""
    shop, worker = Notebook("shop"), Notebook("shop-worker")
    order = shop.tracer.start_span(
        "POST /orders",
        context=TraceContextTextMapPropagator().extract(NGINX),
        attributes={"http.response.status_code": 201, "http.route": "/orders"},
        start_time=1_000_000_000,
    )
    inside = set_span_in_context(order)
    for name, start in (("INSERT", 1_004_000_000), ("SELECT", 1_001_000_000)):
        sql = shop.tracer.start_span(name, inside, start_time=start)
        sql.end(start + 2_000_000)
    order.end(1_010_000_000)
    mail = worker.tracer.start_span("confirm", inside, start_time=1_500_000_000)
    mail.set_attribute("db.query.text", "SELECT\n  something" + " very" * 50 + " long")
    mail.set_status(SpanStatus(StatusCode.ERROR, "TimeoutError: the mail service"))
    mail.end(1_700_000_000)
    return shop.spans(), worker.spans()


def lines(tree: str) -> list[str]:
    """The spans of a drawn tree, without the spaces that align them."""
    return [re.sub(r"\s+", " ", line).strip() for line in tree.splitlines()[2:]]


TREE = [
    "0.0 10.0 shop POST /orders http.response.status_code=201 http.route=/orders",
    "1.0 2.0 shop ├ SELECT",
    "4.0 2.0 shop ├ INSERT",
    "500.0 200.0 shop-worker └ confirm FAILED TimeoutError: the mail service db.query.text=",
]


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
@pytest.mark.parametrize("late_shop", [False, True], ids=["in order", "the job's span first"])
def test_what_two_services_send_is_one_tree(
    receiver: httpx2.Client, compression: Compression, late_shop: bool
) -> None:
    batches = sold()
    sent(receiver, *(reversed(batches) if late_shop else batches), compression=compression)
    tree = receiver.get(f"/traces/{TRACE}").text
    assert tree.splitlines()[0] == f"trace {TRACE}: 700.0 ms, 4 spans, 1 failed"
    drawn = lines(tree)
    assert drawn[:3] == TREE[:3]
    assert drawn[3].startswith(TREE[3] + "SELECT something very")
    assert drawn[3].endswith("…")
    assert receiver.get("/stats").json() == {"traces": 1, "spans": 4, "errors": 1}


def test_a_trace_is_json_for_clients_that_accept_json(receiver: httpx2.Client) -> None:
    sent(receiver, *sold())
    found = receiver.get(f"/traces/{TRACE}", headers={"Accept": "application/json"}).json()
    assert found["trace_id"] == TRACE
    by_name = {span["name"]: span for span in found["spans"]}
    assert by_name["POST /orders"]["parent_id"] == TRACE[:16]
    assert by_name["POST /orders"]["attributes"]["http.response.status_code"] == 201
    assert by_name["confirm"]["parent_id"] == by_name["POST /orders"]["span_id"]
    assert by_name["confirm"]["status"] == "error"
    assert (by_name["INSERT"]["start"], by_name["INSERT"]["end"]) == (1_004_000_000, 1_006_000_000)


def test_a_child_whose_parent_has_not_come_begins_a_tree(receiver: httpx2.Client) -> None:
    shop, worker = sold()
    sent(receiver, shop[:2], worker)
    drawn = lines(receiver.get(f"/traces/{TRACE}").text)
    assert [line.split()[3] for line in drawn] == ["SELECT", "INSERT", "confirm"]


def test_below_a_child_its_own_children_are_drawn(receiver: httpx2.Client) -> None:
    service = Notebook("shop")
    with (
        service.tracer.start_as_current_span("a"),
        service.tracer.start_as_current_span("b"),
    ):
        service.tracer.start_span("c").end()
        service.tracer.start_span("d").end()
    sent(receiver, service.spans())
    [trace] = receiver.get("/traces").json()
    tree = receiver.get(f"/traces/{trace['trace_id']}").text
    assert [line.partition("shop  ")[2] for line in tree.splitlines()[2:]] == [
        "a",
        "└ b",
        "  ├ c",
        "  └ d",
    ]


def test_the_same_span_sent_twice_is_one(receiver: httpx2.Client) -> None:
    shop, _ = sold()
    sent(receiver, shop, shop)
    assert receiver.get("/stats").json()["spans"] == 3


def many(traces: int) -> list[ReadableSpan]:
    service = Notebook("many")
    for number in range(traces):
        service.tracer.start_span(f"trace {number}").end()
    return service.spans()


def test_the_newest_are_kept_and_the_newest_of_them_are_shown(receiver: httpx2.Client) -> None:
    spans = many(MAX_TRACES + 5)
    sent(receiver, spans)
    ids = [f"{span.context.trace_id:032x}" for span in spans if span.context]
    assert [trace["trace_id"] for trace in receiver.get("/traces").json()] == ids[:4:-1]
    assert receiver.get(f"/traces/{ids[4]}").status_code == 404
    assert receiver.get(f"/traces/{ids[5]}").status_code == 200
    shown = re.findall("^trace ([0-9a-f]{32}): ", receiver.get("/").text, re.MULTILINE)
    assert shown == ids[: MAX_TRACES + 4 - 20 : -1]
    assert receiver.get("/stats").json()["traces"] == MAX_TRACES + 5


def posted(receiver: httpx2.Client, content: bytes, **headers: str) -> httpx2.Response:
    about = {"content-type": PROTOBUF, **{n.replace("_", "-"): v for n, v in headers.items()}}
    return receiver.post("/v1/traces", content=content, headers=about)


def test_a_trace_without_an_end_is_cut_and_its_sender_is_told(receiver: httpx2.Client) -> None:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(MAX_SPANS + 7):
        scope.spans.add(trace_id=b"t" * 16, span_id=number.to_bytes(8, "big"), name="again")
    answer = posted(receiver, request.SerializeToString())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == PROTOBUF
    told = ExportTraceServiceResponse.FromString(answer.content)
    assert told.partial_success.rejected_spans == 7
    assert receiver.get("/stats").json()["spans"] == MAX_SPANS


def test_complete_success_is_an_empty_message(receiver: httpx2.Client) -> None:
    answer = posted(receiver, b"")
    assert (answer.status_code, answer.content) == (200, b"")


def test_spans_with_impossible_ids_are_rejected_and_circles_do_no_harm(
    receiver: httpx2.Client,
) -> None:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    scope.spans.add(trace_id=b"short", span_id=b"i" * 8)
    scope.spans.add(trace_id=b"t" * 16, span_id=b"own mama", parent_span_id=b"own mama")
    answer = posted(receiver, request.SerializeToString())
    told = ExportTraceServiceResponse.FromString(answer.content)
    assert told.partial_success.rejected_spans == 1
    assert "1 span\n" in receiver.get("/").text


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"no protobuf at all", {}, 400),
        (b"no gzip", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"x" * 99)[:20], {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"no protobuf at all"), {"content_encoding": "gzip"}, 400),
        (b"{}", {"content_type": "application/json"}, 415),
    ],
    ids=["no protobuf", "no gzip", "half of a gzip", "gzip of no protobuf", "JSON"],
)
def test_rubbish_is_refused_as_otlp_refuses(
    receiver: httpx2.Client, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = posted(receiver, content, **headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROTOBUF
    assert Status.FromString(answer.content).message
    assert receiver.get("/stats").json() == {"traces": 0, "spans": 0, "errors": 0}


@pytest.mark.parametrize("path", [f"/traces/{'0' * 32}", "/traces/x", "/nothing"])
def test_what_there_is_not_is_404(receiver: httpx2.Client, path: str) -> None:
    assert receiver.get(path).status_code == 404


def test_a_reset_forgets(receiver: httpx2.Client) -> None:
    sent(receiver, *sold())
    receiver.post("/reset")
    assert receiver.get("/traces").json() == []
    assert receiver.get("/").text == "No trace has come yet.\n"
