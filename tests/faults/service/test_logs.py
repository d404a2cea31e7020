"""The log never keeps a request from its answer, and counts every line that it loses."""

import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL
from typing import Any

import httpx2
import psycopg
from steps import each, introduced_in, without_worker

from stack.checkpoint import Checkpoint
from surge.count.log_pipe import LogPipe

LOGGED = introduced_in("logging", "tiers")


def lines(written: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.splitlines()]


def look(client: httpx2.Client, times: int) -> Counter[int]:
    return Counter(client.get("/products/7/stock").status_code for _ in range(times))


@each(LOGGED)
def test_lines_dropped_by_a_full_queue_are_counted(step: Checkpoint) -> None:
    with LogPipe() as pipe:
        settings = {"LOG_FILE": str(pipe.path), "LOG_QUEUE": "100"}
        with without_worker(step, settings) as system:
            with httpx2.Client(base_url=system.url, timeout=30) as client:
                assert look(client, 1_500) == {200: 1_500}
            pipe.recover()
            system.service.stop_all()
        written = lines(pipe.finish())
    kept = [line for line in written if line.get("path") == "/products/7/stock"]
    last = written[-1]
    assert last["event"] == "stopped"
    assert len(kept) + last["dropped"] == 1_500
    assert len(kept) < 1_500, "the disk took it all: nothing was tested"


@each(LOGGED)
def test_lines_refused_by_the_disk_are_counted(step: Checkpoint, tmp_path: Path) -> None:
    """The disk is a pipe: while no reader has it open, every write to it fails."""
    pipe = tmp_path / "requests.log"
    os.mkfifo(pipe)
    disk = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with without_worker(step, {"LOG_FILE": str(pipe)}) as system:
        with httpx2.Client(base_url=system.url, timeout=30) as client:
            assert look(client, 20) == {200: 20}
            time.sleep(0.5)
            written = os.read(disk, 1 << 16)
            os.close(disk)
            assert look(client, 100) == {200: 100}
            time.sleep(0.5)
            disk = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            assert look(client, 20) == {200: 20}
        system.service.stop_all()
    found = lines(written + os.read(disk, 1 << 16))
    os.close(disk)
    kept = [line for line in found if line.get("path") == "/products/7/stock"]
    assert len(kept) < 140
    assert len(kept) + found[-1]["dropped"] == 140


@each(LOGGED)
def test_long_url_makes_no_long_line(step: Checkpoint) -> None:
    """Lines that wait are bounded by their number, so each has to be, too."""
    with without_worker(step) as system:
        with httpx2.Client(base_url=system.urls[0], timeout=30) as client:
            assert client.get("/" + 30_000 * "a").status_code == 404
        system.service.stop_all()
        assert max(map(len, system.service.log().splitlines())) < 1_000


@each(LOGGED)
def test_error_carries_the_request_id_of_its_log_line(step: Checkpoint) -> None:
    with without_worker(step) as system:
        with psycopg.connect(system.database_url, autocommit=True) as database:
            database.execute("ALTER TABLE orders RENAME TO lost")
        with httpx2.Client(base_url=system.urls[0], timeout=30) as client:
            answer = client.get("/orders/1")
        assert answer.status_code == 500
        system.service.stop_all()
        [line] = [one for one in lines(system.service.log()) if one.get("path") == "/orders/1"]
        assert line["request_id"] == answer.headers["X-Request-ID"]


@each(introduced_in("batching", "observed"))
def test_slow_404_is_logged_with_its_duration(step: Checkpoint) -> None:
    with (
        without_worker(step) as system,
        httpx2.Client(base_url=system.urls[0], timeout=30) as client,
        ThreadPoolExecutor(1) as shopper,
        psycopg.connect(system.database_url) as other,
    ):
        other.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
        looking = shopper.submit(client.get, "/products/99999")
        time.sleep(0.5)
        assert not looking.done()
        other.rollback()
        assert looking.result().status_code == 404
        system.service.stop_all()
        [line] = [
            one for one in lines(system.service.log()) if one.get("path") == "/products/99999"
        ]
        assert line["milliseconds"] >= 400


@each(LOGGED)
def test_shutdown_does_not_wait_for_a_stalled_disk(step: Checkpoint) -> None:
    with LogPipe() as pipe:
        settings = {"LOG_FILE": str(pipe.path), "LOG_QUEUE": "10", "LOG_PATIENCE": "0.5"}
        with without_worker(step, settings) as system:
            with httpx2.Client(base_url=system.url, timeout=30) as client:
                look(client, 1_000)
            assert system.service.stop_all()[0] != -SIGKILL, "it waited for the disk"


@each(LOGGED)
def test_every_line_carries_its_own_request_id(step: Checkpoint) -> None:
    names = [f"shopper-{number}" for number in range(40)]
    with without_worker(step, partners={"error_rate": 1.0}) as system:
        with httpx2.Client(base_url=system.url, timeout=30) as client:

            def ask(name: str) -> str:
                answer = client.get("/products/7/offers", headers={"X-Request-ID": name})
                return answer.headers["X-Request-ID"]

            with ThreadPoolExecutor(20) as shoppers:
                assert list(shoppers.map(ask, names)) == names
        system.service.stop_all()
        written = lines(system.service.log())
    for name in names:
        mine = Counter(line["event"] for line in written if line.get("request_id") == name)
        assert mine == {"no offer": 3, "request": 1}


@each(LOGGED)
def test_request_id_that_could_forge_a_line_is_replaced(step: Checkpoint) -> None:
    with (
        without_worker(step) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        for given in ("a b", "x" * 65, "", '"}', "é"):
            headers = {"X-Request-ID": given.encode()}
            answer = client.get("/healthz", headers=headers)
            assert answer.headers["X-Request-ID"].isalnum()
            assert len(answer.headers["X-Request-ID"]) == 32
