"""Nothing that one client sends fails another client's request, or looks like a dead instance."""

import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import cycle
from random import Random

import httpx2
import psycopg
import pytest
from balanced import BALANCED, problem, talk
from crowds import KEPT_NOWHERE, Act, crowd, order
from resilient import RESILIENT, refused
from steps import alone, each, inside

from stack.checkpoint import Checkpoint
from stack.stubs.ask import partner_stats, turn
from stack.system import System
from surge.machine.waiting import wait_until

BODY = b"x" * 60_000
BUY = b'{"product_id": 7, "quantity": 1, "customer": "rude@example.com"}'
HEADERS = ("Content-Type", "Cookie", "Idempotency-Key", "Request-Timeout", "X-Unknown")
FAILED = ("upstream sent", "while reading response header", "to upstream", "no live upstreams")
"""What nginx writes of an instance that it takes for broken."""


def request(line: bytes, *headers: bytes, host: bytes = b"shop", body: bytes = b"") -> bytes:
    length = (b"Content-Length: %d" % len(body),) if body else ()
    head = (line + b" HTTP/1.1", b"Host: " + host, b"Connection: close", *length, *headers)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


RUDE = {
    "a long query and a slash too many": (request(b"GET /products/?" + b"a" * 5_000), 404),
    "a long host and a slash too many": (request(b"GET /products/", host=b"h" * 7_000), 404),
    "a method that there is not": (request(b"FOO /orders", body=BODY), 405),
    "a method of a file server": (request(b"PROPFIND /orders", body=BODY), 405),
    "an address in raw UTF-8": (request("POST /ördèrs".encode(), body=BODY), 400),
    "a query in raw UTF-8": (request("POST /orders?ö".encode(), body=BODY), 400),
    "a control character in a key": (
        request(b"POST /orders", b"Idempotency-Key: a\x0bb", body=BODY),
        400,
    ),
    "an order of seven thousand fields": (request(b"POST /orders", body=BODY), 413),
    "a report of as many": (request(b"POST /reports", body=BODY), 413),
    "two ways to say how long it is": (
        request(b"POST /orders", b"Transfer-Encoding: chunked", body=BODY),
        400,
    ),
    "a transfer coding that nobody knows": (
        request(b"POST /orders", b"Transfer-Encoding: gzip"),
        501,
    ),
    "HTTP of the future": (b"GET /products/7 HTTP/4.0\r\nHost: shop\r\n\r\n", 505),
}


@pytest.fixture(scope="module", params=BALANCED, ids=lambda step: step.label)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """Two instances; one worker of nginx sees all that happens to them."""
    with alone(request.param, {**KEPT_NOWHERE, "NGINX_WORKERS": "1"}, instances=2) as system:
        yield system


def blames(system: System) -> list[str]:
    """What nginx has said of its instances."""
    assert system.proxy
    lines = system.proxy.child.log.read_text(errors="replace").splitlines()
    return [line for line in lines if any(what in line for what in FAILED)]


@pytest.mark.parametrize("what", RUDE)
def test_a_rude_request_hears_what_is_wrong_and_no_instance_is_blamed(
    system: System, what: str
) -> None:
    assert system.proxy
    sent, status = RUDE[what]
    for _ in range(8):  # before, eight were enough to shut the shop
        assert problem(talk(system.proxy.port, sent)) == status
    assert not blames(system)
    with httpx2.Client(base_url=system.url, timeout=30) as client:
        for number in range(4):
            assert client.get(f"/products/{1 + number}/stock").status_code == 200


@pytest.mark.parametrize("where", ["the method", "the address", *HEADERS])
def test_no_byte_anywhere_makes_an_instance_hang_up(system: System, where: str) -> None:
    """All 256, in all that is passed on and in some that is not, with a body that nobody reads."""
    assert system.proxy
    for number in range(256):
        odd = bytes([number])
        match where:
            case "the method":
                sent = request(b"PO" + odd + b"T /products/7/stock", body=BODY)
            case "the address":
                sent = request(b"POST /products/7/stock?" + odd, body=BODY)
            case _:
                header = where.encode() + b": 1" + odd + b"1"
                sent = request(b"POST /products/7/stock", header, body=BODY)
        said = talk(system.proxy.port, sent)
        # A line that ends early is HTTP/0.9, which knows no head.
        refused = json.loads(said.rpartition(b"\r\n\r\n")[2])
        assert 400 <= refused["status"] < 500, (number, said)
    assert not blames(system)


def test_what_is_not_allowed_says_what_is(system: System) -> None:
    for method in ("PUT", "TRACE", "FOO"):
        answer = httpx2.request(method, f"{system.url}/products/7")
        assert answer.status_code == 405
        assert "GET" in answer.headers["Allow"]


@each(BALANCED)
def test_more_addresses_than_nginx_can_count_cost_nobody_an_answer(step: Checkpoint) -> None:
    """Each has a place in the zone, also one that is not kept. Here all places are in use."""
    few = {"NGINX_KEYS": "32k", "LIMIT_MOST": "1000", "POOL_TIMEOUT": "60"}
    with (
        alone(step, few) as system,
        psycopg.connect(system.database_url) as database,
        ThreadPoolExecutor(400) as shoppers,
    ):
        assert system.proxy
        log = system.proxy.child.log
        with database.transaction():
            database.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")  # nobody is answered
            get = partial(httpx2.get, timeout=60)
            asked = [
                shoppers.submit(get, f"{system.url}/products?x={number}") for number in range(400)
            ]
            wait_until(lambda: "could not allocate" in log.read_text(), "the zone to be full")
        assert {one.result().status_code for one in asked} == {200}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a second loopback address")
@each(RESILIENT)
def test_one_client_that_fills_the_shop_leaves_places_for_others(step: Checkpoint) -> None:
    """Each instance has thirty, and somebody asks for two hundred offers that do not come."""
    patient = {"PARTNER_TIMEOUT": "30", "REQUEST_SECONDS": "30"}
    few = {"LIMIT_LEAST": "30", "LIMIT_MOST": "30", "NGINX_PLACES": "20", **patient}
    elsewhere = httpx2.HTTPTransport(local_address="127.0.0.2")
    with (
        alone(step, few, instances=2) as system,
        httpx2.Client(base_url=system.url, timeout=30) as polite,
        httpx2.Client(base_url=system.url, timeout=30, transport=elsewhere) as rude,
        ThreadPoolExecutor(200) as pool,
    ):
        turn(system.partners_url, hold=True)
        asked = [pool.submit(rude.get, f"/products/{number}/offers") for number in range(1, 201)]
        wait_until(lambda: sum(one.done() for one in asked) >= 180, "the others to be refused")
        assert partner_stats(system.partners_url)["in_flight"] == 3 * 20
        for number in range(1, 31):
            assert polite.get(f"/products/{number}/stock").status_code == 200
            assert polite.post("/orders", **order(number, number)).status_code in (201, 409)
        turn(system.partners_url, hold=False)
        answers = [one.result() for one in asked]
    assert Counter(answer.status_code for answer in answers) == {200: 20, 429: 180}
    refused(next(answer for answer in answers if answer.status_code == 429), 429)


HANGS_UP = """
import asyncio, sys, threading, uvicorn, httpx2
from app.resilience.admission import AdmissionControlMiddleware

async def app(scope, receive, send):
    headers, half = [(b"content-length", b"5")], scope["path"] == "/half"
    body = {"body": b"wh", "more_body": True} if half else {"body": b"whole"}
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", **body})
    if dict(scope["headers"]).get(b"request-timeout"):
        await asyncio.sleep(60)  # what is done for a request after its answer

guarded = AdmissionControlMiddleware(app)
server = uvicorn.Server(uvicorn.Config(guarded, port=0, lifespan="off", log_level="critical"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    threading.Event().wait(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
try:
    # One connection at most; its number is in what the client logs of it.
    limits = httpx2.Limits(max_connections=1)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=30) as client:
        ports = set()
        for _ in range(3):
            with client.stream("GET", "/whole", headers={"Request-Timeout": "0.05"}) as answer:
                assert answer.read() == b"whole"
                stream = answer.extensions["network_stream"]
                ports.add(stream.get_extra_info("client_addr"))
            threading.Event().wait(0.2)  # the deadline is over
        assert len(ports) == 1, "it hung up after a whole answer"
        try:
            client.get("/half", headers={"Request-Timeout": "0.05"})
        except httpx2.RemoteProtocolError:
            pass
        else:
            raise AssertionError("it neither ended a half answer nor hung up")
finally:
    server.should_exit = True
    thread.join()
"""


@each(RESILIENT)
def test_a_deadline_hangs_up_on_half_an_answer_and_never_after_a_whole_one(
    step: Checkpoint,
) -> None:
    inside(step, HANGS_UP)


@each(RESILIENT)
def test_two_rude_clients_among_32_polite_ones_cost_none_of_them_an_answer(
    step: Checkpoint,
) -> None:
    """Half a minute of everything above, of noise, and of deadlines that are almost long enough."""
    polite: Counter[tuple[str, int]] = Counter()
    rude: Counter[bytes] = Counter()

    def look(path: str) -> Act:
        def act(client: httpx2.Client, number: int) -> None:
            polite[path, client.get(path.format(1 + number % 1000)).status_code] += 1

        return act

    def buy(client: httpx2.Client, number: int) -> None:
        status = client.post("/orders", **order(1 + number % 900, number)).status_code
        polite["/orders", status] += 1

    def annoy(system: System, seed: int, until: float) -> None:
        assert system.proxy
        random = Random(seed)
        for sent, _ in cycle(RUDE.values()):
            if time.monotonic() > until:
                return
            hurry = b"Request-Timeout: 0.%04d" % random.randrange(20, 200)
            for one in (
                *(sent,) * 8,
                request(b"GET /orders/1", hurry),
                request(b"POST /orders", hurry, b"Content-Type: application/json", body=BUY),
                request(b"GET /products/%d/offers" % random.randrange(1, 1000), hurry),
                random.randbytes(200),
                sent[: random.randrange(len(sent))],
            ):
                with suppress(OSError):
                    rude[hasty(system.proxy.port, one)] += 1

    roomy = {"LIMIT_MOST": "300", "LIMIT_LEAST": "100"}  # a busy machine must not turn anybody away
    with alone(step, roomy, instances=2) as system, ThreadPoolExecutor(2) as pool:
        acts = (look("/products/{}"), look("/products/{}/stock"), look("/products?page={}"), buy)
        with crowd(system, *acts, each=8):
            until = time.monotonic() + 30
            for done in [pool.submit(annoy, system, seed, until) for seed in range(2)]:
                done.result()
    failed = {what: many for what, many in polite.items() if what[1] not in (200, 201, 409)}
    assert not failed
    assert polite.total() > 1_000
    assert rude.total() > 500


def hasty(port: int, sent: bytes) -> bytes:
    """The status, for a client that does not wait for long, and hangs up in the middle."""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(sent)
        connection.settimeout(0.05)
        return connection.recv(4096)[9:12]
