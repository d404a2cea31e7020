"""Orders that are sold together are confirmed by one job. One that fails costs no other."""

from pathlib import Path

import httpx2
import pytest
from buyers import GATE, ONE, PATIENT, Order, opened
from queues import QUEUED, QUICK

from stack.checkpoint import Checkpoint
from stack.system import System
from surge.machine.waiting import wait_until
from surge.run.variants import what_if

REFUSED, DEADLY = "raise RuntimeError", '__import__("os")._exit(1)'


# The steps between have the first one's file, or the last one's.
@pytest.mark.parametrize(("step", "reason"), [(QUEUED[0], REFUSED), (QUEUED[-1], DEADLY)])
def test_confirmation_that_fails_holds_up_no_other_of_its_batch(
    step: Checkpoint, tmp_path: Path, reason: str
) -> None:
    first_line = "    message = {"
    poisoned = (first_line, f"    if order.quantity == 2:\n        {reason}\n{first_line}")
    mine = what_if(step.name, "poisoned", "app/jobs/tasks.py", poisoned, work=tmp_path)
    # One at a time: what else is under way when a worker dies has been tried once more, too.
    environment = PATIENT | QUICK | {"JOB_RETRIES": "1", "JOB_CONCURRENCY": "1"}
    with (
        System(
            step, mine, size="tiny", environment=environment, instances=1, worker=False
        ) as system,
        opened(system) as shop,
    ):
        shop.put_on_sale({GATE: 0, ONE: 100})
        orders = [Order(ONE, quantity=units) for units in (1, 2, 1)]
        bought = [one.answer().body for one in shop.send_together(orders)]
        jobs = shop.database.execute("SELECT args -> 'order_ids' FROM procrastinate_jobs")
        [[ids]] = jobs.fetchall()  # one job for all of them
        assert sorted(ids) == sorted(order["id"] for order in bought)
        system.workers.start()
        left = "SELECT args -> 'order_ids', attempts FROM procrastinate_jobs WHERE status = ANY(%s)"
        wait_until(
            lambda: not shop.database.execute(left, [["todo", "doing"]]).rowcount, "all to end"
        )
        failed = shop.database.execute(left, [["failed"]]).fetchall()
        hopeless = [([order["id"]], 2) for order in bought if order["quantity"] == 2]
        assert sorted(failed) == sorted(hopeless)
        sent = httpx2.get(f"{system.partners_url}/mail/messages").json()
        wanted = {f"order-{order['id']}" for order in bought if order["quantity"] == 1}
        assert set(sent) == wanted
