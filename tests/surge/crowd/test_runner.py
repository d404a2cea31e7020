"""Real Locust crowds against a tiny shop that counts what it is asked."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

import psutil
import pytest
import uvicorn
from rich.console import Console

from stack.errors import StackError
from stack.processes.ports import free_port, is_free
from stack.stubs.client import port_of
from surge.crowd import runner
from surge.crowd.runner import BUSY, CONFUSED, JOURNEYS, Outcome

USERS, SECONDS = 2, 4
STOCK = 1
CONSOLE = Console(quiet=True)


class TinyShop:
    """Answers every path the journeys use, with as little as they need."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.keys: list[bytes] = []
        self.orders = count(1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        path = "/".join("{id}" if part.isdecimal() else part for part in scope["path"].split("/"))
        self.asked[f"{scope['method']} {path}"] += 1
        status, headers, body = 200, [], {"id": 1, "items": [{"id": 41}, {"id": 42}]}
        if path == "/orders":
            self.keys.append(dict(scope["headers"])[b"idempotency-key"])
            number = next(self.orders)
            status = 201 if number <= STOCK else 409
            headers = [(b"location", b"/orders/%d" % number)]
        content = json.dumps(body).encode()
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class Slow(TinyShop):
    """Takes longer for an answer than the whole run lasts."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        await asyncio.sleep(2.5)
        await super().__call__(scope, receive, send)


class Broken(TinyShop):
    """Says 200 and sends something that is not the contract's answer."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"wares": []}'})


@contextmanager
def served(shop: TinyShop) -> Iterator[str]:
    port = free_port()
    config = uvicorn.Config(shop, port=port, log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, tuple[Outcome, TinyShop]]]:
    """Every journey once, each against a shop of its own, all at the same time."""
    shops = {journey: TinyShop() for journey in JOURNEYS}
    with ExitStack() as stack, ThreadPoolExecutor(len(shops)) as pool:
        outcomes = {}
        for journey, shop in shops.items():
            url = stack.enter_context(served(shop))
            outcomes[journey] = pool.submit(
                runner.run, url, journey, USERS, SECONDS, False, CONSOLE
            )
        yield {journey: (run.result(), shops[journey]) for journey, run in outcomes.items()}


@pytest.mark.parametrize("journey", JOURNEYS)
def test_the_crowd_and_the_shop_count_the_same(
    journey: str, runs: dict[str, tuple[Outcome, TinyShop]]
) -> None:
    outcome, shop = runs[journey]
    assert {request.name: request.requests for request in outcome.requests} == dict(shop.asked)
    assert outcome.total.requests == shop.asked.total() > 0
    assert sum(outcome.total.times.values()) == outcome.total.requests
    assert outcome.total.failures == 0


@pytest.mark.parametrize(
    ("journey", "paths"),
    {
        "browse": {"GET /products", "GET /products/{id}"},
        "viral": {"GET /products/{id}"},
        "sale": {"GET /products/{id}", "GET /products/{id}/stock", "POST /orders"},
        "offers": {"GET /products/{id}", "GET /products/{id}/offers"},
    }.items(),
)
def test_every_journey_goes_where_it_says(
    journey: str, paths: set[str], runs: dict[str, tuple[Outcome, TinyShop]]
) -> None:
    _, shop = runs[journey]
    assert paths <= shop.asked.keys()


def test_sold_out_is_a_right_answer_and_only_buyers_read_a_receipt(
    runs: dict[str, tuple[Outcome, TinyShop]],
) -> None:
    outcome, shop = runs["sale"]
    assert shop.asked["POST /orders"] > STOCK
    assert shop.asked["GET /orders/{id}"] == STOCK
    assert outcome.total.failures == 0


def test_every_order_has_a_key_of_its_own(runs: dict[str, tuple[Outcome, TinyShop]]) -> None:
    _, shop = runs["sale"]
    assert len(set(shop.keys)) == len(shop.keys) > 0


def test_answers_that_outlast_the_run_are_waited_for_and_counted() -> None:
    shop = Slow()
    with served(shop) as url:
        outcome = runner.run(url, "browse", 5, 2, False, CONSOLE)
    assert outcome.total.requests == shop.asked.total() == 5
    assert (outcome.total.percentile(50) or 0) >= 2500


def test_an_answer_that_breaks_the_contract_rejects_the_run() -> None:
    with served(Broken()) as url:
        outcome = runner.run(url, "browse", 1, 2, False, CONSOLE)
    assert outcome.rejected == runner.REJECTED[CONFUSED]


def test_a_shop_that_does_not_answer_rejects_the_run() -> None:
    outcome = runner.run(f"http://127.0.0.1:{free_port()}", "offers", 1, 1, False, CONSOLE)
    assert outcome.total.failures == outcome.total.requests > 0
    assert outcome.rejected == "not one request got a good answer."


def test_a_generator_without_a_core_left_rejects_the_run() -> None:
    entry = {
        **{"method": "GET", "name": "/", "num_requests": 1, "num_failures": 0},
        **{"start_time": 1.0, "last_request_timestamp": 3.0, "response_times": {"7": 1}},
    }
    assert runner.outcome("browse", 1, 1, [entry], 0).rejected is None
    assert runner.outcome("browse", 1, 1, [entry], BUSY).rejected == runner.REJECTED[BUSY]


def test_a_busy_locust_says_so_by_its_exit_status() -> None:
    """In a process of its own, because importing Locust changes that process's sockets."""
    code = (
        "import locust, types, locust.runners; from surge.crowd import locustfile as f;"
        "runner = types.SimpleNamespace(cpu_warning_emitted=True, exceptions={});"
        "environment = types.SimpleNamespace(runner=runner);"
        "locust.events.quitting.fire(environment=environment, reverse=True);"
        "print(environment.process_exit_code, locust.runners.CPU_MONITOR_INTERVAL)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(BUSY), "2.0"]


def test_an_unknown_journey_is_answered_with_the_choices() -> None:
    with pytest.raises(StackError, match="browse, viral, sale, offers"):
        runner.run("http://127.0.0.1:1", "stroll", 1, 1, False, CONSOLE)


def test_the_page_is_for_this_machine_only_and_ctrl_c_leaves_nothing() -> None:
    code = (
        "from rich.console import Console; from surge.crowd import runner;"
        f"runner.run('http://127.0.0.1:{free_port()}', 'browse', 1, 60, True, Console())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200"},
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        address = line.split()[2]
        port = port_of(address)
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.status == 200
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        sockets = [c for member in family for c in member.net_connections() if c.laddr.port == port]
        listening = {c.laddr.ip for c in sockets if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        process.send_signal(signal.SIGINT)
        process.wait(20)
        assert is_free(port)
        assert not any(member.is_running() for member in family[1:])
    finally:
        process.kill()
        process.communicate()
