"""Whatever happens, and in whatever order: no cache shows what has not been true for too long.

A machine draws what shoppers, authors and buyers do at two instances, and what goes wrong
meanwhile. A model knows what was true when, and so which answers are allowed.
"""

import json
import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import golden
import httpx2
import psycopg
import pytest
import redis
from caches import CACHED, TIERED, WAITING
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from steps import without_worker

from stack.checkpoint import Checkpoint
from stack.seed import data
from stack.system import System
from surge.machine.waiting import wait_until

MEMORY = 0.05
PAUSE = 0.3
ENVIRONMENT = {
    "MEMORY_SECONDS": str(MEMORY),
    "CACHE_PAUSE": str(PAUSE),
    "CACHE_SECONDS": "3600",  # nothing gets right because it expires
}
SURE = 0.5  # seconds before its end, a cookie does not expire on its way
LOGGED = 2.0  # seconds until a line is there: the log is written behind its back
SOON = 10.0  # seconds: for what takes a moment on a quiet machine

PRODUCTS = (209, 355, 777, 614)  # three of the first page of outdoors, and a book
CATEGORIES = (None, "outdoors", "books")
FIELDS = (None, "id,price_cents", "description,name", "price_cents,reviews,seller")

product_ids = st.sampled_from(PRODUCTS)
instances = st.integers(0, 1)
changes = st.one_of(
    st.fixed_dictionaries({"price_cents": st.integers(1, 100_000)}),
    st.fixed_dictionaries({"description": st.text("abc é🎲", min_size=1)}),
)

# Whoever looks up a product as it is in `held`, and whoever commits a change, can be made to wait.
HOLD = """
    CREATE TABLE held (product_id integer, price_cents integer);
    ALTER TABLE sellers RENAME TO sellers_of_all;
    CREATE VIEW sellers AS SELECT * FROM sellers_of_all AS seller
    WHERE NOT EXISTS (
        SELECT FROM held JOIN products USING (price_cents)
        WHERE products.id = product_id AND seller_id = seller.id
    ) OR pg_advisory_xact_lock_shared(1) IS NOT NULL;
    CREATE FUNCTION wait_to_commit() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock_shared(2); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER slowly AFTER UPDATE ON products
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_to_commit();
"""


class State(NamedTuple):
    """What was true, from the beginning of the change that made it."""

    shelf: dict[int, data.Product]
    since: float
    instance: int = -1  # where it was changed


class Look(NamedTuple):
    """Something that can be looked at, and what the answer is, by what is true."""

    path: str
    right: Callable[[golden.Shelf], golden.Json]


def detail(product_id: int, fields: str | None = None) -> Look:
    def right(shelf: golden.Shelf) -> golden.Json:
        whole = golden.detail(shelf[product_id])
        return whole if fields is None else {name: whole[name] for name in fields.split(",")}

    path = f"/products/{product_id}"
    return Look(path if fields is None else f"{path}?fields={fields}", right)


def page(category: str | None, sort: str) -> Look:
    within = "" if category is None else f"category={category}&"
    return Look(
        f"/products?{within}sort={sort}",
        lambda shelf: golden.page(category, sort=sort, shelf=shelf),
    )


sorts = st.sampled_from(["newest", "price", "-price", "rating"])
pages = st.builds(page, st.sampled_from(CATEGORIES), sorts)
looks = st.one_of(st.builds(detail, product_ids, st.sampled_from(FIELDS)), pages)


class Shop:
    """The system with all that was true of it, for as long as it runs."""

    def __init__(self, step: Checkpoint, system: System, client: httpx2.Client) -> None:
        self.bound = MEMORY if step in TIERED else 0.0
        self.system, self.client = system, client
        self.states = [State(golden.products(), 0.0)]
        self.overs: list[float] = []  # when each state but the last was over, for all to see
        self.stock = {id: golden.products()[id].stock for id in PRODUCTS}
        self.seen: dict[tuple[int, str], tuple[str, golden.Json]] = {}  # with their ETags
        self.cookie, self.cookie_until = "", 0.0
        self.asked: deque[str] = deque(maxlen=40)
        self.failure: Exception | None = None

    @property
    def shelf(self) -> dict[int, data.Product]:
        return self.states[-1].shelf

    def ask(self, method: str, instance: int, path: str, **more: Any) -> httpx2.Response:
        self.client.cookies.clear()
        self.asked.append(f"{method} {path} at {instance} {more}")
        answer = self.client.request(method, self.system.urls[instance] + path, **more)
        assert answer.status_code < 500, f"{method} {path} gave {answer.text}"
        return answer

    def look(
        self, instance: int, look: Look, *, exact: bool = False, cookie: str = "", tag: bool = False
    ) -> None:
        """Somebody looks, and gets what was true a bound ago, or has become true since."""
        began = time.time()
        body = self.read(instance, look, cookie, tag)
        oldest = sum(over + self.bound < began for over in self.overs)
        if exact:
            oldest = len(self.states) - 1
        if any(body == look.right(state.shelf) for state in self.states[oldest:]):
            return
        true = [n for n in range(oldest) if body == look.right(self.states[n].shelf)]
        assert true, f"{look.path} at {instance}: that was never true: {body}"[:300]
        late = f"{look.path} at {instance}: {began - self.overs[true[-1]]:.3f} s late: {body}"[:300]
        assert not exact, f"for its author, {late}"
        assert self.unheard(self.states[true[-1] + 1].since), late
        # Redis did not hear of the change. It does when it answers again, unaided: nobody asks
        # the other instance anything until then.
        deadline = time.monotonic() + SOON
        while self.read(instance, look) != look.right(self.shelf):
            assert time.monotonic() < deadline, f"for good, {late}"
            time.sleep(0.02)

    def read(self, instance: int, look: Look, cookie: str = "", tag: bool = False) -> golden.Json:
        known, whole = self.seen.get((instance, look.path), ("", {}))
        headers = {"Cookie": cookie} if cookie else {}
        if tag and known:
            headers["If-None-Match"] = known
        answer = self.ask("GET", instance, look.path, headers=headers)
        if answer.status_code == 304:
            assert "If-None-Match" in headers and answer.content == b""
            return whole
        assert answer.status_code == 200, answer.text
        body: golden.Json = answer.json()
        self.seen[instance, look.path] = answer.headers.get("ETag", ""), body
        return body

    def unheard(self, since: float) -> bool:
        """Whether an instance had trouble with Redis so shortly before, or at any time after."""
        deadline = time.monotonic() + LOGGED
        while time.monotonic() < deadline:
            if any(at > since - PAUSE - 0.1 for at in self.troubles()):
                return True
            time.sleep(0.05)
        return False

    def troubles(self) -> Iterator[float]:
        for line in self.system.log().splitlines():
            if b'"no cache"' in line:
                yield datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()

    def change(self, instance: int, product_id: int, change: golden.Json) -> None:
        since = time.time()
        answer = self.ask("PATCH", instance, f"/products/{product_id}", json=change)
        assert answer.status_code == 200, answer.text
        changed = self.shelf[product_id]._replace(**change)
        self.states.append(State({**self.shelf, product_id: changed}, since, instance))
        self.overs.append(time.time())
        assert answer.json() == golden.detail(changed)
        if "set-cookie" in answer.headers:
            cookie, *attributes = answer.headers["set-cookie"].split("; ")
            [age] = (int(one[8:]) for one in attributes if one.startswith("Max-Age="))
            assert age >= math.ceil(MEMORY)
            self.cookie, self.cookie_until = cookie, time.time() + age

    def look_at_own(self, look: Look) -> None:
        """The author looks at what has just been changed, here and there.

        Here it is new for everybody. There, it is for who has the cookie, if it takes one.
        """
        here = self.states[-1].instance
        cookie = self.cookie if time.time() < self.cookie_until - SURE else ""
        self.look(1 - here, look, exact=bool(cookie), cookie=cookie)
        self.look(here, look, exact=True, tag=True)
        self.look(here, look, exact=True)


class Shopping(RuleBasedStateMachine):
    """One example: what happens next is drawn, with at most one misfortune of Redis."""

    shop: Shop
    database: psycopg.Connection
    cache: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.misfortunes = 0
        self.stopped = 0  # the process that does not move

    def teardown(self) -> None:
        error = sys.exception()
        if isinstance(error, Exception) and not self.shop.failure:
            error.add_note("\n".join(["The last that was asked:", *self.shop.asked]))
            self.shop.failure = error
        if self.stopped:
            self.redis_goes_on()

    @rule(instance=instances, look=looks)
    def anyone_looks(self, instance: int, look: Look) -> None:
        self.shop.look(instance, look)

    @rule(look=looks)
    def anyone_looks_here_and_there(self, look: Look) -> None:
        for instance in (0, 1):
            self.shop.look(instance, look)

    @rule(instance=instances, ids=st.permutations(PRODUCTS))
    def a_crowd_looks_at_what_nobody_has_kept(self, instance: int, ids: list[int]) -> None:
        self.all_expires()
        self.memories_fade()
        with ThreadPoolExecutor(8) as crowd:
            for looking in [crowd.submit(self.shop.look, instance, detail(id)) for id in ids * 2]:
                looking.result()

    @rule(instance=instances, look=looks)
    def somebody_asks_whether_it_has_changed(self, instance: int, look: Look) -> None:
        self.shop.look(instance, look, tag=True)

    @rule(
        instance=instances,
        product_id=product_ids,
        change=changes,
        sort=sorts,
        everywhere=st.booleans(),
    )
    def an_author_changes_something(
        self, instance: int, product_id: int, change: golden.Json, sort: str, everywhere: bool
    ) -> None:
        category = self.shop.shelf[product_id].category
        within = page(None if everywhere else category, sort)
        self.anyone_looks_here_and_there(detail(product_id))
        self.anyone_looks_here_and_there(within)
        self.shop.change(instance, product_id, change)
        self.shop.look_at_own(detail(product_id))
        self.shop.look_at_own(within)

    @rule(instance=instances, ids=st.permutations(PRODUCTS), price=st.integers(1, 100_000))
    def an_author_changes_all_and_leaves(self, instance: int, ids: list[int], price: int) -> None:
        for product_id in ids:
            self.shop.change(instance, product_id, {"price_cents": price})

    @rule(
        instance=instances,
        product_id=product_ids,
        quantity=st.integers(1, 10),
    )
    def somebody_buys(self, instance: int, product_id: int, quantity: int) -> None:
        body = {"product_id": product_id, "quantity": quantity, "customer": "ada@example.com"}
        answer = self.shop.ask("POST", instance, "/orders", json=body)
        if quantity > self.shop.stock[product_id]:
            assert answer.status_code == 409
            return
        assert answer.status_code == 201, answer.text
        self.shop.stock[product_id] -= quantity
        order = answer.json()
        price = self.shop.shelf[product_id].price_cents
        assert (order["unit_price_cents"], order["total_cents"]) == (price, quantity * price)
        for reader in (0, 1):
            assert self.shop.ask("GET", reader, answer.headers["Location"]).json() == order
            self.somebody_asks_for_the_stock(reader, product_id)

    @rule(instance=instances, product_id=product_ids)
    def somebody_asks_for_the_stock(self, instance: int, product_id: int) -> None:
        answer = self.shop.ask("GET", instance, f"/products/{product_id}/stock")
        assert answer.json() == {"product_id": product_id, "stock": self.shop.stock[product_id]}

    @rule(instance=instances, product_id=st.integers(1001, 1010), more=st.sampled_from(FIELDS))
    def somebody_asks_for_what_there_is_not(
        self, instance: int, product_id: int, more: str | None
    ) -> None:
        path = detail(product_id, more).path
        assert self.shop.ask("GET", instance, path).status_code == 404
        change = {"price_cents": 1}
        assert self.shop.ask("PATCH", instance, path, json=change).status_code == 404

    @precondition(lambda self: not self.stopped)
    @rule(instance=instances, look=st.sampled_from([detail(209), page("outdoors", "price")]))
    def an_author_changes_what_somebody_looks_up(self, instance: int, look: Look) -> None:
        """What was true when a look began must not be kept when it ends."""
        old = self.shop.shelf[209].price_cents
        self.all_expires()
        self.memories_fade()
        with ThreadPoolExecutor(1) as reader, self.held(1):
            self.database.execute("INSERT INTO held VALUES (209, %s)", (old,))
            looking = reader.submit(self.shop.look, 1 - instance, look)
            self.somebody_waits()
            self.shop.change(instance, 209, {"price_cents": old % 100_000 + 1})
        self.database.execute("DELETE FROM held")
        looking.result()
        self.shop.overs[-1] = time.time()
        self.all_see(look)

    @precondition(lambda self: not self.stopped)
    @rule(instance=instances, look=st.sampled_from([detail(209), page("outdoors", "price")]))
    def somebody_looks_while_an_author_commits(self, instance: int, look: Look) -> None:
        """What was true before the commit must not be kept after it."""
        price = {"price_cents": self.shop.shelf[209].price_cents % 100_000 + 1}
        with ThreadPoolExecutor(1) as author:
            with self.held(2):
                changing = author.submit(self.shop.change, instance, 209, price)
                self.somebody_waits()
                self.shop.look(1 - instance, look)
            changing.result()
        self.shop.look_at_own(look)
        self.all_see(look)

    @rule()
    def all_expires(self) -> None:
        if not self.stopped:
            self.cache.flushall()

    @rule()
    def memories_fade(self) -> None:
        time.sleep(self.shop.bound)

    @precondition(lambda self: not self.misfortunes)
    @rule()
    def redis_is_killed_and_another_one_started(self) -> None:
        self.misfortunes += 1
        self.shop.system.backing.restart_redis()

    @precondition(lambda self: not self.misfortunes)
    @rule()
    def redis_stops(self) -> None:
        self.misfortunes += 1
        [self.stopped] = self.shop.system.pids()["cache"]
        os.kill(self.stopped, signal.SIGSTOP)

    @precondition(lambda self: not self.misfortunes)
    @rule(instance=instances, ids=st.permutations(PRODUCTS), price=st.integers(1, 100_000))
    def an_author_changes_all_while_redis_stops_and_leaves(
        self, instance: int, ids: list[int], price: int
    ) -> None:
        """Nobody asks this instance anything afterwards, and the other one reads on in Redis."""
        for product_id in ids:
            self.shop.look(1 - instance, detail(product_id))
        self.redis_stops()
        self.an_author_changes_all_and_leaves(instance, ids, price)
        self.redis_goes_on()
        self.memories_fade()
        for product_id in ids:
            self.shop.look(1 - instance, detail(product_id))

    @precondition(lambda self: self.stopped)
    @rule()
    def redis_goes_on(self) -> None:
        os.kill(self.stopped, signal.SIGCONT)
        self.stopped = 0

    @contextmanager
    def held(self, lock: int) -> Iterator[None]:
        self.database.execute("SELECT pg_advisory_lock(%s)", (lock,))
        try:
            yield
        finally:
            self.database.execute("SELECT pg_advisory_unlock(%s)", (lock,))

    def somebody_waits(self) -> None:
        wait_until(lambda: self.database.execute(WAITING).fetchone() != (0,), "somebody who waits")

    def all_see(self, look: Look) -> None:
        self.memories_fade()
        for instance in (0, 1):
            self.shop.look(instance, look)


@pytest.fixture(scope="module", params=CACHED, ids=lambda step: step.label)
def shopping(request: pytest.FixtureRequest) -> Iterator[type[Shopping]]:
    """The machine, on a system that runs for all its examples."""
    with (
        without_worker(request.param, ENVIRONMENT, instances=2) as system,
        httpx2.Client(timeout=30) as client,
        psycopg.connect(system.database_url, autocommit=True) as connection,
        redis.Redis.from_url(system.redis_url) as kept,
    ):
        connection.execute(HOLD)

        class There(Shopping):
            shop = Shop(request.param, system, client)
            database, cache = connection, kept

        yield There


def test_no_answer_is_older_than_its_bound(shopping: type[Shopping]) -> None:
    drawn = settings(
        max_examples=20,
        stateful_step_count=20,
        derandomize=True,  # a failure is there again in the next run
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(shopping, settings=drawn)
    except Exception as error:
        # The shop lives on, so the example fails in another way when it is tried again.
        raise shopping.shop.failure or error from None
