"""Every order answered with 201 is kept and confirmed, even if processes are killed meanwhile."""

import signal
from collections import Counter

import httpx2
import psycopg
from crowds import crowd, order
from resilient import RESILIENT
from steps import each

from stack.checkpoint import Checkpoint
from stack.system import System
from surge.machine.waiting import wait_until

QUICK = {"WORKER_SILENCE": "1"}


@each(RESILIENT)
def test_every_accepted_order_is_kept_and_confirmed_once(step: Checkpoint) -> None:
    """Instances and workers are killed in turn while a crowd buys through nginx."""
    taken: dict[str, int] = {}
    statuses: Counter[int] = Counter()

    def buy(client: httpx2.Client, number: int) -> None:
        mine = order(1 + number % 50, number)
        try:
            answer = client.post("/orders", **mine)
        except httpx2.RemoteProtocolError:  # killed between the headers and the body
            return
        statuses[answer.status_code] += 1
        assert answer.status_code in (201, 502), answer.text
        if answer.status_code == 201:
            taken[mine["headers"]["Idempotency-Key"]] = answer.json()["id"]

    def more(orders: int) -> None:
        goal = len(taken) + orders
        wait_until(lambda: len(taken) >= goal, "orders")

    with (
        System(step, size="tiny", environment=QUICK) as system,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):
        database.execute("UPDATE products SET stock = 10000")
        with crowd(system, buy, each=4):
            for number in range(system.instances):
                more(20)
                system.workers.stop(signal.SIGKILL)
                system.service.stop(number, signal.SIGKILL)
                more(20)
                system.workers.start()
                system.service.start(number, until_idle=False)
            more(20)
        assert statuses[201] == len(taken)
        kept = dict(
            database.execute(
                "SELECT idempotency_key, id FROM orders WHERE idempotency_key LIKE '%-%'"
            ).fetchall()
        )
        assert taken.items() <= kept.items()

        def confirmed() -> set[str]:
            return set(httpx2.get(f"{system.partners_url}/mail/messages").json())

        expected = {f"order-{id}" for id in kept.values()}
        wait_until(lambda: confirmed() >= expected, "all confirmations")
        assert confirmed() == expected  # by key: the mail service takes each of them once
