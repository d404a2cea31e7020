"""Metrics, traces and logs are exact, keep every failure, and never become the trouble."""

import json
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import psycopg
import pytest
from steps import each, introduced_in

from stack.checkpoint import Checkpoint
from stack.stubs.client import configure_partners, partner_stats
from stack.system import System
from surge.count.telemetry import scrape, scrape_instances
from surge.load.generator import LoadGenerator
from surge.load.plan import Plan
from surge.machine.waiting import wait_until

OBSERVED = introduced_in("observed")

ALL, NONE = {"NGINX_TRACE_SHARE": "100%"}, {"NGINX_TRACE_FLAG": "00"}
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "200"}  # milliseconds between two batches of spans
ORDER = {"product_id": 7, "quantity": 1, "customer": "ada@example.com"}
REQUESTS = "http_server_request_duration_seconds_count"


@contextmanager
def shop(step: Checkpoint, **options: Any) -> Iterator[tuple[System, httpx2.Client]]:
    """A running shop of this step, through its proxy, and one shopper."""
    with (
        System(step, size="tiny", **options) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        yield system, client


def traces(system: System) -> list[dict[str, Any]]:
    """All spans that have come, with the trace that each belongs to."""
    kept = [trace["trace_id"] for trace in httpx2.get(f"{system.traces_url}/traces").json()]
    accept = {"Accept": "application/json"}
    found = [httpx2.get(f"{system.traces_url}/traces/{id}", headers=accept).json() for id in kept]
    return [span for trace in found for span in trace["spans"]]


def spans_when(system: System, many: int) -> list[dict[str, Any]]:
    """The spans, once so many are there: they are sent in batches."""
    wait_until(lambda: len(traces(system)) >= many, f"{many} spans")
    return traces(system)


@each(OBSERVED)
def test_every_request_is_counted_with_its_route_and_status(step: Checkpoint) -> None:
    with shop(step, environment={"EDGE_SECONDS": "0"}, worker=False) as (system, client):
        before = scrape_instances(system)
        for number in range(30):
            client.get(f"/products/{1 + number % 3}")
        for _ in range(7):
            client.get("/products/99999")
        client.get("/products?category=toys")
        client.get("/products?category=toys")
        client.post("/orders", json=ORDER)
        client.post("/orders", json={})
        counted = scrape_instances(system) - before
    found = {key[1:]: int(value) for key, value in counted.items() if key[0] == REQUESTS}
    found = {key: value for key, value in found.items() if key[1] not in ("/metrics", "/readyz")}
    assert found == {
        ("GET", "/products/{product_id}", "200"): 30,
        ("GET", "/products/{product_id}", "404"): 7,
        ("GET", "/products", "200"): 2,
        ("POST", "/orders", "201"): 1,
        ("POST", "/orders", "422"): 1,
    }


@each(OBSERVED)
def test_waiting_requests_are_counted_as_active(step: Checkpoint) -> None:
    with (
        shop(step, instances=1, worker=False) as (system, client),
        ThreadPoolExecutor(5) as shoppers,
        psycopg.connect(system.database_url) as other,
    ):
        other.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
        looking = [shoppers.submit(client.get, f"/products/{number}") for number in range(1, 6)]
        active = "http_server_active_requests"
        itself = 1  # to look takes a request, too
        wait_until(lambda: scrape_instances(system)[active,] == itself + 5, "five active reads")
        other.rollback()
        assert {look.result().status_code for look in looking} == {200}
        assert scrape_instances(system)[active,] == itself


@each(OBSERVED)
def test_garbage_urls_and_methods_make_no_metric_series(step: Checkpoint) -> None:
    with shop(step, instances=1, worker=False) as (system, client), LoadGenerator() as generator:

        def series() -> int:
            return sum(key[0] == REQUESTS for key in scrape_instances(system))

        client.get("/products/7")
        for path in ("/nothing", "/products/x", "/products/7?fields=nope"):
            client.request("GET", path)
            client.request("BREW", path)
        before = series()
        plan = Plan(system.urls, "garbage", connections=20, count=3_000, size="tiny")
        assert generator.run(plan).good == 3_000
        for number in range(50):
            client.request(f"BREW{number}", f"/nothing/{number}")
        assert series() - before <= 5, "each address or method has a series of its own"


@each(OBSERVED)
def test_an_order_is_one_trace_from_the_proxy_to_the_mail(step: Checkpoint) -> None:
    with shop(step, environment=ALL | QUICK, instances=1) as (system, client):
        assert client.post("/orders", json=ORDER).status_code == 201
        expected = ["POST mail", "confirm_order", "POST /orders"]
        wait_until(
            lambda: {*expected} <= {span["name"] for span in traces(system)}, "the spans of both"
        )
        spans = traces(system)
        assert system.proxy
        log = system.proxy.log
        wait_until(lambda: "/orders" in log.read_text(), "nginx to write its log")
        [edge] = [json.loads(line) for line in log.read_text().splitlines() if "/orders" in line]
        assert {span["trace_id"] for span in spans} == {edge["trace_id"]}
        assert {span["service"] for span in spans} == {"shop", "shop-worker"}
        by_id = {span["span_id"]: span for span in spans}
        [mail] = [span for span in spans if span["name"] == "POST mail"]
        path = []
        span: dict[str, Any] | None = mail
        while span:
            path.append(span["name"])
            span = by_id.get(span["parent_id"])
        assert path == expected
        mails = partner_stats(system.partners_url)
        assert (mails["messages"], mails["traces"]) == (1, 1), "the mail service was not told"


@each(OBSERVED)
def test_log_lines_and_exemplar_name_their_trace(step: Checkpoint) -> None:
    with shop(step, environment=ALL | QUICK, worker=False, partners={"error_rate": 1.0}) as (
        system,
        client,
    ):
        client.get("/products/7/offers")
        [id] = {span["trace_id"] for span in spans_when(system, 6)}
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        shown = [httpx2.get(f"{url}/metrics", headers=accept).text for url in system.urls]
        examples = [
            line
            for text in shown
            for line in text.splitlines()
            if "/offers" in line and "# {" in line
        ]
        system.service.stop_all()
        lines = [json.loads(line) for line in system.service.log().splitlines()]
    assert f'trace_id="{id}"' in "".join(examples)
    named = Counter(line["event"] for line in lines if line.get("trace_id") == id)
    assert named == {"request": 1, "no offer": 3}


@each(OBSERVED)
def test_failed_request_is_traced_even_if_not_sampled(step: Checkpoint) -> None:
    small = {"POOL_SIZE": "1", "POOL_TIMEOUT": "1", "TRACE_SLOW": "60", **NONE, **QUICK}
    with shop(step, environment=small, instances=1, worker=False) as (system, client):
        assert client.get("/products/7/stock").status_code == 200
        hold = "BEGIN; LOCK TABLE products IN ACCESS EXCLUSIVE MODE"
        with psycopg.connect(system.database_url) as connection:
            connection.execute(hold)
            with ThreadPoolExecutor(2) as pool:
                asked = [pool.submit(client.get, "/products/7/stock") for _ in range(2)]
                wait_until(lambda: any(one.done() for one in asked), "the one without a connection")
                connection.rollback()
            assert sorted(one.result().status_code for one in asked) == [200, 503]
        [late] = spans_when(system, 1)
        assert late["name"] == "GET /products/{product_id}/stock"
        assert late["status"] == "error"
        assert late["attributes"] == {"http.response.status_code": 503, "late": True}
        assert scrape_instances(system)["requests_shed_total", "pool"] == 1


@each(OBSERVED)
def test_malformed_traceparent_is_replaced(step: Checkpoint) -> None:
    bad = ("", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é" * 30, "ff-" + "a" * 52)
    with (
        shop(step, instances=1, worker=False) as (system, _),
        httpx2.Client(base_url=system.urls[0], timeout=30) as past,
    ):
        for given in bad:  # straight to an instance: nginx lets none of them through
            for path in ("/products/7", "/products/7/stock"):
                answer = past.get(path, headers={"traceparent": given.encode()})
                assert answer.status_code == 200
        system.service.stop_all()
        lines = [json.loads(line) for line in system.service.log().splitlines()]
    ids = [line["trace_id"] for line in lines if line.get("path", "").startswith("/products")]
    assert len({*ids}) == len(ids) == 10
    assert all(len(id) == 32 and int(id, 16) for id in ids)


@each(OBSERVED)
def test_clients_can_neither_force_sampling_nor_read_metrics(step: Checkpoint) -> None:
    forged = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    with shop(step, environment=NONE, worker=False) as (system, client):
        assert client.get("/products/7/stock", headers=forged).status_code == 200
        assert client.get("/metrics").status_code == 404
        system.service.stop_all()
        assert httpx2.get(f"{system.traces_url}/stats").json()["spans"] == 0
        assert b"a" * 32 not in system.service.log()


@each(OBSERVED)
@pytest.mark.parametrize("collector", ["gone", "stalled"])
def test_shop_serves_and_stops_without_a_collector(step: Checkpoint, collector: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        port = silent.getsockname()[1]
        if collector == "gone":
            silent.close()
        nobody = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "TRACE_TIMEOUT": "1"}
        with shop(step, environment=nobody | ALL, instances=1, worker=False) as (system, client):
            for number in range(300):
                assert client.get(f"/products/{1 + number}/stock").status_code == 200
            assert system.service.stop_all()[0] != -signal.SIGKILL, "it waited for the collector"


@each(OBSERVED)
def test_worker_metrics_count_waiting_and_given_up_jobs(step: Checkpoint) -> None:
    settings = {"JOB_CONCURRENCY": "1", "JOB_RETRIES": "1", "MAIL_TIMEOUT": "60"}
    with shop(step, environment=settings, instances=1, partners={"hold": True}) as (system, client):
        for _ in range(3):
            assert client.post("/orders", json=ORDER).status_code == 201
        waiting = ("jobs_waiting", "confirm_orders")
        wait_until(lambda: scrape(*system.workers.metrics)[waiting] == 2, "two that wait")
        wait_until(
            lambda: scrape(*system.workers.metrics)[("jobs_oldest_seconds",)] > 1, "their age"
        )
        configure_partners(
            system.partners_url, error_rate=1.0, hold=False
        )  # too late for the one that is held
        wait_until(lambda: scrape(*system.workers.metrics)[("jobs_given_up",)] == 2, "the failed")
        assert scrape(*system.workers.metrics)[("jobs_oldest_seconds",)] == 0


@each(OBSERVED)
def test_job_of_the_previous_version_is_done(step: Checkpoint) -> None:
    with shop(step, instances=1, worker=False) as (system, client):
        assert client.post("/orders", json=ORDER).status_code == 201
        with psycopg.connect(system.database_url, autocommit=True) as database:
            changed = database.execute("UPDATE procrastinate_jobs SET args = args - 'traceparents'")
            assert changed.rowcount == 1
        system.workers.start()
        wait_until(lambda: partner_stats(system.partners_url)["messages"] == 1, "the message")
