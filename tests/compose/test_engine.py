"""The whole file in a container engine: a step comes up, survives a kill and a roll, and goes."""

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from secrets import randbelow, token_hex
from threading import Event
from typing import Any

import httpx2
import pytest

from stack.checkpoint import checkpoints
from stack.paths import ROOT
from stack.processes.ports import free_port
from surge.machine.waiting import wait_until

STEP = checkpoints()[-1]
CROWD = 4
PAUSE = 0.05  # between two requests of one shopper: the containers are to be busy, not the machine


def why_not() -> str:
    if not shutil.which("docker"):
        return "there is no docker on PATH"
    for asked in (["docker", "info"], ["docker", "compose", "version"]):
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        if said.returncode:
            return f"{' '.join(asked)}: {said.stderr.strip().splitlines()[-1]}"
    return ""


REASON = why_not()


class Project:
    """compose.yaml under a name, ports and a network of its own."""

    def __init__(self) -> None:
        self.name = f"surge-{token_hex(4)}"
        self.port = free_port()
        ours = {
            "CHECKPOINT": str(STEP.number),
            "SIZE": "tiny",
            "SUBNET": f"10.{200 + randbelow(50)}.{randbelow(256)}",
            "PORT": str(self.port),
        }
        others = ("TLS_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
        self.environment = {**os.environ, **ours, **{name: str(free_port()) for name in others}}
        self.prometheus = f"http://127.0.0.1:{self.environment['PROMETHEUS_PORT']}"

    def run(self, *words: str) -> str:
        file = str(ROOT / "compose" / "compose.yaml")
        command = ["docker", "compose", "--project-name", self.name, "--file", file, *words]
        return docker(command, self.environment)

    def start(self, service: str, *how: str) -> None:
        self.run("up", "--detach", "--wait", "--no-deps", *how, service)

    def sql(self, statement: str) -> str:
        named = "SELECT datname FROM pg_database WHERE datname ~ '^surge_[0-9]'"
        psql = ["exec", "-T", "postgres", "psql", "-U", "postgres", "-tA"]
        database = self.run(*psql, "-c", named).strip()
        return self.run(*psql, "-d", database, "-c", statement).strip()


def docker(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def project() -> Iterator[Project]:
    project = Project()
    try:
        project.run("up", "--detach", "--wait")
        yield project
    finally:
        project.run("down", "--volumes", "--timeout", "10")
    filtered = ["--quiet", "--filter", f"label=com.docker.compose.project={project.name}"]
    for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        assert docker(["docker", *kind, *filtered]) == ""


class Crowd:
    """Clients that order, and read what no cache keeps; and the statuses that they met."""

    def __init__(self) -> None:
        self.over = Event()
        self.reads: Counter[int | str] = Counter()
        self.sold: Counter[int] = Counter()
        self.retries = 0

    def shop(self, url: str, shopper: int) -> None:
        with httpx2.Client(base_url=url, timeout=30) as client:
            for number in count():
                if self.over.is_set():
                    break
                self.read(client, f"/products/{1 + number % 900}/stock")
                if number % 5 == 0:
                    self.order(client, f"{shopper}-{number}")
                time.sleep(PAUSE)

    def read(self, client: httpx2.Client, path: str) -> None:
        try:
            self.reads[client.get(path).status_code] += 1
        except httpx2.HTTPError as error:
            self.reads[repr(error)] += 1

    def order(self, client: httpx2.Client, key: str) -> None:
        """An order that gets no good answer is sent again, with the same key."""
        wanted = {"product_id": 950, "quantity": 1, "customer": f"{key}@crowd.example.com"}
        for _ in range(10):
            answer = client.post("/orders", json=wanted, headers={"Idempotency-Key": key})
            if answer.status_code < 500:
                break
            self.retries += 1
            time.sleep(1)
        self.sold[answer.status_code] += 1


@contextmanager
def crowd(url: str) -> Iterator[Crowd]:
    crowd = Crowd()
    with ThreadPoolExecutor(CROWD) as pool:
        shopping = [pool.submit(crowd.shop, url, shopper) for shopper in range(CROWD)]
        try:
            time.sleep(1)
            yield crowd
            time.sleep(1)
        finally:
            crowd.over.set()
    for shopper in shopping:
        shopper.result()


def shop_answers_through_nginx(project: Project) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{project.port}", timeout=30) as shop:
        order = {"product_id": 1, "quantity": 2, "customer": "someone@example.com"}
        bought = shop.post("/orders", json=order)
        assert bought.status_code == 201
        assert shop.get(bought.headers["Location"]).json() == bought.json()
        assert len(shop.get("/products/1/offers").json()["offers"]) == 3
        report = shop.post("/reports", json={"category": "music"})
        where = report.headers["Location"]
        wait_until(lambda: shop.get(where).json()["status"] == "done", "the report")


def kill_and_roll_fail_no_read_and_no_order(project: Project) -> None:
    with crowd(f"http://127.0.0.1:{project.port}") as met:
        project.run("kill", "api-1")
        time.sleep(3)  # the crowd goes on without it
        project.start("api-1")
        for instance in ("api-1", "api-2"):
            project.start(instance, "--force-recreate")
    assert set(met.reads) == {200}
    assert met.reads[200] > 100
    assert set(met.sold) <= {201, 409}  # 409 when all of it is sold
    found = project.sql(
        "SELECT count(*), count(DISTINCT customer) FROM orders WHERE customer LIKE '%@crowd.%'"
    )
    assert found == f"{met.sold[201]}|{met.sold[201]}"


def prometheus_scrapes_every_process(project: Project) -> None:
    def answering() -> Counter[str]:
        targets: dict[str, Any] = httpx2.get(f"{project.prometheus}/api/v1/targets").json()
        listed = targets["data"]["activeTargets"]
        return Counter(target["labels"]["job"] for target in listed if target["health"] == "up")

    wanted = {"api": 2, "worker": 1}
    wait_until(lambda: answering() >= Counter(wanted), json.dumps(wanted))


def containers_run_without_root_and_postgres_wants_passwords(project: Project) -> None:
    for service in ("api-1", "worker", "nginx", "postgres", "valkey", "prometheus"):
        assert int(project.run("exec", "-T", service, "id", "-u")) > 0
    for who in ("surge", "postgres"):
        asked = f"import psycopg; psycopg.connect('postgresql://{who}:guess@postgres/postgres')"
        with pytest.raises(AssertionError, match="password authentication failed"):
            project.run("exec", "-T", "api-1", "python", "-c", asked)


@pytest.mark.docker
@pytest.mark.timeout(1800)  # the first time, images are fetched
@pytest.mark.skipif(bool(REASON), reason=REASON)
def test_shop_of_the_compose_file_works(project: Project) -> None:
    shop_answers_through_nginx(project)
    kill_and_roll_fail_no_read_and_no_order(project)
    prometheus_scrapes_every_process(project)
    containers_run_without_root_and_postgres_wants_passwords(project)
