"""What those who look at hot products notice of those who ask for reports."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf

from surge.load.generator import Probe
from surge.load.plan import Plan, Result
from surge.machine import cpu_time
from surge.machine.waiting import wait_until
from surge.results.stats import percentile
from surge.results.wording import number
from surge.run.shop import Shop


def looks(shop: Shop, reads: float, reports: float, seconds: int) -> list[str]:
    """What is waited for a look, the reports asked for and made meanwhile, and the CPU spent."""
    look = Plan(shop.system.urls, "hot", 16, seconds, rate=reads, size=shop.system.size)
    asks = replace(look, workload="reports", rate=reports)
    with Probe() as reader, Probe() as other, ThreadPoolExecutor(1) as pool:
        warm = _made(shop) + 2
        reader.run(replace(look, rate=None, count=500))
        other.run(replace(asks, rate=None, count=2, connections=1))
        wait_until(lambda: _made(shop) == warm, "two reports to be made")
        before = cpu_time.read(shop.system.pids())
        asking = pool.submit(other.run, asks) if reports else None
        looked = reader.run(look)
        spent = cpu_time.between(before, cpu_time.read(shop.system.pids())).tiers
        made = _made(shop) - warm
        asked = _asked(asking.result()) if asking else "0"
    cpu = [f"{spent.get(tier, 0):.1f} s" for tier in ("app", "worker")]
    return [*_waits(looked), asked, number(made), *cpu]


def _waits(looked: Result) -> list[str]:
    """The wait in the middle, the 99th percentile and the longest.

    Who got no good answer waited longest of all: to leave them out would hide what they met.
    """
    waits = [*looked.latencies, *[inf] * looked.bad]
    found = [percentile(waits, part) for part in (50, 99, 100)]
    return [f"{looked.bad:,} failed" if wait == inf else number(wait / 1e6) for wait in found]


def _asked(asked: Result) -> str:
    """How many reports were asked for, and how many of these requests failed, if any did."""
    failed = f", {asked.bad:,} failed" if asked.bad else ""
    return number(asked.good + asked.bad) + failed


def _made(shop: Shop) -> int:
    """How many reports there are."""
    [[done]] = shop.sql("SELECT count(*) FROM reports WHERE status = 'done'")
    return int(done)
