"""nginx begins every trace, decides whether it is kept, and keeps the metrics to the house."""

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from steps import BEHIND_NGINX, write_step

from stack.checkpoint import Checkpoint
from stack.stubs.client import port_of
from stack.system import System
from surge.machine.waiting import wait_until

APP = """
import json
async def app(scope, receive, send):
    if scope["type"] == "http":
        headers = [[name.decode(), value.decode()] for name, value in scope["headers"]]
        body = json.dumps({"path": scope["path"], "headers": headers}).encode()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Instances that answer with what they were sent."""
    return write_step(tmp_path_factory.mktemp("echo"), "echo", BEHIND_NGINX, app=APP)


@pytest.fixture(scope="module")
def usual(echo: Checkpoint) -> Iterator[System]:
    """nginx with its default settings."""
    with System(echo) as system:
        yield system


@contextmanager
def kept(echo: Checkpoint, share: str) -> Iterator[httpx2.Client]:
    """Through an nginx that keeps this share of the traces."""
    with (
        System(echo, environment={"NGINX_TRACE_SHARE": share}) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        yield client


def sent(client: httpx2.Client, headers: dict[str, str] | None = None) -> Counter[str]:
    """How often the instance was sent each `name: value`."""
    return Counter(": ".join(pair) for pair in client.get("/", headers=headers).json()["headers"])


def traceparent(client: httpx2.Client, headers: dict[str, str] | None = None) -> tuple[str, ...]:
    """The four parts of the one that the instance was sent."""
    [found] = [line for line in sent(client, headers) if line.startswith("traceparent: ")]
    return tuple(found.removeprefix("traceparent: ").split("-"))


def test_every_request_begins_a_trace_of_its_own(echo: Checkpoint) -> None:
    with kept(echo, "100%") as client:
        found = [traceparent(client) for _ in range(20)]
    assert len({trace for _, trace, _, _ in found}) == 20
    for version, trace, span, flags in found:
        assert (version, flags) == ("00", "01")
        assert re.fullmatch("[0-9a-f]{32}", trace)
        assert span == trace[:16]


def test_the_share_that_is_asked_for_is_kept(echo: Checkpoint) -> None:
    with kept(echo, "25%") as client:
        flags = Counter(traceparent(client)[3] for _ in range(1000))
    assert set(flags) == {"00", "01"}
    assert 180 <= flags["01"] <= 320  # five standard deviations to either side


def test_usually_it_is_one_in_a_hundred(usual: System) -> None:
    with httpx2.Client(base_url=usual.url, timeout=30) as client:
        flags = Counter(traceparent(client)[3] for _ in range(2000))
    assert 1 <= flags["01"] <= 50


def test_what_a_shopper_says_of_traces_is_not_passed_on(usual: System) -> None:
    theirs = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": "them=1"}
    with httpx2.Client(base_url=usual.url, timeout=30) as client:
        found = [traceparent(client, theirs) for _ in range(20)]
        assert len({trace for _, trace, _, _ in found} - {"1" * 32}) == 20
        assert {flags for _, _, _, flags in found} != {"01"}
        assert not any(line.startswith("tracestate") for line in sent(client, theirs))


def test_its_log_names_the_trace_even_where_the_shopper_names_the_request(usual: System) -> None:
    with httpx2.Client(base_url=usual.url, timeout=30) as client:
        _, trace, _, _ = traceparent(client, {"X-Request-ID": "mine"})
    assert usual.proxy
    log = usual.proxy.log
    wait_until(lambda: b'"mine"' in log.read_bytes(), "nginx to write its log")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [line] = [line for line in lines if line["request_id"] == "mine"]
    assert line["trace_id"] == trace


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/x/../metrics", "/metrics%2F"],
)
def test_the_metrics_are_not_for_shoppers(usual: System, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port_of(usual.url)), timeout=20) as shopper:
        asked = f"GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
        shopper.sendall(asked.encode())  # a client would tidy the path up
        head, _, body = b"".join(iter(lambda: shopper.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert (problem["status"], problem["title"]) == (404, "Not Found")


def test_metrics_are_read_from_the_instances(usual: System) -> None:
    assert [httpx2.get(f"{url}/metrics").json()["path"] for url in usual.urls] == ["/metrics"] * 2
