"""A stopping instance says so first, finishes what it has begun, and ends in time."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import psycopg
from crowds import KEPT_NOWHERE, crowd, order
from resilient import RESILIENT, lines, refused
from steps import each

from stack.checkpoint import Checkpoint
from stack.stubs.client import configure_partners, fetch, partner_stats, port_of
from stack.system import System
from surge.machine.waiting import wait_until

HELD = {**KEPT_NOWHERE, "PARTNER_TIMEOUT": "30", "REQUEST_SECONDS": "30"}


def ask_to_stop(system: System, number: int) -> None:
    os.kill(system.pids()["app"][number], signal.SIGTERM)


@each(RESILIENT)
def test_stopping_instance_fails_readiness_and_still_serves(step: Checkpoint) -> None:
    with (
        System(step, size="tiny", environment={"DRAIN_SECONDS": "5"}) as system,
        httpx2.Client(base_url=system.urls[0], timeout=30) as client,
    ):
        ask_to_stop(system, 0)
        wait_until(lambda: client.get("/readyz").status_code == 503, "it to say so")
        assert client.get("/healthz").status_code == 200
        assert client.get("/products/7/stock").status_code == 200
        new = httpx2.get(f"{system.urls[0]}/products/8/stock")  # on a connection of its own
        assert new.status_code == 200
        assert system.service.stop_all()[0] == -signal.SIGTERM


@each(RESILIENT)
def test_requests_in_flight_are_answered_before_the_end(step: Checkpoint) -> None:
    with (
        System(step, size="tiny", environment=HELD) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        ThreadPoolExecutor(12) as pool,
    ):
        configure_partners(system.partners_url, hold=True)
        asked = [pool.submit(client.get, "/products/7/offers") for _ in range(12)]
        wait_until(lambda: partner_stats(system.partners_url)["in_flight"] == 36, "all calls")
        for number in range(system.instances):
            ask_to_stop(system, number)
        time.sleep(1)
        assert not any(one.done() for one in asked)
        configure_partners(system.partners_url, hold=False)
        for one in asked:
            assert one.result().status_code == 200
            assert one.result().json()["missing"] == []
        assert system.service.stop_all()[0] == -signal.SIGTERM
        assert len(lines(system, "stopped")) == system.instances


@each(RESILIENT)
def test_hanging_request_does_not_block_shutdown(step: Checkpoint) -> None:
    with System(step, size="tiny", environment=HELD) as system, ThreadPoolExecutor(1) as pool:
        configure_partners(system.partners_url, hold=True)
        asked = pool.submit(httpx2.get, f"{system.url}/products/7/offers", timeout=30)
        wait_until(lambda: partner_stats(system.partners_url)["in_flight"] == 3, "the calls")
        assert system.service.stop_all()[0] == -signal.SIGTERM, "it had to be killed"
        refused(asked.result())
        assert len(lines(system, "stopped")) == system.instances, "the log was not flushed"


@each(RESILIENT)
def test_frozen_servers_do_not_block_shutdown(step: Checkpoint) -> None:
    with (
        System(step, size="tiny", environment=KEPT_NOWHERE) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        assert client.get("/products/7").status_code == 200
        frozen = [
            process
            for tier in ("database", "cache")
            for process in system.backing.children[tier].tree()
        ]
        for process in frozen:
            process.suspend()
        try:
            assert system.service.stop_all()[0] == -signal.SIGTERM, "it had to be killed"
        finally:
            for process in frozen:
                process.resume()
        assert len(lines(system, "stopped")) == system.instances


@each(RESILIENT)
def test_no_accepted_order_is_lost_when_instances_stop(step: Checkpoint) -> None:
    """Without a drain: nginx still sends shoppers there when they are told to stop."""
    answers: Counter[int] = Counter()

    def buy(client: httpx2.Client, number: int) -> None:
        answer = client.post("/orders", **order(1 + number % 20, number))
        answers[answer.status_code] += 1
        assert answer.status_code in (201, 502), answer.text

    with (
        System(step, size="tiny") as system,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):
        database.execute("UPDATE products SET stock = 10000")
        with crowd(system, buy, each=8):
            for number in range(system.instances):
                system.service.stop(number)
                goal = answers[201] + 20
                wait_until(lambda goal=goal: answers[201] >= goal, "orders at the other one")
                system.service.start(number, until_idle=False)
        row = database.execute(
            "SELECT count(*), count(DISTINCT idempotency_key) FROM orders "
            "WHERE idempotency_key LIKE '%-%'"
        ).fetchone()
    assert row
    assert row[0] == row[1] >= answers[201] > 40


@each(RESILIENT)
def test_readiness_fails_only_after_a_lasting_database_outage(step: Checkpoint) -> None:
    with (
        System(step, size="tiny", environment={"READY_PATIENCE": "4"}, instances=1) as system,
        httpx2.Client(base_url=system.urls[0], timeout=30) as client,
    ):
        system.backing.stop_postgres()
        wait_until(lambda: readiness(client) == (200, "failed"), "it to notice, without haste")
        began = time.monotonic()
        wait_until(lambda: client.get("/readyz").status_code == 503, "it to be not ready")
        assert time.monotonic() - began > 1
        assert client.get("/healthz").status_code == 200, "a restart would not help"
        system.backing.restart_postgres()
        wait_until(lambda: readiness(client) == (200, "ok"), "it to be ready again")


def readiness(client: httpx2.Client) -> tuple[int, str]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["checks"]["postgres"]


@each(RESILIENT)
def test_instance_is_not_ready_before_it_has_seen_the_database(step: Checkpoint) -> None:
    with System(step, size="tiny", instances=1) as system, ThreadPoolExecutor(1) as pool:
        port = port_of(system.urls[0])
        system.backing.stop_postgres()
        system.service.stop_all()
        starting = pool.submit(system.service.start, 0)
        try:
            wait_until(lambda: fetch(port, "/healthz")[0] == 200, "it to be alive")
            assert fetch(port, "/readyz")[0] == 503
        finally:
            system.backing.restart_postgres()
        starting.result()
