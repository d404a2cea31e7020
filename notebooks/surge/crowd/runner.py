"""Locust journeys against a service: a crowd of shoppers, and how long they had to wait.

Locust replaces the standard library's sockets when it is imported, so it runs as a process of its
own. It shows how a crowd fares; for ratios there is `surge.measure.paired`, which sees more.
"""

import json
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from stack.errors import StackError
from stack.host.account import account
from stack.processes.ports import free_port, is_free
from stack.processes.run import Child, Run
from surge.crowd import timeline
from surge.crowd.surge_shape import PEAK_SHOPPERS, SECONDS, phases
from surge.crowd.timeline import Timeline
from surge.results.percentiles import histogram_percentile

JOURNEYS = {
    "browse": "leafs through categories and opens products",
    "viral": "everybody opens one product, nine of ten of them together",
    "sale": "looks, buys, reads the receipt, until all is sold",
    "offers": "opens a product and asks the partners' prices",
    "surge": "all of these; in the middle third of the time ten times as many of them",
}
PATIENCE = 10
"""Seconds after which a shopper gives up, which counts as a failure."""
LINGER_SECONDS = 60
"""How long Locust's page stays after the run."""

# Exit statuses of our locustfile. Locust itself ends with 0, or with 1 when a request failed.
BUSY, CONFUSED = 3, 4
REJECTED = {
    BUSY: "Locust used a whole core, so the waiting may be its own. Take fewer users.",
    CONFUSED: "shoppers could not read an answer. Try `surge check`: it says which.",
}


@dataclass(frozen=True)
class RequestStats:
    """One kind of request of a journey, or all of them together, as Locust counted them."""

    name: str
    requests: int
    failures: int
    per_second: float
    times: dict[int, int]
    """How many answers took how many milliseconds; Locust keeps two digits."""

    def percentile(self, percent: float) -> int | None:
        """The time within which this share of the answers came; None without answers."""
        return histogram_percentile(self.times, percent)


@dataclass(frozen=True)
class Outcome:
    """How a crowd fared."""

    journey: str
    users: int
    seconds: int
    requests: list[RequestStats]
    total: RequestStats
    rejected: str | None
    timeline: Timeline | None = None
    """Only of a surge."""


def default_size(journey: str) -> tuple[int, int]:
    """How many shoppers come by default, and for how many seconds."""
    return (PEAK_SHOPPERS, SECONDS) if journey == "surge" else (50, 20)


def validate(journey: str, users: int, seconds: int) -> None:
    """Check the arguments before anything is started.

    Raises:
        StackError: there is no such journey, or too little time for it.
    """
    if journey not in JOURNEYS:
        raise StackError(f"There is no journey {journey!r}. Choose one of {', '.join(JOURNEYS)}.")
    if journey == "surge":
        phases(users, seconds)


def run(url: str, journey: str, users: int, seconds: int, ui: bool, console: Console) -> Outcome:
    """Send a crowd to `url` and wait until it has left.

    Args:
        url: the service.
        journey: one of `JOURNEYS`.
        users: how many shoppers; in a surge, at its peak.
        seconds: for how long they keep coming.
        ui: offer Locust's own page meanwhile, and for a minute afterwards.
        console: where the page's address is printed.

    Raises:
        StackError: there is no such journey, too little time for it, or Locust failed.
    """
    validate(journey, users, seconds)
    user = account()
    crowd = Run(user.home, user)
    try:
        port = free_port() if ui else 0
        child = crowd.start("locust", _command(url, journey, users, seconds, port))
        try:
            if ui:
                child.wait_until(lambda: not is_free(port))
                console.print(f"Locust's page: http://127.0.0.1:{port} · Ctrl-C ends it")
            status = _wait(child, seconds + PATIENCE + (LINGER_SECONDS if ui else 0))
        finally:
            child.stop(signal.SIGTERM)
        if status not in (0, 1, *REJECTED):
            raise StackError(f"Locust failed. Its last words:\n{child.log_tail()}")
        entries = json.loads((crowd.directory / "stats.json").read_bytes())
        met = outcome(journey, users, seconds, entries, status)
        if journey == "surge":
            requests = timeline.read(crowd.directory / timeline.FILE)
            met = replace(met, timeline=Timeline(users, seconds, requests))
    finally:
        crowd.close()
    return met


def outcome(
    journey: str, users: int, seconds: int, entries: list[dict[str, Any]], status: int
) -> Outcome:
    """Read Locust's statistics and exit status."""
    requests = [_stats(f"{entry['method']} {entry['name']}", [entry]) for entry in entries]
    total = _stats("all", entries)
    rejected = REJECTED.get(status)
    if total.requests == total.failures:
        rejected = "not one request got a good answer."
    return Outcome(journey, users, seconds, requests, total, rejected)


def _command(url: str, journey: str, users: int, seconds: int, port: int) -> list[str]:
    page = ["--autostart", "--autoquit", str(LINGER_SECONDS)]
    page += ["--web-host", "127.0.0.1", "--web-port", str(port)]
    surge = journey == "surge"
    file = "surge_locustfile.py" if surge else "locustfile.py"
    return [
        *(sys.executable, "-m", "locust", *([] if surge else [journey.capitalize()])),
        *("--locustfile", str(Path(__file__).with_name(file))),
        *("--host", url),
        *("--users", str(users)),
        *("--run-time", f"{seconds}s"),
        *("--stop-timeout", str(PATIENCE)),
        *("--json-file", "stats"),
        *("--only-summary", *(page if port else ["--headless"])),
    ]


def _wait(child: Child, seconds: float) -> int:
    """Wait for the end; Locust needs some seconds of its own to start and to stop."""
    try:
        return child.process.wait(seconds + 30)
    except subprocess.TimeoutExpired:
        raise StackError(f"Locust did not end. Its last words:\n{child.log_tail()}") from None


def _stats(name: str, entries: list[dict[str, Any]]) -> RequestStats:
    times: Counter[int] = Counter()
    for entry in entries:
        times.update({int(time): count for time, count in entry["response_times"].items()})
    requests = sum(entry["num_requests"] for entry in entries)
    began = min((entry["start_time"] for entry in entries), default=0.0)
    ended = max((entry["last_request_timestamp"] or 0.0 for entry in entries), default=0.0)
    return RequestStats(
        name=name,
        requests=requests,
        failures=sum(entry["num_failures"] for entry in entries),
        per_second=requests / max(ended - began, 1.0),
        times=dict(sorted(times.items())),
    )
