"""What the tests of the last step share."""

import json
from typing import Any

import httpx2
from steps import introduced_in

from stack.system import System

RESILIENT = introduced_in("resilient")


def refused(answer: httpx2.Response, status: int = 503) -> None:
    """A refusal is a problem with a cure, and a 503 says when to retry."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert len(answer.json()["detail"].split()) > 4
    assert "X-Request-ID" in answer.headers
    if status == 503:
        assert answer.headers["Retry-After"] == "1"


def lines(system: System, event: str) -> list[dict[str, Any]]:
    """The instances' log lines of an event."""
    said = [json.loads(line) for line in system.service.log().splitlines()]
    return [line for line in said if line["event"] == event]
