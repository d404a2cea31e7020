"""Every promised job is done once, even if workers and servers die on the way."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from queues import FEW, LAST, QUEUED, Shop, opened
from steps import each, run_program

from stack.checkpoint import Checkpoint
from stack.seed.data import CATEGORIES
from stack.stubs.client import configure_partners
from surge.machine.waiting import wait_until
from surge.run.variants import what_if


@pytest.fixture(scope="module", params=QUEUED, ids=lambda step: step.label)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with opened(request.param) as shop:
        yield shop


@pytest.fixture
def mail_held(shop: Shop) -> Iterator[Callable[[], None]]:
    """The mail service takes no message until the test lets it."""

    def let_go() -> None:
        configure_partners(shop.system.partners_url, partner="mail", hold=False)

    configure_partners(shop.system.partners_url, partner="mail", hold=True)
    yield let_go
    let_go()


def test_reports_of_a_killed_worker_are_made_by_the_next(shop: Shop) -> None:
    with shop.database.transaction():
        shop.database.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")  # no report is made
        promised = [shop.promise(category) for category in CATEGORIES[:8]]
        wait_until(lambda: len(shop.jobs("doing")) > 0, "a job to be started")
        shop.system.workers.stop(signal.SIGKILL)
    assert shop.jobs("todo", "doing"), "it had done them all: nothing was tested"
    shop.system.workers.start()
    shop.settled()
    assert {shop.status(path) for path in promised} == {"done"}
    assert not shop.jobs("failed")


def test_confirmation_resent_after_a_worker_crash_keeps_its_key(
    shop: Shop, mail_held: Callable[[], None]
) -> None:
    before, posts = shop.messages(), shop.posts()
    deserved = shop.buy_four()
    wait_until(lambda: shop.posts() == posts + 4, "four messages to be on their way")
    shop.system.workers.stop(signal.SIGKILL)
    mail_held()  # the mail service takes what the dead worker had sent
    shop.system.workers.start()
    shop.settled()
    assert shop.posts() > posts + 4, "nothing was sent again: nothing was tested"
    assert shop.messages().keys() - before.keys() == deserved


def test_paused_worker_duplicates_no_confirmation(
    shop: Shop, mail_held: Callable[[], None]
) -> None:
    before, posts = shop.messages(), shop.posts()
    deserved = shop.buy_four()
    wait_until(lambda: shop.posts() == posts + 4, "four messages to be on their way")
    [asleep] = shop.system.pids()["worker"]
    os.kill(asleep, signal.SIGSTOP)
    try:
        shop.system.workers.start()
        mail_held()
        shop.settled()
    finally:
        os.kill(asleep, signal.SIGCONT)
    deserved |= shop.buy_four()
    shop.settled()
    shop.system.workers.stop()
    shop.system.workers.start()
    assert shop.messages().keys() - before.keys() == deserved
    assert not shop.jobs("failed")


def test_stopping_worker_finishes_its_jobs(shop: Shop, mail_held: Callable[[], None]) -> None:
    before, posts = shop.messages(), shop.posts()
    deserved = shop.buy_four()
    wait_until(lambda: shop.posts() == posts + 4, "four messages to be on their way")
    [worker] = shop.system.pids()["worker"]
    os.kill(worker, signal.SIGTERM)
    time.sleep(0.3)
    mail_held()
    psutil.Process(worker).wait(30)
    shop.system.workers.stop()
    assert shop.posts() == posts + 4
    assert shop.messages().keys() - before.keys() == deserved
    assert not shop.jobs("todo", "doing")
    shop.system.workers.start()


LISTENS = "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'listen%'"


@each(LAST)
def test_worker_listens_again_after_a_postgres_restart(step: Checkpoint) -> None:
    with opened(step) as shop:
        wait_until(lambda: shop.database.execute(LISTENS).fetchone() == (1,), "its start")
        shop.system.backing.restart_postgres()
        with psycopg.connect(shop.system.database_url, autocommit=True) as database:
            wait_until(lambda: database.execute(LISTENS).fetchone() == (1,), "it to listen")
        bought = shop.buy().json()["id"]
        wait_until(lambda: f"order-{bought}" in shop.messages(), "its confirmation")


ASKING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'fetch_job'"
)


@each(LAST)
def test_worker_survives_a_postgres_restart_while_fetching_a_job(step: Checkpoint) -> None:
    with opened(step) as shop:
        with (
            suppress(psycopg.OperationalError),  # it is cut off, too
            psycopg.connect(shop.system.database_url) as holding,
        ):
            holding.execute("LOCK TABLE procrastinate_jobs IN ACCESS EXCLUSIVE MODE")
            wait_until(lambda: shop.database.execute(ASKING).fetchone() == (1,), "it to ask")
            shop.system.backing.restart_postgres()
        bought = shop.buy().json()["id"]
        wait_until(lambda: f"order-{bought}" in shop.messages(), "its confirmation")


@pytest.mark.parametrize("moment", ["before it is set up", "before its first statement"])
def test_connection_lost_while_it_is_made_is_no_bug(shop: Shop, moment: str) -> None:
    """A bug would end the worker, and be a 500 for a client."""
    url = shop.system.database_url
    run_program(shop.system.checkpoint, "lost_connection.py", moment, DATABASE_URL=url)


def test_refused_order_gets_no_confirmation(shop: Shop) -> None:
    before = shop.messages()
    with ThreadPoolExecutor(20) as buyers:
        answers = list(buyers.map(lambda _: shop.buy(FEW, quantity=10), range(20)))
    sold = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert {answer.status_code for answer in answers} == {201, 409}
    shop.settled()
    assert shop.messages().keys() - before.keys() == {f"order-{id}" for id in sold}


def test_refused_confirmation_is_sent_again(shop: Shop) -> None:
    before = shop.messages()
    configure_partners(shop.system.partners_url, partner="mail", error_rate=1)
    order = shop.buy().json()["id"]
    wait_until(lambda: ("confirm_orders", 1) in shop.jobs("todo"), "the first try to fail")
    configure_partners(shop.system.partners_url, partner="mail", error_rate=0)
    shop.settled()
    assert shop.messages().keys() - before.keys() == {f"order-{order}"}


@each(QUEUED)
def test_job_that_always_fails_is_given_up_and_stays_visible(step: Checkpoint) -> None:
    with opened(step, JOB_RETRIES="1") as shop:
        configure_partners(shop.system.partners_url, partner="mail", error_rate=1)
        assert shop.buy().status_code == 201
        shop.settled()
        assert shop.jobs("failed") == [("confirm_orders", 2)]
        configure_partners(shop.system.partners_url, partner="mail", error_rate=0)
        order = shop.buy().json()["id"]  # the others go on
        shop.settled()
        assert set(shop.messages()) == {f"order-{order}"}


@each(QUEUED)
def test_job_that_kills_every_worker_is_given_up(step: Checkpoint, tmp_path: Path) -> None:
    first_line = "    units: Counter"
    deadly = f'    __import__("os")._exit(1) if category == "toys" else None\n{first_line}'
    change = (first_line, deadly)
    mine = what_if(step.name, "poisoned", "app/jobs/sales.py", change, work=tmp_path)
    with opened(step, mine, JOB_RETRIES="1") as shop:
        poisoned = shop.promise("toys")
        # It kills two workers. The third, which is started in their place, has heard of it.
        wait_until(lambda: shop.status(poisoned) == "failed", "the job to be given up")
        assert shop.jobs("failed") == [("make_report", 2)]
        healthy = shop.promise("games")
        shop.settled()
        assert shop.status(healthy) == "done"


@each(QUEUED)
def test_report_of_a_given_up_job_fails_even_if_its_worker_died(
    step: Checkpoint,
) -> None:
    with opened(step) as shop:
        with shop.database.transaction():
            shop.database.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")  # none is made
            report = shop.promise("toys")
            wait_until(lambda: shop.status(report) == "running", "the report to be begun")
            shop.system.workers.stop(signal.SIGKILL)
        # As the last try leaves it when its worker dies once the queue has heard of its end.
        shop.database.execute("UPDATE procrastinate_jobs SET status = 'failed'")
        assert shop.status(report) == "running"
        shop.system.workers.start()
        wait_until(lambda: shop.status(report) == "failed", "the report to have failed")
