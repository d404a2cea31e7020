"""What the tests of the queue and of its workers share."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from steps import introduced_in

from stack.checkpoint import Checkpoint
from stack.seed.data import products
from stack.stubs.client import partner_stats
from stack.system import System
from surge.machine.waiting import wait_until

QUEUED = introduced_in("background")
LAST = QUEUED[-1:]  # for tests of connector.py, which is the same file at all of these steps
QUICK = {"WORKER_SILENCE": "1"}
PLENTY, FEW = (
    next(product.id for product in products("tiny") if product.stock in stock)
    for stock in (range(50, 1000), range(20, 50))
)


class Shop:
    """A running shop and its queue, with what tests do to them."""

    def __init__(self, system: System, client: httpx2.Client, database: Any) -> None:
        self.system = system
        self.client = client
        self.database = database

    def promise(self, category: str) -> str:
        answer = self.client.post("/reports", json={"category": category})
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        return answer.headers["Location"]

    def status(self, path: str) -> str:
        status: str = self.client.get(path).json()["status"]
        return status

    def buy(self, product: int = PLENTY, quantity: int = 1) -> httpx2.Response:
        body = {"product_id": product, "quantity": quantity, "customer": "ada@example.com"}
        return self.client.post("/orders", json=body)

    def buy_four(self) -> set[str]:
        """Place four orders; return the keys of their confirmations."""
        return {f"order-{self.buy().json()['id']}" for _ in range(4)}

    def messages(self) -> dict[str, Any]:
        """The messages that the mail service has taken, by key."""
        taken: dict[str, Any] = httpx2.get(f"{self.system.partners_url}/mail/messages").json()
        return taken

    def posts(self) -> int:
        """How many requests the mail service has had."""
        return partner_stats(self.system.partners_url)["posts"]

    def jobs(self, *statuses: str) -> list[tuple[str, int]]:
        """Task and attempts of the jobs in these states."""
        query = "SELECT task_name, attempts FROM procrastinate_jobs WHERE status::text = ANY(%s)"
        return list(self.database.execute(query, [list(statuses)]))

    def said(self, event: str) -> list[dict[str, Any]]:
        """The workers' log lines of an event."""
        logs = self.system.run_dir.glob("jobs-of-*.log")
        lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    def settled(self) -> None:
        """Wait until nothing is left to do."""
        wait_until(lambda: not self.jobs("todo", "doing"), "the jobs to be done")


@contextmanager
def opened(
    step: Checkpoint, directory: Path | None = None, worker: bool = True, **settings: str
) -> Iterator[Shop]:
    environment = {**QUICK, **settings}
    with (
        System(
            step, directory, size="tiny", environment=environment, instances=1, worker=worker
        ) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):
        yield Shop(system, client, database)
