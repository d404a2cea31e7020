"""Cheats: services that look fast and are not. Each is planted, and has to be seen through.

A machine that is busy may reject any comparison; so where a test names no reason, another will do.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import mean

import pytest
from steps import each, introduced_in, write_step

from stack.checkpoint import Checkpoint, find
from stack.system import System
from surge.load.generator import LoadGenerator
from surge.load.plan import Plan
from surge.load.workloads import WORKLOADS
from surge.measure import paired
from surge.measure.arms import Arm
from surge.measure.effects import Books, Effects, SeenTo, mismatch
from surge.measure.samples import Schedule
from surge.results.rows import Account, Comparison
from surge.run.variants import what_if

Make = Callable[..., Checkpoint]
APP = """
import asyncio, os, signal, sys, threading, time
from contextlib import suppress
asked, answered = 0.0, 0
async def app(scope, receive, send):
    global asked, answered
    asked, answered, body = time.monotonic(), answered + 1, b"{}"
    [request]
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body})
[start]
"""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a service of a few lines: what it does for each request, and what from its start on."""

    def checkpoint(request: str = "pass", start: str = "") -> Checkpoint:
        folder = tmp_path / f"service-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        code = APP.replace("[request]", request).replace("[start]", start)
        return write_step(folder, folder.name, "services = []", app=code)

    return checkpoint


def compare(a: Checkpoint, b: Checkpoint, name: str = "detail", *, starts: int = 1) -> Comparison:
    schedule = Schedule(starts, pairs=2, slice_seconds=0.3, warmup_seconds=0.1, open_seconds=0.2)
    return paired.compare(a, b, name, size="tiny", setup=paired.Setup(schedule=schedule))


def share(row: Comparison, side: str, part: Callable[[Account], float]) -> float:
    """A part of the machine's account while one side was measured."""
    return mean(part(one.account) for one in row.samples if one.side == side and one.account)


# CPU time that somebody else pays for.

SHIFTY = """
def burn():
    while True:
        if time.monotonic() - asked < 0.02 or not asked:
            time.sleep(0.002)
threading.Thread(target=burn, daemon=True).start()
"""
"""Uses a core while no request comes: in the slices of the other side."""


def test_a_side_that_works_while_the_other_is_measured_stands_still(make: Make) -> None:
    row = compare(make(), make(start=SHIFTY))
    assert share(row, "a", lambda account: account.paused) < 0.02
    assert row.verdict != "faster"


BURN = """
import os, sys, time
while True:
    os.kill(int(sys.argv[1]), 0)  # ends with the one that it works for
    time.sleep(0.001)
    n = sum(range(40_000))
"""
DETACHED = f"""
service = str(os.getpid())
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", {BURN!r}, service], [environment])
    os._exit(0)
os.wait()
"""
"""Leaves a grandchild without a parent, which uses most of a core."""


def test_the_work_of_an_orphan_is_its_tiers(make: Make) -> None:
    row = compare(make(), make(start=DETACHED.replace("[environment]", "os.environ")))
    assert share(row, "b", lambda account: account.tiers) > share(row, "a", lambda x: x.tiers)
    assert share(row, "a", lambda account: account.paused) < 0.02
    assert row.tiers.b["app"] > row.tiers.a["app"]


def test_an_orphan_that_hides_is_foreign_to_both(make: Make) -> None:
    row = compare(make(), make(start=DETACHED.replace("[environment]", "{}")))
    for side in "ab":
        assert share(row, side, lambda account: account.foreign + account.unexplained) > 0.08


def test_a_machine_that_others_keep_busy_is_not_measured_on(make: Make) -> None:
    with ExitStack() as stack:
        for _ in range(2):
            burner = subprocess.Popen([sys.executable, "-c", BURN, str(os.getpid())])
            stack.callback(burner.wait)
            stack.callback(burner.kill)
        row = compare(make(), make())
    assert re.search(r"other programs took|no process that still runs", str(row.rejected))


UNREAPED = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def burn():
    while True:
        if os.fork() == 0:
            sum(range(1_000_000))
            os._exit(0)
        with suppress(ChildProcessError):
            os.wait()
threading.Thread(target=burn, daemon=True).start()
"""
"""Children whose CPU time the kernel forgets when they end, since nobody may wait for them."""


def test_work_of_children_that_are_forgotten_is_missed(make: Make) -> None:
    row = compare(make(), make(start=UNREAPED))
    assert re.search(r"no process .* accounts for \d+% of|other programs took", str(row.rejected))


# Answers that are not.


@pytest.mark.parametrize("good", ["answered < 400", "answered % 2"])
def test_a_body_that_changes_later_is_seen(make: Make, good: str) -> None:
    row = compare(make(), make(f'body = b"{{}}" if {good} else b"[]"'))
    assert re.search(r"/products/\d+ (was answered in several ways|differ)", str(row.rejected))


def test_bodies_that_vary_on_both_sides_are_not_alike(make: Make) -> None:
    varying = make('body = b"%d" % answered')
    assert "in several ways" in str(compare(varying, varying, "one").rejected)


def test_a_wait_that_a_full_machine_hides_is_seen_at_a_moderate_rate(make: Make) -> None:
    row = compare(
        make("n = sum(range(20_000))"), make("n = sum(range(20_000)); await asyncio.sleep(0.005)")
    )
    assert row.p50_ms is not None
    assert row.p50_ratio is not None
    assert row.p50_ms.b - row.p50_ms.a > 2
    assert row.p50_ratio.median < 0.7


# Answers that nothing stands behind.

UNSOLD = ("            await session.commit()\n", "            await session.flush()\n")
UNTAKEN = ("        product.stock -= new.quantity\n", "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (UNSOLD, r"answered 201 [\d,]+ times and has 0 new orders"),
        (UNTAKEN, r"sold [\d,]+ units and took 0 from stock"),
    ],
)
def test_an_order_that_is_not_carried_out_is_seen(
    tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    assert re.search(reason, rejected("05", "app/orders.py", change, tmp_path))


def test_orders_without_a_job_are_seen(tmp_path: Path) -> None:
    # PostgreSQL does not run a SELECT in a WITH that nobody reads.
    change = ("FROM job CROSS JOIN sold", "FROM sold")
    reason = r"B \(12 .*\) queued or did 0 of \d+ orders and reports"
    assert re.search(reason, rejected("12", "app/sale/transaction.py", change, tmp_path))


def rejected(which: str, file: str, change: tuple[str, str], work: Path) -> str:
    """Why a step with this change is rejected when its orders are compared with its own."""
    step, cheat = find(which), what_if(which, "cheat", file, change, work=work)
    schedule = Schedule(1, pairs=2, slice_seconds=0.1, warmup_seconds=0.1, open_seconds=0.1)
    setup = paired.Setup(schedule=schedule)
    row = paired.compare(step, step, "orders", directory=cheat, size="tiny", setup=setup)
    return str(row.rejected)


BEFORE = Effects(orders=5, units=5, stock=95, reports=1, seen_to=SeenTo(6, 7))
HONEST = Effects(orders=8, units=8, stock=92, reports=2, seen_to=SeenTo(9, 10))


@pytest.mark.parametrize(
    ("after", "lost", "reason"),
    [
        (HONEST, 0, None),
        (Effects(7, 7, 93, 2, SeenTo(6, 10)), 0, "answered 201 3 times and has 2 new orders"),
        (Effects(9, 9, 91, 2, SeenTo(6, 11)), 0, "answered 201 3 times and has 4 new orders"),
        (Effects(9, 9, 91, 2, SeenTo(6, 11)), 1, None),  # one more, whose client never heard of it
        (Effects(8, 8, 92, 1, SeenTo(6, 10)), 0, "answered 202 1 times and has 0 new reports"),
        (Effects(8, 8, 95, 2, SeenTo(6, 10)), 0, "sold 3 units and took 0 from stock"),
        (Effects(8, 8, 92, 2, SeenTo(6, 9)), 0, "queued or did 3 of 4 orders and reports"),
    ],
)
def test_rows_stock_and_jobs_are_held_against_the_answers(
    after: Effects, lost: int, reason: str | None
) -> None:
    assert mismatch(BEFORE, after, Counter({201: 3, 202: 1, 409: 7, 200: 30}), lost) == reason


@each(introduced_in("naive", "logging", "tiers", "background", "balanced"))
def test_an_honest_step_stands_by_its_answers(step: Checkpoint) -> None:
    with System(step, size="tiny") as system, LoadGenerator() as generator:
        arm = Arm("a", system, generator)
        books = Books(arm, writes=True, must_log=True)
        for name in ("mixed", "reports", "hot"):
            plan = Plan(
                system.public_urls, name, WORKLOADS[name].connections, count=40, size="tiny"
            )
            arm.run(plan)
        assert arm.statuses[201] and arm.statuses[202] and not arm.unanswered
        assert books.mismatch() is None


def test_a_service_that_stops_logging_is_seen(tmp_path: Path) -> None:
    change = ('            log.info(\n                "request",', "            dict(")
    cheat = what_if("06", "cheat", "app/logs.py", change, work=tmp_path)
    with System(find("06"), cheat, size="tiny") as system, LoadGenerator() as generator:
        arm = Arm("a", system, generator)
        books, lenient = (Books(arm, writes=False, must_log=must) for must in (True, False))
        arm.run(Plan(system.public_urls, "hot", 4, count=40, size="tiny"))
        assert re.search("gave 40 answers and logged 0 lines", str(books.mismatch()))
        assert lenient.mismatch() is None
