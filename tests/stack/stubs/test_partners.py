"""The partner stub: its quotes are fixed, its settings work, its counts are exact."""

import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from stubs import started

from stack.errors import StackError
from stack.processes.ports import free_port
from stack.stubs.client import configure_partners, partner_stats
from stack.stubs.partners import PARTNERS, quote


@pytest.fixture(scope="module")
def stub() -> Iterator[httpx2.Client]:
    with started("stack.stubs.partners") as client:
        yield client


@pytest.fixture(autouse=True)
def reset(stub: httpx2.Client) -> None:
    stub.put("/settings?latency_ms=0&jitter_ms=0&error_rate=0&hold=false")
    stub.post("/reset")


@pytest.mark.parametrize("partner", PARTNERS)
def test_a_quote_is_always_the_same(stub: httpx2.Client, partner: str) -> None:
    for product_id in (1, 77, 50_000):
        answer = stub.get(f"/{partner}/offers/{product_id}")
        assert answer.json() == quote(partner, product_id)


def test_one_partner_can_fail_while_the_others_answer(stub: httpx2.Client) -> None:
    stub.put("/settings?error_rate=1&partner=meridian")
    statuses = [stub.get(f"/{partner}/offers/1").status_code for partner in PARTNERS]
    assert statuses == [500, 200, 200]


def test_held_calls_wait_and_are_counted(stub: httpx2.Client) -> None:
    stub.put("/settings?hold=true")
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(stub.get, "/northwind/offers/1") for _ in range(5)]
        while stub.get("/stats").json()["in_flight"] < 5:
            time.sleep(0.01)
        assert not any(call.done() for call in calls)
        stub.put("/settings?hold=false")
        assert [call.result().status_code for call in calls] == [200] * 5
    stats = stub.get("/stats").json()
    assert (stats["calls"], stats["in_flight"], stats["max_in_flight"]) == (5, 0, 5)


def test_connections_are_counted(stub: httpx2.Client) -> None:
    for _ in range(3):
        stub.get("/northwind/offers/1")
    assert stub.get("/stats").json()["connections"] == 1
    httpx2.get(f"{stub.base_url}/northwind/offers/1")
    assert stub.get("/stats").json()["connections"] == 2


def test_a_port_used_again_is_another_connection(stub: httpx2.Client) -> None:
    where = (stub.base_url.host, stub.base_url.port)
    port = 0
    for _ in range(2):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.bind(("127.0.0.1", port))
            client.connect(where)
            client.sendall(b"GET /northwind/offers/1 HTTP/1.1\r\nHost: stub\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            port = client.getsockname()[1]
    assert stub.get("/stats").json()["connections"] == 2


def test_the_traces_of_callers_are_counted(stub: httpx2.Client) -> None:
    def within(trace: str) -> dict[str, str]:
        return {"traceparent": f"00-{trace * 32}-{'b' * 16}-01", "idempotency-key": trace}

    for partner in PARTNERS:
        stub.get(f"/{partner}/offers/1", headers=within("a"))
    stub.get("/northwind/offers/1", headers=within("c"))
    stub.post("/mail/messages", headers=within("d"), json={"to": "you"})
    for nonsense in ({}, {"traceparent": "nonsense"}, within("x")):
        stub.get("/northwind/offers/1", headers=nonsense)
    assert stub.get("/stats").json()["traces"] == 3
    stub.post("/reset")
    assert stub.get("/stats").json()["traces"] == 0


def test_a_message_may_come_in_pieces(stub: httpx2.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for piece in (b'{"to": ', b'"you"}'):
            yield piece
            time.sleep(0.1)

    taken = stub.post("/mail/messages", headers={"idempotency-key": "k"}, content=pieces())
    assert taken.status_code == 202
    assert stub.get("/mail/messages").json() == {"k": {"to": "you"}}


@pytest.mark.parametrize(
    "change", ["latency_ms=-1", "error_rate=2", "hold=perhaps", "colour=red", "partner=nobody"]
)
def test_a_wrong_setting_is_refused(stub: httpx2.Client, change: str) -> None:
    assert stub.put(f"/settings?{change}").status_code == 422
    with pytest.raises(StackError, match="answered 422"):
        configure_partners(str(stub.base_url), **dict([change.split("=")]))


def test_a_stub_that_does_not_answer_is_an_error() -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for asked in (configure_partners, partner_stats):
        with pytest.raises(StackError, match="answered nothing"):
            asked(nobody)
