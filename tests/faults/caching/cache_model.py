"""A model of the shop: what was true when, and so which answers of a cache are allowed."""

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import golden
import httpx2
from caches import TIERED

from stack.checkpoint import Checkpoint
from stack.seed import data
from stack.system import System

MEMORY = 0.05  # seconds that an instance keeps an answer
PAUSE = 0.3  # seconds in which it leaves a Redis alone that failed
SURE = 0.5  # seconds that a cookie must still last, or it may expire on its way
LOGGED = 2.0  # seconds until a line is there: the log is written behind its back
SOON = 10.0  # seconds: for what takes a moment on a quiet machine

PRODUCTS = (209, 355, 777, 614)  # three of the first page of outdoors, and a book


class State(NamedTuple):
    """The products as they were, from the beginning of the change that made them so."""

    shelf: dict[int, data.Product]
    since: float
    instance: int = -1  # where it was changed


class Look(NamedTuple):
    """A path to read, and its right answer for products as they are."""

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


class Shop:
    """The running system, with all that has ever been true of it."""

    def __init__(self, step: Checkpoint, system: System, client: httpx2.Client) -> None:
        self.bound = MEMORY if step in TIERED else 0.0
        self.system, self.client = system, client
        self.states = [State(golden.products(), 0.0)]
        self.overs: list[float] = []  # when each state but the last had ended, for all clients
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
        """Read; the answer was true no longer ago than the bound, or has become true since."""
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
        # The invalidation did not reach Redis. It is sent again when Redis answers again, unaided:
        # the other instance gets no request until then.
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
        for line in self.system.service.log().splitlines():
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
        """The author reads the change at both instances.

        The instance that made it answers every client with it; the other, a client with the cookie.
        """
        here = self.states[-1].instance
        cookie = self.cookie if time.time() < self.cookie_until - SURE else ""
        self.look(1 - here, look, exact=bool(cookie), cookie=cookie)
        self.look(here, look, exact=True, tag=True)
        self.look(here, look, exact=True)
