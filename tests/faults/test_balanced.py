"""Behind nginx an instance may die, restart or hang up, and shoppers may misbehave."""

import asyncio
import json
import os
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import httpx2
import psycopg
import pytest
from crowds import KEPT_NOWHERE, Act, crowd, order
from steps import alone, teaching

from lab.sql import wait_until
from stack.checkpoint import Checkpoint
from stack.nginx import USUAL
from stack.system import System

BALANCED = teaching("balanced")
each = pytest.mark.parametrize("step", BALANCED, ids=lambda step: step.label)

FOR_AN_HOUR = {"EDGE_SECONDS": "3600", "MEMORY_SECONDS": "3600"}
PATIENCE = 2  # a busy machine may need a second for a handshake
NUMBERS = count()


def kill(system: System, number: int) -> None:
    """Kill an instance while it has requests that it has not answered."""
    os.kill(system.pids()["app"][number], signal.SIGSTOP)
    time.sleep(0.3)
    system.end_instance(number, signal.SIGKILL)


def serves_again(system: System, number: int) -> None:
    """Wait until nginx sends somebody to an instance that has just come back."""
    log = system.run_dir / f"requests-{number}.log"
    old = log.stat().st_size
    wait_until(lambda: b"/products" in log.read_bytes()[old:], "nginx to come back")


def reached(system: System, path: str) -> int:
    """How many requests for a path have reached an instance.

    Their logs are written in batches: when there is a line of a request that came after, all are.
    """
    last = f"/last/{next(NUMBERS)}"
    for url in system.urls:
        assert httpx2.get(url + last, timeout=30).status_code == 404
    wait_until(lambda: system.log().count(last.encode()) == len(system.urls), "the last lines")
    lines = [json.loads(line) for line in system.log().splitlines()]
    return sum(line.get("path") == path for line in lines)


@each
def test_an_instance_killed_costs_no_reader_an_answer(step: Checkpoint) -> None:
    """But for one: uvicorn writes headers and body one after the other, and who is killed in
    between has told nginx half of an answer, which cannot be had from somebody else.
    """
    looked: Counter[str] = Counter()

    def look(path: str) -> Act:
        def act(client: httpx2.Client, number: int) -> None:
            try:
                answer = client.get(path.format(1 + number % 1000))
            except httpx2.RemoteProtocolError:
                looked["half"] += 1
                return
            assert answer.status_code == 200, answer.text
            looked[path] += 1

        return act

    paths = ("/products/{}", "/products?page={}", "/products/{}/stock")
    with alone(step, KEPT_NOWHERE, instances=2) as system:
        with crowd(system, *map(look, paths)):
            for number in range(system.instances):
                kill(system, number)
                system.start_instance(number)
                serves_again(system, number)
        assert system.proxy
        told = system.proxy.child.log.read_text()
    assert told.count("while reading response header") > 2, (
        "no request was lost: nothing was tested"
    )
    assert all(looked[path] > 50 for path in paths)
    assert looked["half"] <= step.serve.instances, "an instance writes one answer at a time"


@each
def test_200_buyers_for_50_while_an_instance_is_killed_and_the_other_rolled(
    step: Checkpoint,
) -> None:
    """Each buyer goes on asking with the same key, and must get the same answer for ever."""
    units, buyers, tries = 50, 200, 3
    answers: dict[int, list[httpx2.Response]] = {number: [] for number in range(buyers)}

    def buy(client: httpx2.Client, number: int) -> None:
        number %= buyers
        with suppress(httpx2.TransportError):
            answers[number].append(client.post("/orders", **order(7, number)))

    def served() -> int:
        return sum(len(mine) for mine in answers.values())

    with (
        alone(step, instances=2) as system,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):
        database.execute("UPDATE products SET stock = %s WHERE id = 7", (units,))
        with crowd(system, buy, each=10):
            wait_until(lambda: served() >= units // 2, "the first orders")
            kill(system, 0)
            system.start_instance(0)
            system.replace(1)
            wait_until(lambda: all(len(mine) >= tries for mine in answers.values()), "all buyers")
        rows = database.execute(
            "SELECT id, idempotency_key FROM orders WHERE idempotency_key LIKE '7-%'"
        ).fetchall()
        stock = database.execute("SELECT stock FROM products WHERE id = 7").fetchone()
    assert stock == (0,)
    assert len(rows) == units
    made = {key: id for id, key in rows}
    assert len(made) == units
    for number, mine in answers.items():
        said = [answer for answer in mine if answer.status_code in (201, 409)]
        assert said, f"buyer {number} never got an answer"
        assert {answer.status_code for answer in mine} <= {201, 409, 502}
        if f"7-{number}" in made:
            bodies = [answer.json() for answer in said]
            assert {body["id"] for body in bodies} == {made[f"7-{number}"]}
            assert bodies.count(bodies[0]) == len(bodies)
        else:
            assert {answer.status_code for answer in said} == {409}


@each
def test_a_rolling_restart_fails_nobody(step: Checkpoint) -> None:
    """Nobody tries again: every request gets its answer, orders and changes too."""
    done: Counter[str] = Counter()
    numbers = count()

    def act(client: httpx2.Client, _: int) -> None:
        number = next(numbers)
        id = 1 + number % 1000
        for answer, status in (
            (client.get(f"/products/{id}"), 200),
            (client.get(f"/products/{id}/stock"), 200),
            (client.post("/orders", **order(id, number)), 201),
            (client.patch(f"/products/{id}", json={"price_cents": 100 + number}), 200),
        ):
            assert answer.status_code == status, answer.text
            done[answer.request.method] += 1

    with alone(step, KEPT_NOWHERE, instances=2) as system:
        with psycopg.connect(system.database_url, autocommit=True) as database:
            database.execute("UPDATE products SET stock = 1000")
            before = system.pids()["app"]
            with crowd(system, act, each=8):
                system.roll()
            made = database.execute(
                "SELECT count(*) FROM orders WHERE idempotency_key LIKE '%-%'"
            ).fetchone()
        assert not set(before) & set(system.pids()["app"])
    assert made == (done["POST"],)
    assert done["POST"] > 50


@each
def test_an_instance_keeps_connections_longer_than_nginx(step: Checkpoint) -> None:
    command = step.serve.command
    kept = float(command[command.index("--timeout-keep-alive") + 1])
    assert kept > float(USUAL["NGINX_IDLE"].removesuffix("s"))


@each
def test_who_orders_on_a_connection_that_was_idle_gets_no_502(step: Checkpoint) -> None:
    """An order goes out while the instances are held, until they would have hung up.

    Did nginx keep the connection as long, it would send the order there, and the instance would
    hang up before it looks. A connection that nginx still uses is far from that.
    """
    command = list(step.serve.command)
    command[command.index("--timeout-keep-alive") + 1] = "4"
    short = step.model_copy(update={"serve": step.serve.model_copy(update={"command": command})})
    with (
        alone(short, {"NGINX_IDLE": "1s"}, instances=2) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        ThreadPoolExecutor(1) as buyer,
    ):
        for number, idle in enumerate((0.5, 1.5, 3.5)):
            for _ in range(4):  # to each instance, so that there is a connection to be kept
                assert client.get("/products/7/stock").status_code == 200
            time.sleep(idle)
            with held(system):
                buying = buyer.submit(client.post, "/orders", **order(7, number))
                time.sleep(1)
            answer = buying.result()
            assert answer.status_code == 201, f"after {idle} s idle: {answer.text}"


@contextmanager
def held(system: System) -> Iterator[None]:
    """No instance moves."""
    for pid in system.pids()["app"]:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in system.pids()["app"]:
            os.kill(pid, signal.SIGCONT)


# ---- Shoppers who misbehave ------------------------------------------------------------------


def talk(port: int, *pieces: bytes, pause: float = 0.0, tls: bool = False) -> bytes:
    """Send some bytes, and give what comes back until the other side hangs up."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        connection = plain
        if tls:
            anybody = ssl.create_default_context()
            anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
            connection = anybody.wrap_socket(plain)
        with connection, suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while some := connection.recv(65536):
                said += some
    return said


def problem(said: bytes) -> int:
    """The status of an answer that must be a problem with a cure."""
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, said
    found = json.loads(body)
    assert int(head.split()[1]) == found["status"]
    assert found.keys() >= {"type", "title", "detail"} and len(found["detail"].split()) > 4
    status: int = found["status"]
    return status


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
    with alone(request.param, {"NGINX_PATIENCE": f"{PATIENCE}s"}) as system:
        yield system


def test_what_is_too_large_or_no_http_reaches_nobody(guarded: System) -> None:
    proxy = guarded.proxy
    assert proxy
    before = reached(guarded, "/products/7/offers"), reached(guarded, "/orders")
    for (what, pieces), status in zip(RUDE.items(), STATUS, strict=True):
        assert problem(talk(proxy.port, *pieces)) == status, what
    assert (reached(guarded, "/products/7/offers"), reached(guarded, "/orders")) == before


def test_slow_shoppers_are_let_go_and_keep_nobody_waiting(guarded: System) -> None:
    """Two hundred who send a byte now and then, who stop, or who never begin."""
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


def test_who_does_not_speak_tls_is_let_go(guarded: System) -> None:
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
        httpx2.get(proxy.tls_url)  # who was not told to trust our authority does not


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


# ---- The micro-cache -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=BALANCED, ids=lambda step: step.label)
def kept(request: pytest.FixtureRequest) -> Iterator[System]:
    """A system whose nginx keeps answers for as long as the tests take."""
    with alone(request.param, FOR_AN_HOUR, instances=2) as system:
        yield system


def test_hot_reads_reach_the_service_once_for_each_form(kept: System) -> None:
    with httpx2.Client(base_url=kept.url, timeout=30) as client, ThreadPoolExecutor(10) as shoppers:
        expected = client.get("/products/8").json()
        forms = ("gzip", "identity", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8", "*")

        def look(number: int) -> httpx2.Response:
            form = forms[number % len(forms)]
            return client.get("/products/8", headers={"Accept-Encoding": form})

        answers = [look(number) for number in range(2)]
        answers += shoppers.map(look, range(300))
    for answer in answers:
        assert answer.json() == expected
        zipped = "gzip" in answer.request.headers["Accept-Encoding"]
        assert answer.headers.get("Content-Encoding") == ("gzip" if zipped else None)
        assert answer.headers["Cache-Control"] == "public, no-cache"
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == len(answers)
    assert {answer.headers["X-Cache"] for answer in answers[2:]} == {"hit"}
    assert reached(kept, "/products/8") == 2


def test_who_knows_the_answer_gets_no_body_and_reaches_nobody(kept: System) -> None:
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        for path in ("/products/9", "/products?category=books", "/products/9?fields=id,name"):
            tag = client.get(path).headers["ETag"]
            before = reached(kept, path.partition("?")[0])
            again = client.get(path, headers={"If-None-Match": tag})
            assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
            assert client.get(path, headers={"If-None-Match": 'W/"other"'}).status_code == 200
            assert reached(kept, path.partition("?")[0]) == before


def test_every_address_has_its_own_answer(kept: System) -> None:
    paths = (
        *("/products/10", "/products/10?fields=id", "/products/10?fields=name", "/products/010"),
        *("/products?page=2", "/products?page=3", "/products?page=2&size=21", "/products?size=100"),
        *("//products/10", "/x/../products/10", "/products/10%3Ffields=id", "/products/10/"),
    )
    for _ in range(2):
        for path in paths:
            assert get(kept.url, path) == get(kept.urls[0], path), path


def get(url: str, path: str) -> tuple[int, Any]:
    """The answer to exactly this address, which a client would tidy up."""
    port = int(url.rpartition(":")[2])
    said = talk(port, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_an_author_sees_every_change_at_once(kept: System) -> None:
    with (
        httpx2.Client(base_url=kept.url, timeout=30) as author,
        httpx2.Client(base_url=kept.url, timeout=30) as other,
    ):
        before = other.get("/products/11").json()["price_cents"]
        author.get("/products/11")
        for price in range(100, 120):
            assert author.patch("/products/11", json={"price_cents": price}).status_code == 200
            assert author.get("/products/11").json()["price_cents"] == price
            assert author.get("/products/11?fields=price_cents").json() == {"price_cents": price}
        # Where nginx keeps answers for an hour, nobody else does: so it was the cookie.
        assert other.get("/products/11").json()["price_cents"] == before


def test_stock_orders_and_offers_are_never_kept(kept: System) -> None:
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        left = client.get("/products/12/stock").json()["stock"]
        for number in range(3):
            made = client.post("/orders", **order(12, number))
            assert made.status_code == 201
            assert client.get("/products/12/stock").json()["stock"] == left - 1 - number
            assert client.get(made.headers["Location"]).json() == made.json()
            assert client.get("/products/12/offers").status_code == 200
        assert reached(kept, "/products/12/offers") == 3
        assert client.get("/products/1001").status_code == 404
        assert client.get("/products/1001").status_code == 404
    assert reached(kept, "/products/1001") == 2


def test_the_name_of_a_request_is_the_same_everywhere(kept: System) -> None:
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        for path in ("/products/13/stock", "/products/13", "/products/13"):
            named = client.get(path, headers={"X-Request-ID": f"me-{path[9:].count('/')}"})
            assert named.headers.get_list("X-Request-ID") == [f"me-{path[9:].count('/')}"]
        unnamed = client.get("/products/13/stock").headers["X-Request-ID"]
        client.get("/products/13/stock", headers={"X-Request-ID": "forged\tid"})
    assert reached(kept, "/products/13/stock") == 3
    ids = [json.loads(line)["request_id"] for line in kept.log().splitlines() if b"/13" in line]
    assert ids.count("me-2") == ids.count(unnamed) == 1  # whichever instance had them
    assert not any("forged" in id for id in ids)


def test_when_no_instance_answers_what_is_kept_still_does(kept: System) -> None:
    """The last test with this system: afterwards nobody is left."""
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        expected = client.get("/products/14").json()
        for number in range(kept.instances):
            kept.end_instance(number, signal.SIGKILL)
        assert client.get("/products/14").json() == expected
        lost = client.get("/products/14/stock")
        assert lost.status_code == 502
        assert lost.headers["Content-Type"] == "application/problem+json"
        assert lost.headers["Retry-After"] == "1"
        assert "X-Request-ID" in lost.headers
        assert lost.json()["status"] == 502


@each
def test_a_change_is_seen_by_all_within_the_declared_time(step: Checkpoint) -> None:
    """And until then, hot reads reach the service about once a second, however many there are."""
    edge, memory = 1, 5
    bound = 2 * edge + 1
    settings = {"EDGE_SECONDS": str(edge), "MEMORY_SECONDS": str(memory)}
    with (
        alone(step, settings, instances=2) as system,
        httpx2.Client(base_url=system.url, timeout=30) as author,
        httpx2.Client(base_url=system.url, timeout=30) as other,
    ):
        began = time.monotonic()
        looks, late = 0, []
        for price in (101, 102, 103):
            other.get("/products/7")
            patched = author.patch("/products/7", json={"price_cents": price})
            changed = time.monotonic()
            assert f"Max-Age={memory + bound}" in patched.headers["Set-Cookie"]
            author.cookies.clear()
            while True:
                looked = time.monotonic()
                looks += 1
                if other.get("/products/7").json()["price_cents"] == price:
                    break
                late.append(looked - changed)
        seconds = time.monotonic() - began
        asked = reached(system, "/products/7") - 3  # without the changes
        other.get("/products/8")
        author.patch("/products/8", json={"price_cents": 801})
        time.sleep(bound)  # and nobody asks: what is kept is too old to be sent even once
        assert other.get("/products/8").json()["price_cents"] == 801
        for number in range(system.instances):
            system.end_instance(number, signal.SIGKILL)
        time.sleep(bound)  # too old again, but now there is nobody to ask
        assert other.get("/products/8").json()["price_cents"] == 801
    assert late, "all saw it at once: nothing was tested"
    assert max(late) <= bound
    assert looks > 10 * asked
    assert 2 <= asked <= seconds / edge + 1


@each
def test_who_asks_too_often_is_turned_away(step: Checkpoint) -> None:
    strict = {"NGINX_RATE": "1r/m", "NGINX_BURST": "9"}
    with (
        alone(step, strict) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        answers = [client.get("/products/7") for _ in range(15)]
        turned = [answer for answer in answers if answer.status_code == 429]
        assert len(answers) - len(turned) in (8, 9, 10)  # the start has asked, too
        assert turned[0].headers["Content-Type"] == "application/problem+json"
        assert turned[0].headers["Retry-After"] == "1"
        assert turned[0].json()["status"] == 429
