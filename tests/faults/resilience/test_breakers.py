"""A partner that is slow or fails costs its own offer, and soon not even a call."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from crowds import crowd
from resilient import RESILIENT
from steps import each

from stack.checkpoint import Checkpoint
from stack.stubs.client import configure_partners, partner_stats
from stack.stubs.partners import PARTNERS
from stack.system import System
from surge.count.telemetry import scrape_instances
from surge.machine.waiting import wait_until

PAUSE = 5  # seconds, in which even a busy machine asks a few dozen times
USUAL = {"PARTNER_TIMEOUT": "5", "BREAKER_PAUSE": str(PAUSE)}
OPENS = 10  # half of the calls that are looked back on


def missing(client: httpx2.Client) -> list[str]:
    answer = client.get("/products/7/offers")
    assert answer.status_code == 200, answer.text
    found: list[str] = answer.json()["missing"]
    return found


@contextmanager
def opened(step: Checkpoint, **settings: str) -> Iterator[tuple[System, httpx2.Client]]:
    with (
        System(step, size="tiny", environment=USUAL | settings, instances=1) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        yield system, client


def calls(system: System) -> int:
    return partner_stats(system.partners_url)["calls"]


def open_breakers(system: System) -> float:
    return sum(scrape_instances(system)["breaker_open", partner] for partner in PARTNERS)


@each(RESILIENT)
def test_breaker_opens_for_a_failing_partner_and_closes_after_it(step: Checkpoint) -> None:
    with opened(step) as (system, client):
        configure_partners(
            system.partners_url, odd=True, partner="meridian"
        )  # it answers, and makes no sense
        for _ in range(OPENS // 2):
            assert missing(client) == ["meridian"]
        configure_partners(system.partners_url, odd=False, error_rate=1, partner="meridian")
        for _ in range(30 - OPENS // 2):
            assert missing(client) == ["meridian"]
        assert calls(system) == 2 * 30 + OPENS  # the others had nothing to do with it
        failed = "partner_request_duration_seconds_count", "failed", "meridian"
        assert scrape_instances(system)[failed] == OPENS
        assert scrape_instances(system)["breaker_open", "meridian"] == 1
        assert open_breakers(system) == 1
        configure_partners(system.partners_url, error_rate=0)
        wait_until(lambda: missing(client) == [], "the partner to be asked again")
        assert open_breakers(system) == 0
        before = calls(system)
        assert missing(client) == []
        assert calls(system) == before + 3


@each(RESILIENT)
def test_half_open_breaker_makes_a_single_call(step: Checkpoint) -> None:
    with opened(step) as (system, client):
        configure_partners(system.partners_url, error_rate=1)
        for _ in range(OPENS):
            missing(client)
        assert calls(system) == 3 * OPENS
        time.sleep(PAUSE)
        for _ in range(20):
            assert missing(client) == [*PARTNERS]
        assert calls(system) == 3 * OPENS + 3


@each(RESILIENT)
def test_few_failures_open_no_breaker(step: Checkpoint) -> None:
    with opened(step) as (system, client):
        for _ in range(3):
            configure_partners(system.partners_url, error_rate=1)
            for _ in range(OPENS // 3):
                missing(client)
            configure_partners(system.partners_url, error_rate=0)
            for _ in range(2 * OPENS):
                assert missing(client) == []


@each(RESILIENT)
def test_slow_partner_costs_only_its_own_offer(step: Checkpoint) -> None:
    """Through nginx and two instances, with a crowd."""
    found: Counter[str] = Counter()

    def look(client: httpx2.Client, _: int) -> None:
        for partner in missing(client):
            found[partner] += 1
        found["looks"] += 1

    with (
        System(step, size="tiny", environment=USUAL | {"PARTNER_TIMEOUT": "2"}) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):
        configure_partners(system.partners_url, hold=True, partner="northwind")
        with crowd(system, look, each=8):
            wait_until(lambda: found["looks"] > 200, "a crowd that looks at offers")
        assert found["northwind"] == found["looks"]
        assert found["meridian"] == found["tradepost"] == 0
        configure_partners(system.partners_url, hold=False)
        wait_until(lambda: not any(missing(client) for _ in range(10)), "both to ask again")


@each(RESILIENT)
def test_short_deadlines_open_no_breaker(step: Checkpoint) -> None:
    with opened(step) as (system, client):
        configure_partners(system.partners_url, latency_ms=200)
        for _ in range(2 * OPENS):
            client.get("/products/7/offers", headers={"Request-Timeout": "0.1"})
        assert missing(client) == []
        told = scrape_instances(system)
    count = "partner_request_duration_seconds_count"
    assert told[count, "given up", "meridian"] > 0  # and no alert about a partner that is well
    assert told[count, "timeout", "meridian"] == told[count, "failed", "meridian"] == 0
