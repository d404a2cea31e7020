"""Admission control: a request whose time is over gets a 504, if no answer has begun."""

import asyncio
from typing import Any

import pytest
from app.logs import log_queue, render
from app.resilience.admission import AdmissionControlMiddleware
from app.telemetry import metrics
from app.telemetry.middleware import TelemetryMiddleware
from starlette.types import Receive, Scope, Send

START = {"type": "http.response.start", "status": 200, "headers": []}


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/half":
        await send({**START, "headers": []})
    await asyncio.sleep(60)


def request(path: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Send a request with a tenth of a second; what was sent back, and the scope's state."""
    sent: list[dict[str, Any]] = []
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"request-timeout", b"0.1")],
    }

    async def send(message: Any) -> None:
        sent.append(message)

    app: Any = AdmissionControlMiddleware(TelemetryMiddleware(slow))
    asyncio.run(app(scope, None, send))
    return sent, scope["state"]


def shed() -> float:
    return metrics.shed.labels("hurry")._value.get()


def lines() -> list[bytes]:
    return [render(log_queue.lines.popleft()) for _ in range(len(log_queue.lines))]


@pytest.fixture(autouse=True)
def _no_lines() -> None:
    log_queue.lines.clear()


def test_request_without_an_answer_gets_504_under_its_own_id() -> None:
    before = shed()
    (start, _), state = request("/slow")
    assert start["status"] == 504
    assert dict(start["headers"])[b"x-request-id"].decode() == state["request_id"]
    assert shed() == before + 1
    [line] = lines()
    assert b'"status":504' in line


def test_answer_that_has_begun_is_left_as_it_is_and_recorded_once() -> None:
    before = shed()
    sent, _ = request("/half")
    assert [message.get("status") for message in sent] == [200]
    assert shed() == before
    [line] = lines()
    assert b'"status":200' in line
