"""What the service has promised is done, once, whoever dies on the way."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from queues import FEW, QUEUED, Shop, opened
from steps import alone, each, inside

from stack.checkpoint import Checkpoint
from stack.seed.data import CATEGORIES
from stack.stubs.ask import turn
from surge.machine.waiting import wait_until


@pytest.fixture(scope="module", params=QUEUED, ids=lambda step: step.label)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with opened(request.param) as shop:
        yield shop


@pytest.fixture
def mail_held(shop: Shop) -> Iterator[Callable[[], None]]:
    """Nobody's message is taken until the test says so."""

    def let_go() -> None:
        turn(shop.system.partners_url, partner="mail", hold=False)

    turn(shop.system.partners_url, partner="mail", hold=True)
    yield let_go
    let_go()


def test_reports_of_a_killed_worker_are_made_by_the_next(shop: Shop) -> None:
    with shop.database.transaction():
        shop.database.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")  # no report is made
        promised = [shop.promise(category) for category in CATEGORIES[:8]]
        wait_until(lambda: len(shop.jobs("doing")) > 0, "a job to be started")
        shop.system.workers.end(signal.SIGKILL)
    assert shop.jobs("todo", "doing"), "it had done them all: nothing was tested"
    shop.system.workers.start()
    shop.settled()
    assert {shop.status(path) for path in promised} == {"done"}
    assert not shop.jobs("failed")


def test_a_message_sent_by_a_worker_that_died_before_it_could_say_so_is_not_another_message(
    shop: Shop, mail_held: Callable[[], None]
) -> None:
    before, posts = shop.messages(), shop.posts()
    deserved = shop.buy_four()
    wait_until(lambda: shop.posts() == posts + 4, "four messages to be on their way")
    shop.system.workers.end(signal.SIGKILL)
    mail_held()  # the mail service takes what the dead worker had sent
    shop.system.workers.start()
    shop.settled()
    assert shop.posts() > posts + 4, "nothing was sent again: nothing was tested"
    assert shop.messages().keys() - before.keys() == deserved


def test_a_worker_that_wakes_up_after_its_jobs_were_given_away_doubles_nothing(
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
    shop.system.workers.end()
    shop.system.workers.start()
    assert shop.messages().keys() - before.keys() == deserved
    assert not shop.jobs("failed")


def test_a_worker_that_is_told_to_stop_finishes_what_it_does(
    shop: Shop, mail_held: Callable[[], None]
) -> None:
    before, posts = shop.messages(), shop.posts()
    deserved = shop.buy_four()
    wait_until(lambda: shop.posts() == posts + 4, "four messages to be on their way")
    [worker] = shop.system.pids()["worker"]
    os.kill(worker, signal.SIGTERM)
    time.sleep(0.3)
    mail_held()
    psutil.Process(worker).wait(30)
    shop.system.workers.end()
    assert shop.posts() == posts + 4
    assert shop.messages().keys() - before.keys() == deserved
    assert not shop.jobs("todo", "doing")
    shop.system.workers.start()


LISTENS = "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'listen%'"


@each(QUEUED)
def test_a_worker_hears_of_jobs_again_when_postgres_was_restarted(step: Checkpoint) -> None:
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


@each(QUEUED)
def test_a_worker_that_is_cut_off_while_it_asks_for_a_job_goes_on(step: Checkpoint) -> None:
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


NEVER_MADE = """
import asyncio
import sys
from sqlalchemy import event, text
from app import database

def lose(connection):
    connection.driver_connection.terminate()

def lose_first(connection):
    lose(connection.connection)
    return initialize(connection)

engine = database.engine.sync_engine
if sys.argv[1:] == ["before it is set up"]:
    event.listen(engine, "connect", lambda connection, record: lose(connection), insert=True)
else:
    initialize, engine.dialect.initialize = engine.dialect.initialize, lose_first
try:
    asyncio.run(database.fetch_all(text("SELECT 1"), {}))
except getattr(database, "DatabaseUnavailable", database.CONNECTION_ERRORS):
    sys.exit()
sys.exit("nothing was lost")
"""


@each(QUEUED)
@pytest.mark.parametrize("moment", ["before it is set up", "before its first statement"])
def test_a_connection_that_is_lost_while_it_is_made_is_lost_and_no_bug(
    step: Checkpoint, moment: str
) -> None:
    """A bug would end the worker, and be a 500 to whoever shops."""
    with alone(step) as system:
        inside(step, NEVER_MADE, moment, DATABASE_URL=system.database_url)


def test_who_is_refused_gets_no_confirmation(shop: Shop) -> None:
    before = shop.messages()
    with ThreadPoolExecutor(20) as buyers:
        answers = list(buyers.map(lambda _: shop.buy(FEW, quantity=10), range(20)))
    sold = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert {answer.status_code for answer in answers} == {201, 409}
    shop.settled()
    assert shop.messages().keys() - before.keys() == {f"order-{id}" for id in sold}


def test_a_message_that_was_refused_is_sent_again(shop: Shop) -> None:
    before = shop.messages()
    turn(shop.system.partners_url, partner="mail", error_rate=1)
    order = shop.buy().json()["id"]
    wait_until(lambda: ("confirm_order", 1) in shop.jobs("todo"), "the first try to fail")
    turn(shop.system.partners_url, partner="mail", error_rate=0)
    shop.settled()
    assert shop.messages().keys() - before.keys() == {f"order-{order}"}


@each(QUEUED)
def test_a_job_that_fails_for_ever_is_given_up_and_stays_to_be_seen(step: Checkpoint) -> None:
    with opened(step, JOB_RETRIES="1") as shop:
        turn(shop.system.partners_url, partner="mail", error_rate=1)
        assert shop.buy().status_code == 201
        shop.settled()
        assert shop.jobs("failed") == [("confirm_order", 2)]
        turn(shop.system.partners_url, partner="mail", error_rate=0)
        order = shop.buy().json()["id"]  # the others go on
        shop.settled()
        assert set(shop.messages()) == {f"order-{order}"}


@each(QUEUED)
def test_a_job_that_kills_every_worker_is_given_up(step: Checkpoint, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(step.directory, mine)
    code = mine / "app" / "jobs" / "sales.py"
    poison = '    __import__("os")._exit(1) if category == "toys" else None\n    units: Counter'
    text = code.read_text()
    assert "    units: Counter" in text, "the mutation no longer applies"
    code.write_text(text.replace("    units: Counter", poison, 1))
    with opened(step, mine, JOB_RETRIES="1") as shop:
        poisoned = shop.promise("toys")
        # It kills two workers. The third, which is started in their place, has heard of it.
        wait_until(lambda: shop.status(poisoned) == "failed", "the job to be given up")
        assert shop.jobs("failed") == [("make_report", 2)]
        healthy = shop.promise("games")
        shop.settled()
        assert shop.status(healthy) == "done"


@each(QUEUED)
def test_a_report_whose_job_was_given_up_has_failed_whoever_could_not_say_so(
    step: Checkpoint,
) -> None:
    with opened(step) as shop:
        with shop.database.transaction():
            shop.database.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")  # none is made
            report = shop.promise("toys")
            wait_until(lambda: shop.status(report) == "running", "the report to be begun")
            shop.system.workers.end(signal.SIGKILL)
        # As the last try leaves it when its worker dies once the queue has heard of its end.
        shop.database.execute("UPDATE procrastinate_jobs SET status = 'failed'")
        assert shop.status(report) == "running"
        shop.system.workers.start()
        wait_until(lambda: shop.status(report) == "failed", "the report to have failed")
