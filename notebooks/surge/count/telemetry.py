"""What the service reports about itself in a run: its log, its metrics and its traces."""

import json
import re
from collections import Counter
from contextlib import suppress

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from stack.stubs.client import fetch, port_of
from stack.system import System
from surge.count.source import Counters, Load, Source

REQUEST = re.compile(rb"/(products|orders|reports)")
"""In the log line of a request; a readiness check does not count."""
BUSINESS = ("/products", "/orders", "/reports")
"""How the routes of such requests begin."""
DURATION = "http_server_request_duration_seconds"


class Telemetry(Source):
    """The service's log, and, where there is a trace receiver, its metrics and traces."""

    def collect(self, load: Load) -> Counters:
        """`metrics.requests`."""
        if not self.system.traces_url:
            return {}
        requests = sum(map(requests_counted, self.system.urls))
        return {"metrics.requests": requests / load.requests}

    def collect_ended(self, load: Load, log: bytes) -> Counters:
        """`log.*` and `traces.*`; service and workers send their last spans when they end."""
        lines = request_lines(log)
        counters: Counters = {
            "log.lines": len(lines) / load.requests,
            "log.request_ids": len(distinct_ids(lines, "request_id")) / load.requests,
        }
        if self.system.traces_url:
            port = port_of(self.system.traces_url)
            spans = json.loads(fetch(port, "/stats")[1])["spans"]
            received = {trace["trace_id"] for trace in json.loads(fetch(port, "/traces")[1])}
            logged = distinct_ids(lines, "trace_id")
            counters["traces.spans"] = spans / load.requests
            counters["traces.found"] = len(logged & received) / max(len(logged), 1)
        return counters


def request_lines(log: bytes) -> list[bytes]:
    """The lines of a log that are about requests."""
    return [line for line in log.splitlines() if REQUEST.search(line)]


def distinct_ids(lines: list[bytes], field: str) -> set[str]:
    """The different values of an id in those lines that are JSON."""
    ids = set()
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):  # not JSON, or without the id
            ids.add(json.loads(line)[field])
    return ids


def scrape_instances(system: System) -> Counter[tuple[str, ...]]:
    """The metrics of all instances together; see `scrape`."""
    return scrape(*(f"{url}/metrics" for url in system.urls))


def scrape(*urls: str) -> Counter[tuple[str, ...]]:
    """The samples of several /metrics, added up by name and label values.

    Raises:
        httpx2.HTTPStatusError: one of them does not show its metrics.
    """
    sums: Counter[tuple[str, ...]] = Counter()
    for url in urls:
        text = httpx2.get(url).raise_for_status().text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name, *sample.labels.values()] += sample.value  # type: ignore[assignment]
    return sums


def requests_counted(url: str) -> float:
    """The business requests that an instance has counted; 0 if it shows no metrics."""
    status, text = fetch(port_of(url), "/metrics")
    if status != 200:
        return 0
    return sum(
        sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == f"{DURATION}_count"
        and sample.labels.get("route", "").startswith(BUSINESS)
    )
