"""What nginx refuses, which clients it disconnects, and how it speaks TLS."""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2
import pytest
from balanced import BALANCED, problem, reached, talk
from crowds import order
from steps import each, without_worker

from stack.checkpoint import Checkpoint
from stack.system import System

PATIENCE = 2  # a busy machine may need a second for a handshake


GET = b"GET /products/7/offers HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
POST = b"POST /orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
RUDE = {
    "a body of a megabyte": (POST + b"Content-Length: 1000000\r\n\r\n", b"x" * 1_000_000),
    "the same in chunks": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n",
        *[b"4000\r\n" + b"x" * 0x4000 + b"\r\n"] * 8,
    ),
    "one header of 20 kB": (GET + b"X: " + b"x" * 20_000 + b"\r\n\r\n",),
    "a thousand headers": (GET + b"".join(b"X-%d: %b\r\n" % (n, b"x" * 50) for n in range(1000)),),
    "an address of 20 kB": (
        b"GET /products?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: shop\r\n\r\n",
    ),
    "no HTTP": (b"please\r\n\r\n",),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",),
}
STATUS = [413, 413, 431, 431, 414, 400, 400]


@pytest.fixture(scope="module", params=BALANCED, ids=lambda step: step.label)
def guarded(request: pytest.FixtureRequest) -> Iterator[System]:
    """A system with little patience."""
    with without_worker(request.param, {"NGINX_PATIENCE": f"{PATIENCE}s"}) as system:
        yield system


def test_oversized_or_malformed_requests_reach_no_instance(guarded: System) -> None:
    proxy = guarded.proxy
    assert proxy
    before = reached(guarded, "/products/7/offers"), reached(guarded, "/orders")
    for (what, pieces), status in zip(RUDE.items(), STATUS, strict=True):
        assert problem(talk(proxy.port, *pieces)) == status, what
    assert (reached(guarded, "/products/7/offers"), reached(guarded, "/orders")) == before


def test_slow_clients_are_disconnected_and_delay_no_others(guarded: System) -> None:
    """Two hundred clients send a byte now and then, stop in the middle, or never begin."""
    proxy = guarded.proxy
    assert proxy
    slow: Sequence[tuple[bytes, ...]] = (
        (*(GET[n : n + 1] for n in range(len(GET))),),
        (GET,),
        (POST + b"Content-Length: 100\r\n\r\n", b"half a body"),
        (),
    )
    before = reached(guarded, "/products/7/offers"), reached(guarded, "/orders")
    with ThreadPoolExecutor(200) as pool, httpx2.Client(base_url=guarded.url, timeout=30) as client:
        waiting: list[Future[bytes]] = [
            pool.submit(talk, proxy.port, *slow[n % 4], pause=0.1 * PATIENCE) for n in range(200)
        ]
        looked = 0
        while not all(one.done() for one in waiting):
            assert client.get(f"/products/{1 + looked % 1000}").status_code == 200
            looked += 1
        for one in waiting:  # each was hung up on, or `talk` would not have come back
            assert not one.result().startswith(b"HTTP/1.1 2")
    assert looked > 20
    assert (reached(guarded, "/products/7/offers"), reached(guarded, "/orders")) == before


def test_clients_that_speak_no_tls_are_refused(guarded: System) -> None:
    proxy = guarded.proxy
    assert proxy
    assert problem(talk(proxy.tls_port, GET + b"\r\n")) == 400
    for noise in (
        b"\x16\x03\x01\xff\xff" + bytes(range(256)),
        b"\x80\x2e\x01\x00\x02",
        b"\x16\x03",
    ):
        assert b"HTTP" not in talk(proxy.tls_port, noise)
    assert problem(talk(proxy.tls_port, b"please\r\n\r\n", tls=True)) == 400
    with pytest.raises(httpx2.ConnectError, match="certificate"):
        httpx2.get(proxy.tls_url)  # a client that was not told to trust our authority


def test_http_2_carries_many_requests_on_one_connection(guarded: System) -> None:
    proxy = guarded.proxy
    assert proxy
    trusting = ssl.create_default_context(cafile=str(proxy.authority))
    one = httpx2.Limits(max_connections=1)

    async def shop() -> tuple[list[httpx2.Response], httpx2.Response]:
        # In one thread: with several, this client may send the streams in the wrong order.
        async with httpx2.AsyncClient(
            http2=True, http1=False, verify=trusting, limits=one, base_url=proxy.tls_url
        ) as client:
            few = asyncio.Semaphore(10)  # of a hundred at once, a small machine may refuse some

            async def look(id: int) -> httpx2.Response:
                async with few:
                    return await client.get(f"/products/{id}")

            looks = [look(id) for id in range(1, 101)]
            return await asyncio.gather(*looks), await client.post("/orders", **order(7, 1))

    answers, ordered = asyncio.run(shop())
    assert {(answer.status_code, answer.http_version) for answer in answers} == {(200, "HTTP/2")}
    assert [answer.json()["id"] for answer in answers] == list(range(1, 101))
    assert ordered.status_code == 201


@each(BALANCED)
def test_rate_limit_answers_429(step: Checkpoint) -> None:
    strict = {"NGINX_RATE": "1r/m", "NGINX_BURST": "9"}
    with (
        without_worker(step, strict) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        answers = [client.get("/products/7") for _ in range(15)]
        turned = [answer for answer in answers if answer.status_code == 429]
        assert len(answers) - len(turned) in (8, 9, 10)  # the start has asked, too
        assert turned[0].headers["Content-Type"] == "application/problem+json"
        assert turned[0].headers["Retry-After"] == "1"
        assert turned[0].json()["status"] == 429
