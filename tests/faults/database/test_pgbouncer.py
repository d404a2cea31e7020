"""Behind PgBouncer, many processes with pools of their own share a few connections."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import psycopg
import pytest
from steps import each, introduced_in

from stack.checkpoint import Checkpoint
from stack.host.account import account
from stack.processes.ports import free_port
from stack.seed.data import CATEGORIES, products
from stack.servers.postgres import answers
from stack.stubs.client import port_of
from stack.system import System
from surge.machine.waiting import wait_until

PGBOUNCER = shutil.which("pgbouncer") or ""
SERVED = 10  # connections to PostgreSQL, for all of the service's processes
ONE, FOUR = {"WEB_CONCURRENCY": "1"}, {"WEB_CONCURRENCY": "4"}
CONFIGURATION = """
[databases]
surge = host=127.0.0.1 port={postgres} dbname=surge user=surge
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {served}
max_prepared_statements = 200
"""
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'surge'"


def why_not() -> str:
    if not PGBOUNCER:
        return "pgbouncer is not installed (Debian: apt-get install pgbouncer)"
    said = subprocess.run([PGBOUNCER, "--version"], capture_output=True, text=True, check=True)
    if [int(part) for part in re.findall(r"\d+", said.stdout)[:2]] < [1, 21]:
        return "a PgBouncer before 1.21 forgets prepared statements in transaction mode"
    return ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@contextmanager
def bouncer(system: System) -> Iterator[str]:
    who, port = account(), free_port()
    folder = system.run_dir / "pgbouncer"
    folder.mkdir()
    postgres = port_of(system.database_url)
    text = CONFIGURATION.format(postgres=postgres, port=port, served=SERVED)
    (folder / "pgbouncer.ini").write_text(text)
    who.take_ownership(folder)  # PgBouncer refuses to run as root, too
    child = system.run.start(
        "pgbouncer", [PGBOUNCER, "pgbouncer.ini"], directory=folder, account=who
    )
    url = f"postgresql://surge@127.0.0.1:{port}/surge"
    child.wait_until(lambda: answers(url))
    yield url
    child.stop(signal.SIGINT)


@each(introduced_in("workers"))
def test_four_processes_with_a_pool_each_share_ten_connections(step: Checkpoint) -> None:
    plenty = max(products("tiny"), key=lambda product: product.stock).id

    def buy(number: int) -> httpx2.Response:
        order = {"product_id": plenty, "quantity": 1, "customer": f"shopper{number}@example.com"}
        return client.post("/orders", json=order, headers={"Idempotency-Key": f"key-{number}"})

    with (
        System(step, size="tiny", environment=ONE, worker=False) as system,
        bouncer(system) as url,
        ThreadPoolExecutor(40) as crowd,
    ):
        details = httpx2.get(f"{system.url}/products/7").content
        system.restart_app({**FOUR, "DATABASE_URL": url})
        with httpx2.Client(base_url=system.url, timeout=30) as client:
            assert client.get("/products/7").content == details
            paths = [f"/products/{product.id}" for product in products("tiny")][:200]
            assert {answer.status_code for answer in crowd.map(client.get, paths)} == {200}
            orders = [answer.json() for answer in crowd.map(buy, range(40))]
            assert len({order["id"] for order in orders}) == 40
            assert [answer.json() for answer in crowd.map(buy, range(40))] == orders
            path = client.post("/reports", json={"category": CATEGORIES[0]}).headers["Location"]
            with psycopg.connect(system.instruments_url) as database:
                assert 1 < database.execute(SESSIONS).fetchone()[0] <= SERVED
            # LISTEN belongs to one connection: the worker gets one that is its own.
            del system.environment["DATABASE_URL"]
            system.workers.start()
            wait_until(lambda: client.get(path).json()["status"] == "done", "the report")
