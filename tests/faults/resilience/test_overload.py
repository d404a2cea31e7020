"""At twice its capacity, the shop does what it can and refuses the rest."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import httpx2
from crowds import KEPT_NOWHERE
from resilient import RESILIENT, refused
from steps import each

from stack.checkpoint import Checkpoint
from stack.stubs.client import configure_partners, partner_stats
from stack.system import System
from surge.count.telemetry import scrape_instances
from surge.load.generator import LoadGenerator
from surge.load.plan import Plan, Result
from surge.machine.waiting import wait_until

WORK = "offers"  # no cache has any, and each costs a statement and three calls
SECONDS = 4.0
ROUNDS = 3
"""Another process on the machine may spoil one, and not all of them."""
MOST = 0.5
"""Of the peak. How much more it is, notebook 16 measures, with the machine to itself."""


@each(RESILIENT)
def test_throughput_holds_at_twice_the_capacity(step: Checkpoint) -> None:
    with (
        System(step, size="tiny", environment=KEPT_NOWHERE) as system,
        LoadGenerator() as generator,
    ):

        def capacity(connections: int) -> float:
            plan = Plan(system.public_urls, WORK, connections, SECONDS / 2, size="tiny")
            return generator.run(plan).throughput

        def offer(rate: float, seconds: float) -> Result:
            plan = Plan(system.public_urls, WORK, 1000, seconds, rate=rate, size="tiny", timeout=20)
            return generator.run(plan)

        capacity(16)  # it warms up
        shares, errors, refusals = [], Counter[str](), 0
        while (max(shares, default=0.0) < MOST or not refusals) and len(shares) < ROUNDS:
            peak = max(capacity(connections) for connections in (16, 48))
            result, said_no = watched(system, partial(offer, 2 * peak, SECONDS))
            refusals += said_no
            shares.append(result.good / SECONDS / peak)
            errors.update(result.errors)
        assert refusals, "no request was refused: nothing was tested"
        assert max(shares) >= MOST, shares
        assert set(errors) == {"status 503"}, errors
        assert scrape_instances(system)["requests_shed_total", "limit"] >= errors["status 503"]
        wait_until(lambda: not offer(peak / 3, 1).errors, "refusals to end")


def watched(system: System, offer: Callable[[], Result]) -> tuple[Result, int]:
    """Run an offer among health checks and other clients; count how often those are refused."""
    over = Event()
    with ThreadPoolExecutor(9) as pool:
        asking = [pool.submit(say_no, system, over) for _ in range(8)]
        looking = pool.submit(health, system, over)
        try:
            result = offer()
        finally:
            over.set()
        looking.result()
        return result, sum(one.result() for one in asking)


def say_no(system: System, over: Event) -> int:
    """Count how often a client is refused."""
    times = 0
    with httpx2.Client(base_url=system.url, timeout=30) as client:
        while not over.is_set():
            answer = client.get("/products/7/offers")
            if answer.status_code != 200:
                refused(answer)
                times += 1
    return times


def health(system: System, over: Event) -> None:
    """Health and readiness are never refused."""
    with httpx2.Client(base_url=system.urls[0], timeout=30) as client:
        while not over.is_set():
            for path in ("/healthz", "/readyz"):
                assert client.get(path).status_code == 200
            over.wait(0.1)


@each(RESILIENT)
def test_memory_hits_are_served_while_others_are_refused(step: Checkpoint) -> None:
    """The limit is one, and one is under way."""
    one = {"LIMIT_MOST": "1", "LIMIT_LEAST": "1", "MEMORY_SECONDS": "3600"}
    one |= {"PARTNER_TIMEOUT": "30", "REQUEST_SECONDS": "30"}
    with (
        System(step, size="tiny", environment=one, instances=1) as system,
        httpx2.Client(base_url=system.urls[0], timeout=30) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        assert client.get("/products/7").status_code == 200
        assert client.get("/products/1001").status_code == 404

        def take_the_place() -> httpx2.Response:
            while True:  # the request before may still hold the place
                answer = httpx2.get(f"{system.urls[0]}/products/7/offers", timeout=30)
                if answer.status_code != 503:
                    return answer

        configure_partners(system.partners_url, hold=True)
        asked = pool.submit(take_the_place)
        try:
            wait_until(lambda: partner_stats(system.partners_url)["in_flight"] == 3, "the calls")
            for path in ("/7/offers", "/8", "/1001", ""):
                refused(client.get(f"/products{path}"))
            refused(client.get("/orders/1"))
            refused(client.get("/products/7", headers={"Cookie": "shop_fresh=1"}))
            for path in ("/products/7", "/healthz", "/readyz"):
                assert client.get(path).status_code == 200
        finally:
            configure_partners(system.partners_url, hold=False)
        assert asked.result().status_code == 200
        wait_until(lambda: client.get("/products/8").status_code == 200, "a free place")
