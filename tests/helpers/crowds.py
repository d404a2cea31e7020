"""Crowds: clients that go on and on while something happens to the system."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event
from typing import Any

import httpx2

from stack.system import System
from surge.machine.waiting import wait_until

KEPT_NOWHERE = {"EDGE_SECONDS": "0"}  # nginx answers nothing by itself: all depends on instances

Act = Callable[[httpx2.Client, int], None]


@contextmanager
def crowd(system: System, *acts: Act, each: int = 4) -> Iterator[None]:
    """Run `each` clients per act, which repeat it until the block ends; raise what one meets."""
    over = Event()

    def one(act: Act, start: int) -> None:
        with httpx2.Client(base_url=system.url, timeout=30) as client:
            for number in count(start, each):
                if over.is_set():
                    break
                act(client, number)
                time.sleep(0.005)  # the instances are to be busy, not the machine

    with ThreadPoolExecutor(each * len(acts)) as pool:
        acting = [pool.submit(one, act, start) for act in acts for start in range(each)]
        try:
            time.sleep(0.3)
            yield
            time.sleep(0.3)
        finally:
            over.set()
            for done in acting:  # a client's error explains a wait in vain
                done.result()


def order(product_id: int, number: int) -> dict[str, Any]:
    """The request that buys a unit, with a key of its own."""
    return {
        "json": {"product_id": product_id, "quantity": 1, "customer": f"buyer{number}@example.com"},
        "headers": {"Idempotency-Key": f"{product_id}-{number}"},
    }


HOT = range(1, 6)  # products, and the pages that are cached


class Looks:
    """Reads of hot products and pages, which must all be answered."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()

    def at(self, path: str) -> Act:
        self.done[path] = 0

        def look(client: httpx2.Client, number: int) -> None:
            answer = client.get(path.format(HOT[number % len(HOT)]))
            assert answer.status_code == 200, answer.text
            self.done[path] += 1

        return look

    def more(self, path: str, number: int = 50) -> None:
        goal = self.done[path] + number
        wait_until(lambda: self.done[path] >= goal, f"{number} more looks at {path}")
