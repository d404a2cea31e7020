"""How much reads of hot products suffer from reports that are made meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf

from surge.load.generator import LoadGenerator
from surge.load.plan import Plan, Result
from surge.machine import cpu_time
from surge.machine.waiting import wait_until
from surge.results.stats import percentile
from surge.results.wording import number
from surge.run.shop import Shop


def looks(shop: Shop, reads: float, reports: float, seconds: int) -> list[str]:
    """Read hot products at a steady rate, with so many reports a second beside them.

    Returns the reads' latencies in milliseconds (p50, p99 and the longest), the reports asked for
    and made meanwhile, and the CPU seconds of the app and of the worker.
    """
    read_plan = Plan(shop.system.urls, "hot", 16, seconds, rate=reads, size=shop.system.size)
    report_plan = replace(read_plan, workload="reports", rate=reports)
    with LoadGenerator() as reader, LoadGenerator() as reporter, ThreadPoolExecutor(1) as pool:
        warm = _reports_made(shop) + 2
        reader.run(replace(read_plan, rate=None, count=500))
        reporter.run(replace(report_plan, rate=None, count=2, connections=1))
        wait_until(lambda: _reports_made(shop) == warm, "two reports to be made")
        before = cpu_time.read(shop.system.pids())
        reporting = pool.submit(reporter.run, report_plan) if reports else None
        read = reader.run(read_plan)
        used = cpu_time.between(before, cpu_time.read(shop.system.pids())).tiers
        made = _reports_made(shop) - warm
        asked = _asked(reporting.result()) if reporting else "0"
    cpu = [f"{used.get(tier, 0):.1f} s" for tier in ("app", "worker")]
    return [*_latencies(read), asked, number(made), *cpu]


def _latencies(read: Result) -> list[str]:
    """The median, the 99th percentile and the longest latency.

    A failed request counts as the longest of all: leaving it out would hide it.
    """
    latencies = [*read.latencies, *[inf] * read.bad]
    found = [percentile(latencies, percent) for percent in (50, 99, 100)]
    return [f"{read.bad:,} failed" if wait == inf else number(wait / 1e6) for wait in found]


def _asked(reports: Result) -> str:
    """How many reports were asked for, and how many of these requests failed, if any did."""
    failed = f", {reports.bad:,} failed" if reports.bad else ""
    return number(reports.good + reports.bad) + failed


def _reports_made(shop: Shop) -> int:
    """How many reports are done."""
    [[done]] = shop.sql("SELECT count(*) FROM reports WHERE status = 'done'")
    return int(done)
