"""What a service tells of itself in a run: in its log, its metrics and its traces."""

import json
import re
from collections import Counter
from contextlib import suppress

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from stack.stubs.client import fetch, port_of
from stack.system import System

REQUEST = re.compile(rb"/(products|orders|reports)")
"""In the log line of a request; a look at the readiness is none."""
BUSINESS = ("/products", "/orders", "/reports")
"""How the routes of such requests begin."""
DURATION = "http_server_request_duration_seconds"


def log_counters(written: bytes, n: int) -> dict[str, float]:
    """What the service's log says of `n` requests."""
    lines = requests_in(written)
    return {"log.lines": len(lines) / n, "log.request_ids": len(named(lines, "request_id")) / n}


def metric_counters(system: System, n: int) -> dict[str, float]:
    """How many of `n` requests the instances say they have answered; ask before they end."""
    if not system.traces_url:
        return {}
    return {"metrics.requests": sum(map(answered, system.urls)) / n}


def trace_counters(system: System, written: bytes, n: int) -> dict[str, float]:
    """What the receiver has of `n` requests; service and worker send the last when they end."""
    if not system.traces_url:
        return {}
    port = port_of(system.traces_url)
    spans = json.loads(fetch(port, "/stats")[1])["spans"]
    kept = {trace["trace_id"] for trace in json.loads(fetch(port, "/traces")[1])}
    said = named(requests_in(written), "trace_id")
    return {"traces.spans": spans / n, "traces.found": len(said & kept) / max(len(said), 1)}


def requests_in(written: bytes) -> list[bytes]:
    """The lines of a log that are about requests."""
    return [line for line in written.splitlines() if REQUEST.search(line)]


def named(lines: list[bytes], what: str) -> set[str]:
    """The different ids of a kind in those lines that are JSON."""
    ids = set()
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):  # of another form: no id
            ids.add(json.loads(line)[what])
    return ids


def numbers(system: System) -> Counter[tuple[str, ...]]:
    """What all instances tell together; see `told`."""
    return told(*(f"{url}/metrics" for url in system.urls))


def told(*urls: str) -> Counter[tuple[str, ...]]:
    """All samples of these /metrics, by name and values of labels, added up.

    Raises:
        httpx2.HTTPStatusError: one of them does not show any.
    """
    sums: Counter[tuple[str, ...]] = Counter()
    for url in urls:
        text = httpx2.get(url).raise_for_status().text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name, *sample.labels.values()] += sample.value  # type: ignore[assignment]
    return sums


def answered(url: str) -> float:
    """The business requests that an instance has counted; none if it shows no metrics."""
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
