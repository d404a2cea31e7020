"""What those who look at hot products notice of those who ask for reports."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lab import cost
from lab.plan import Plan
from lab.probe import Probe
from lab.shop import Shop
from lab.sql import wait_until
from lab.stats import percentile
from lab.words import number


def looks(shop: Shop, reads: float, reports: float, seconds: int) -> list[str]:
    """What is waited for a look, the reports asked for and made meanwhile, and the CPU spent."""
    look = Plan(shop.system.urls, "hot", 16, seconds, rate=reads, size=shop.system.size)
    asks = replace(look, workload="reports", rate=reports)
    with Probe() as reader, Probe() as other, ThreadPoolExecutor(1) as pool:
        warm = _made(shop) + 2
        reader.run(replace(look, rate=None, count=500))
        other.run(replace(asks, rate=None, count=2, connections=1))
        wait_until(lambda: _made(shop) == warm, "two reports to be made")
        before = cost.read(shop.system.pids())
        if reports:
            pool.submit(other.run, asks)
        waits = reader.run(look).latencies
        spent = cost.between(before, cost.read(shop.system.pids())).tiers
        made = _made(shop) - warm
    times = [percentile(waits, part) / 1e6 for part in (50, 99, 100)]
    cpu = [f"{spent.get(tier, 0):.1f} s" for tier in ("app", "worker")]
    return [*map(number, (*times, reports * seconds, made)), *cpu]


def _made(shop: Shop) -> int:
    """How many reports there are."""
    [[done]] = shop.sql("SELECT count(*) FROM reports WHERE status = 'done'")
    return int(done)
