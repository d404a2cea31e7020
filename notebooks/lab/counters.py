"""Exact counters of one counted run: what a checkpoint did, whatever the machine.

A run starts a fresh system, sends exactly so many requests over so many connections, and reads:

    sql.statements           per request: top-level statements of the service's role. BEGIN, COMMIT,
                             SET and the like are not counted. A pool's `SELECT 1` before each use
                             is a round trip like any other, and is.
    sql.rows, sql.blocks     per request: rows returned or changed; 8 kB blocks looked at (exact
                             for reads; writes look for free space, which varies by a few percent)
    sql.seq_rows             per request: rows read by sequential scans
    sql.sessions             connections the service opened during the run
    app.threads.max          threads of the service's processes, at the most
    loop.slow_callbacks      steps that held the event loop for 100 ms or more, as asyncio's debug
                             mode reports them; counted in a run of its own, one request at a time
    orm.instances            per request: objects that SQLAlchemy's ORM made of rows; likewise
    partners.calls           per request
    partners.in_flight.max   partner calls open at the same moment, at the most
    partners.connections     connections the service opened to the partners
    http.bytes               body bytes per answer
    http.errors              answers other than 2xx, and requests without an answer
    log.lines                per request: lines that the service wrote until its end
    log.request_ids          per request: different `request_id`s in those that are JSON

With `partners = { hold = true }` the partners answer nobody until all calls that the service will
ever have open at once are open: what is counted is its limit, not its speed. With `log = "stalled"`
the log is a pipe that nobody reads until the run is over.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from lab import cost
from lab.pipe import LogPipe
from lab.plan import Plan, Result
from lab.probe import Probe
from lab.results import ClaimRow
from lab.sql import Ledger, wait_until
from stack.checkpoint import Checkpoint, Claim
from stack.errors import StackError
from stack.system import System, turn

SLOW_STEP = re.compile(r"Executing .* took [\d.]+ seconds")
ORM_INSTANCE = re.compile(r"^orm instance$", re.MULTILINE)
INJECTED = {
    "loop.slow_callbacks": {"PYTHONASYNCIODEBUG": "1"},
    "orm.instances": {"SURGE_COUNT_ORM": "1"},
}
"""Counters that the service itself must help with, which slows it down: each has a run of its own,
one request at a time, with `injected/` on the service's path."""
REQUEST = re.compile(rb"/(products|orders|reports)")
"""In the log line of a request; a look at the readiness is none."""
PATIENCE = 20.0
"""Seconds that a run with a stalled log may take."""
STEADY = 0.5
IDLE = 0.02
"""Held calls are all there when for `STEADY` seconds no new one came, and the service and its
database used less than `IDLE` seconds of CPU."""


@dataclass(frozen=True)
class Counted:
    """One claim with everything its run counted."""

    claim: Claim
    counters: dict[str, float]

    @property
    def value(self) -> float:
        """The counter the claim is about.

        Raises:
            StackError: there is no such counter.
        """
        try:
            return self.counters[self.claim.counter]
        except KeyError:
            raise StackError(
                f"{self.claim.name!r} counts {self.claim.counter!r}, which there is not. "
                f"Choose one of {', '.join(self.counters)}."
            ) from None

    @property
    def holds(self) -> bool:
        """Whether the claim is true."""
        return self.claim.holds(self.value)


def count(checkpoint: Checkpoint, claim: Claim, directory: Path | None = None) -> Counted:
    """Count one claim on a fresh system; `directory` counts other code than the checkpoint's."""
    injected = INJECTED.get(claim.counter)
    with ExitStack() as stack:
        environment = dict(claim.environment)
        if injected:
            environment |= {**injected, "PYTHONPATH": str(Path(__file__).parent / "injected")}
        pipe = stack.enter_context(LogPipe()) if claim.log == "stalled" else None
        if pipe:
            environment["LOG_FILE"] = str(pipe.path)
        system = stack.enter_context(
            System(
                checkpoint,
                directory,
                size=claim.size,
                environment=environment,
                max_connections=claim.max_connections,
                partners=claim.partners,
            )
        )
        ledger = stack.enter_context(Ledger(system))
        probe = stack.enter_context(Probe())
        plan = Plan(
            system.url,
            claim.workload,
            connections=1 if injected else claim.connections,
            count=claim.requests,
            seconds=PATIENCE if pipe else None,
            timeout=PATIENCE if pipe else 30.0,
            size=claim.size,
        )
        told_before = told(system.app_log())
        with ThreadPoolExecutor(2) as pool:
            running = pool.submit(probe.run, plan)
            threads = pool.submit(most_threads, system.pids()["app"], running.done)
            held = release(system, running.done) if claim.partners.get("hold") else None
            result = running.result()
        if pipe:
            pipe.recover()
        statements = ledger.statements()
        partners = partner_stats(system)
        slow, instances = map(int.__sub__, told(system.app_log()), told_before)
        system.end_app()
        sessions, scanned = ledger.sessions_and_scanned_rows()
        written = pipe.finish() if pipe else system.log()
    n = claim.requests
    return Counted(
        claim,
        {
            "sql.statements": statements.calls / n,
            "sql.rows": statements.rows / n,
            "sql.blocks": statements.blocks / n,
            "sql.seq_rows": scanned / n,
            "sql.sessions": sessions,
            "app.threads.max": threads.result(),
            "loop.slow_callbacks": slow,
            "orm.instances": instances / n,
            "partners.calls": partners["calls"] / n,
            "partners.in_flight.max": partners["max_in_flight"] if held is None else held,
            "partners.connections": partners["connections"],
            **http_counters(result),
            **log_counters(written, n),
        },
    )


def claims(checkpoint: Checkpoint, directory: Path | None = None) -> Iterator[ClaimRow]:
    """Count a checkpoint's claims, in order; claims about the same run share it."""
    runs: dict[str, Counted] = {}
    for claim in checkpoint.claims:
        key = run_key(claim)
        if key not in runs:
            runs[key] = count(checkpoint, claim, directory)
        counted = Counted(claim, runs[key].counters)
        yield ClaimRow(
            checkpoint=checkpoint.label,
            name=claim.name,
            workload=claim.workload,
            counter=claim.counter,
            expected=claim.expected,
            value=counted.value,
            holds=counted.holds,
            because=claim.because,
        )


def run_key(claim: Claim) -> str:
    """What two claims must agree in to share a run."""
    about = {"name", "counter", "at_most", "at_least", "equals", "because"}
    alone = claim.counter if claim.counter in INJECTED else None
    return f"{claim.model_dump_json(exclude=about)} {alone}"


def told(log: str) -> tuple[int, int]:
    """What the injected code has told so far: slow steps, instances of the ORM."""
    return len(SLOW_STEP.findall(log)), len(ORM_INSTANCE.findall(log))


def most_threads(pids: list[int], done: Callable[[], bool]) -> int:
    """The most threads a tier's processes had together."""
    most = 0
    while not done():
        with suppress(psutil.NoSuchProcess):  # a child that ended meanwhile: look again
            roots = [psutil.Process(pid) for pid in pids]
            children = [child for root in roots for child in root.children(recursive=True)]
            most = max(most, sum(process.num_threads() for process in (*roots, *children)))
        time.sleep(0.02)
    return most


def partner_stats(system: System) -> dict[str, int]:
    """What the partner stub counted."""
    stats: dict[str, int] = httpx2.get(f"{system.partners_url}/stats").json()
    return stats


def release(system: System, done: Callable[[], bool]) -> int:
    """Wait until no more calls come, let the partners answer, and give the number that was open."""
    most, since, before = 0, time.monotonic(), work(system)

    def steady() -> bool:
        nonlocal most, since, before
        now, used = partner_stats(system)["max_in_flight"], work(system)
        # Somebody may still be on the way to a call: on a busy machine that can take a while.
        if now > most or used - before > IDLE:
            most, since, before = max(most, now), time.monotonic(), used
        return done() or (most > 0 and time.monotonic() - since > STEADY)

    wait_until(steady, "calls to the partners")
    turn(system.partners_url, hold=False)
    return most


def work(system: System) -> float:
    """CPU seconds that the service and its database have used."""
    pids = {tier: pids for tier, pids in system.pids().items() if tier in ("app", "database")}
    return sum(cost.read(pids).tiers.values())


def log_counters(written: bytes, n: int) -> dict[str, float]:
    """What the service's log says of `n` requests."""
    lines = [line for line in written.splitlines() if REQUEST.search(line)]
    ids = set()
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):  # of another form: no id
            ids.add(json.loads(line)["request_id"])
    return {"log.lines": len(lines) / n, "log.request_ids": len(ids) / n}


def http_counters(result: Result) -> dict[str, float]:
    """What the probe saw."""
    answers = sum(result.statuses.values())
    unanswered = sum(n for kind, n in result.errors.items() if not kind.startswith("status"))
    not_2xx = sum(n for status, n in result.statuses.items() if status // 100 != 2)
    return {
        "http.bytes": result.body_bytes / max(answers, 1),
        "http.errors": not_2xx + unanswered,
    }
