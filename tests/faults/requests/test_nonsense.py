"""Nonsense from a partner costs a client at most that partner's offer."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import httpx2
import psutil
from nonsense import ANSWERS, COOKIES, DRIP, GOOD, Nonsense, body
from steps import each, introduced_in, without_worker

from stack.checkpoint import Checkpoint, find
from stack.stubs.partners import quote
from stack.system import System

MORE = 50_000_000  # bytes that a process may grow by; what does not end would be a gigabyte
PATIENT = {"BREAKER_CALLS": "1000"}  # one call after the other fails here, and each is to be made
OTHERS = [{"partner": partner, **quote(partner, 7)} for partner in ("northwind", "tradepost")]
OTHERS.sort(key=lambda offer: offer["price_cents"])


class Peak(Thread):
    """The most memory that the service takes while something happens, and whether it is alive."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system
        self.over = Event()
        self.bytes = 0
        self.answers: list[int] = []

    def run(self) -> None:
        with httpx2.Client(base_url=self.system.urls[0], timeout=30) as client:
            while True:
                self.bytes = max(self.bytes, memory(self.system))
                self.answers.append(client.get("/healthz").status_code)
                if self.over.wait(0.01):
                    break


def memory(system: System) -> int:
    """What its processes take; the system says which are the app's."""
    return sum(psutil.Process(pid).memory_info().rss for pid in system.pids()["app"])


@contextmanager
def watched(system: System) -> Iterator[Peak]:
    peak = Peak(system)
    peak.start()
    try:
        yield peak
    finally:
        peak.over.set()
        peak.join()


@each(introduced_in("naive", "async"))
def test_nonsense_from_a_partner_costs_only_its_offer(
    step: Checkpoint,
) -> None:
    with (
        Nonsense() as server,
        without_worker(step, {"PARTNERS_URL": server.url, **PATIENT}) as system,
        httpx2.Client(base_url=system.urls[0], timeout=60) as shopper,
    ):
        for answer in (COOKIES, body(GOOD)):
            server.says = answer
            assert shopper.get("/products/7/offers").json()["missing"] == []
            assert not [header for header in server.headers if header.lower().startswith(b"cookie")]
        wrong = {}
        drip = {"a drip": DRIP} if step.number >= find("async").number else {}  # 05's lesson
        for name, answer in (ANSWERS | drip).items():
            server.says = answer
            calls, before = server.calls, memory(system)
            with watched(system) as peak:
                got = shopper.get("/products/7/offers")
            expected = {"product_id": 7, "offers": OTHERS, "missing": ["meridian"]}
            if got.status_code != 200 or got.json() != expected:
                wrong[name] = f"{got.status_code}: {got.text[:100]}"
            elif peak.bytes - before > MORE:
                wrong[name] = f"{(peak.bytes - before) / 1e6:.0f} MB"
            elif set(peak.answers) != {200} or server.calls == calls:
                wrong[name] = "was not asked, or nobody else was answered"
        assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
