"""Behind nginx an instance may die, restart or hang up."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count

import httpx2
import psycopg
from balanced import BALANCED
from caches import stopped
from crowds import KEPT_NOWHERE, Act, Looks, crowd, order
from steps import each, without_worker

from stack.checkpoint import Checkpoint
from stack.servers.nginx import DEFAULTS
from stack.system import System
from surge.machine.waiting import wait_until

EACH = 4  # readers of each address


def kill(system: System, number: int) -> None:
    """Kill an instance while it has requests that it has not answered."""
    os.kill(system.pids()["app"][number], signal.SIGSTOP)
    time.sleep(0.3)
    system.service.stop(number, signal.SIGKILL)


def serves_again(system: System, number: int) -> None:
    """Wait until nginx sends requests to an instance that has just come back."""
    log = system.run_dir / f"requests-{number}.log"
    old = log.stat().st_size
    wait_until(lambda: b"/products" in log.read_bytes()[old:], "nginx to come back")


@each(BALANCED)
def test_an_instance_killed_costs_no_reader_an_answer(step: Checkpoint) -> None:
    """But for one: uvicorn writes headers and body one after the other. An instance killed in
    between has sent nginx half of an answer, which cannot be had from another instance.

    The second instance is killed when every reader has had an answer since the first one was.
    A reader whom the first death sent to the other instance waits there for the lease that the
    dead one holds, up to CACHE_PATIENCE; a second death meanwhile leaves nginx nobody to ask.
    """
    looked: Counter[str] = Counter()
    answered: dict[tuple[str, int], float] = {}

    def look(path: str) -> Act:
        def act(client: httpx2.Client, number: int) -> None:
            try:
                answer = client.get(path.format(1 + number % 1000))
            except httpx2.RemoteProtocolError:
                looked["half"] += 1
                return
            assert answer.status_code == 200, answer.text
            looked[path] += 1
            answered[path, number % EACH] = time.monotonic()

        return act

    paths = ("/products/{}", "/products?page={}", "/products/{}/stock")
    with without_worker(step, KEPT_NOWHERE, instances=2) as system:
        with crowd(system, *map(look, paths), each=EACH):
            for number in range(system.instances):
                kill(system, number)
                killed = time.monotonic()
                system.service.start(number)
                serves_again(system, number)
                wait_until(
                    lambda killed=killed: (
                        len(answered) == EACH * len(paths) and min(answered.values()) > killed
                    ),
                    "every reader to have had an answer since",
                )
        assert system.proxy
        told = system.proxy.child.log.read_text()
    assert told.count("while reading response header") > 2, (
        "no request was lost: nothing was tested"
    )
    assert all(looked[path] > 50 for path in paths)
    assert looked["half"] <= step.serve.instances, "an instance writes one answer at a time"


@each(BALANCED)
def test_200_buyers_for_50_while_an_instance_is_killed_and_the_other_rolled(
    step: Checkpoint,
) -> None:
    """Each buyer goes on asking with the same key, and must get the same answer for ever."""
    units, buyers, tries = 50, 200, 3
    answers: dict[int, list[httpx2.Response]] = {number: [] for number in range(buyers)}

    def buy(client: httpx2.Client, number: int) -> None:
        number %= buyers
        with suppress(httpx2.TransportError):
            answers[number].append(client.post("/orders", **order(7, number)))

    def served() -> int:
        return sum(len(mine) for mine in answers.values())

    with (
        without_worker(step, instances=2) as system,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):
        database.execute("UPDATE products SET stock = %s WHERE id = 7", (units,))
        with crowd(system, buy, each=10):
            wait_until(lambda: served() >= units // 2, "the first orders")
            kill(system, 0)
            system.service.start(0)
            system.restart_instance(1)
            wait_until(lambda: all(len(mine) >= tries for mine in answers.values()), "all buyers")
        rows = database.execute(
            "SELECT id, idempotency_key FROM orders WHERE idempotency_key LIKE '7-%'"
        ).fetchall()
        stock = database.execute("SELECT stock FROM products WHERE id = 7").fetchone()
    assert stock == (0,)
    assert len(rows) == units
    made = {key: id for id, key in rows}
    assert len(made) == units
    for number, mine in answers.items():
        said = [answer for answer in mine if answer.status_code in (201, 409)]
        assert said, f"buyer {number} never got an answer"
        assert {answer.status_code for answer in mine} <= {201, 409, 502}
        if f"7-{number}" in made:
            bodies = [answer.json() for answer in said]
            assert {body["id"] for body in bodies} == {made[f"7-{number}"]}
            assert bodies.count(bodies[0]) == len(bodies)
        else:
            assert {answer.status_code for answer in said} == {409}


@each(BALANCED)
def test_rolling_restart_fails_no_request(step: Checkpoint) -> None:
    """No client retries: every request gets its answer, orders and changes too."""
    done: Counter[str] = Counter()
    numbers = count()

    def act(client: httpx2.Client, _: int) -> None:
        number = next(numbers)
        id = 1 + number % 1000
        for answer, status in (
            (client.get(f"/products/{id}"), 200),
            (client.get(f"/products/{id}/stock"), 200),
            (client.post("/orders", **order(id, number)), 201),
            (client.patch(f"/products/{id}", json={"price_cents": 100 + number}), 200),
        ):
            assert answer.status_code == status, answer.text
            done[answer.request.method] += 1

    with without_worker(step, KEPT_NOWHERE, instances=2) as system:
        with psycopg.connect(system.database_url, autocommit=True) as database:
            database.execute("UPDATE products SET stock = 1000")
            before = system.pids()["app"]
            with crowd(system, act, each=8):
                system.rolling_restart()
            made = database.execute(
                "SELECT count(*) FROM orders WHERE idempotency_key LIKE '%-%'"
            ).fetchone()
        assert not set(before) & set(system.pids()["app"])
    assert made == (done["POST"],)
    assert done["POST"] > 50


@each(BALANCED)
def test_bug_in_one_route_fails_no_other_route(step: Checkpoint) -> None:
    looks = Looks()
    failed: Counter[int] = Counter()

    def buy(client: httpx2.Client, number: int) -> None:
        failed[client.post("/orders", **order(7, number)).status_code] += 1

    with (
        without_worker(step, KEPT_NOWHERE, instances=2) as system,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):
        database.execute("ALTER TABLE orders RENAME TO lost")  # no outage: to the code, a bug
        with crowd(system, looks.at("/products/{}"), looks.at("/products/{}/stock"), buy):
            for path in looks.done:
                looks.more(path, 200)
            wait_until(lambda: failed.total() > 100, "orders that fail")
        assert set(failed) == {500}
        assert "A bug in POST /orders" in system.service.output()
        assert 'relation "orders" does not exist' in system.service.output()


@each(BALANCED)
def test_an_instance_keeps_connections_longer_than_nginx(step: Checkpoint) -> None:
    command = step.serve.command
    kept = float(command[command.index("--timeout-keep-alive") + 1])
    assert kept > float(DEFAULTS["NGINX_IDLE"].removesuffix("s"))


@each(BALANCED)
def test_order_on_an_idle_connection_gets_no_502(step: Checkpoint) -> None:
    """An order goes out while the instances are held, until they would have hung up.

    Did nginx keep the connection as long, it would send the order there, and the instance would
    hang up before it looks. A connection that nginx still uses is far from that.
    """
    command = list(step.serve.command)
    command[command.index("--timeout-keep-alive") + 1] = "4"
    short = step.model_copy(update={"serve": step.serve.model_copy(update={"command": command})})
    with (
        without_worker(short, {"NGINX_IDLE": "1s"}, instances=2) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        ThreadPoolExecutor(1) as buyer,
    ):
        for number, idle in enumerate((0.5, 1.5, 3.5)):
            for _ in range(4):  # to each instance, so that there is a connection to be kept
                assert client.get("/products/7/stock").status_code == 200
            time.sleep(idle)
            with stopped(system, "app"):
                buying = buyer.submit(client.post, "/orders", **order(7, number))
                time.sleep(1)
            answer = buying.result()
            assert answer.status_code == 201, f"after {idle} s idle: {answer.text}"
