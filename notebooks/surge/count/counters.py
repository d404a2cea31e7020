"""Exact counters of one counted run: what a checkpoint did, whatever the machine.

A run starts the service anew, sends exactly so many requests over so many connections, and reads:

    sql.statements           per request: top-level statements of the service's role. BEGIN, COMMIT,
                             SET and the like are not counted. A pool's `SELECT 1` before each use
                             is a round trip like any other, and is.
    sql.rows, sql.blocks     per request: rows returned or changed; 8 kB blocks looked at (exact
                             for reads; writes look for free space, which varies by a few percent)
    sql.seq_rows             per request: rows read by sequential scans
    sql.sessions             connections the service opened during the run
    app.started              whether the service starts at all: 1 or 0
    app.connections          connections that the service's processes took
    app.threads.max          threads of the service's processes, at the most
    loop.slow_callbacks      steps that held the event loop for 100 ms or more, as asyncio's debug
                             mode reports them; counted in a run of its own, one request at a time
    orm.instances            per request: objects that SQLAlchemy's ORM made of rows; likewise
    partners.calls           per request
    partners.in_flight.max   partner calls open at the same moment, at the most
    partners.connections     connections the service opened to the partners
    mail.messages            messages that the mail service took in the end, per order placed
    redis.commands           per request: commands of the service, each a round trip unless it is
                             pipelined; what sets a connection up is not counted
    redis.keys               keys that the service has left when the run is over
    redis.keys_without_ttl   those among them that would stay for good
    http.bytes               body bytes per answer
    http.errors              answers other than 2xx, and requests without an answer
    log.lines                per request: lines that the service wrote until its end. What a proxy
                             answers by itself reaches no service, and leaves none.
    log.request_ids          per request: different `request_id`s in those that are JSON
    metrics.requests         per request: those that the instances' own metrics have counted
    traces.spans             per request: spans that the trace receiver had in the end
    traces.found             of the different `trace_id`s in the log, the share that the receiver
                             had in the end; of the newest thousand traces, which is what it keeps

The last three there are where the checkpoint asks for the trace receiver.

With `worker = true` the run ends when the service's workers have done their jobs; without, they
rest, and what is counted is the service alone. With `burst = true` the service is held until all
connections have asked: it finds their requests there together. With `partners = { hold = true }`
the partners answer nobody until all calls that the service will ever have open at once are open:
what is counted is its limit, not its speed. With `log = "stalled"` the log is a pipe that nobody
reads until the run is over.
"""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from stack.checkpoint import Checkpoint, Claim
from stack.errors import StackError
from stack.stubs.ask import partner_stats, turn
from stack.system import System
from surge.count import telemetry
from surge.count.log_pipe import LogPipe
from surge.count.redis_keys import Keyspace
from surge.count.servers import Servers
from surge.count.sql import Ledger
from surge.load.generator import LoadGenerator
from surge.load.plan import Plan, Result
from surge.machine import cpu_time
from surge.machine.waiting import wait_until
from surge.results.rows import ClaimRow

SLOW_STEP = re.compile(r"Executing .* took [\d.]+ seconds")
ORM_INSTANCE = re.compile(r"^orm instance$", re.MULTILINE)
CONNECTION = re.compile(r"^connection$", re.MULTILINE)
SLOW = "loop.slow_callbacks"
INJECTED = {
    SLOW: {"PYTHONASYNCIODEBUG": "1"},
    "orm.instances": {"SURGE_COUNT_ORM": "1"},
    "app.connections": {"SURGE_COUNT_CONNECTIONS": "1"},
}
"""Counters that the service itself must help with, which slows it down: each has a run of its own,
one request at a time, with `injected/` on the service's path."""
STARTED = "app.started"
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


def count(servers: Servers, claim: Claim) -> Counted:
    """Count one claim."""
    injected = INJECTED.get(claim.counter)
    with ExitStack() as stack:
        environment = {**servers.checkpoint.patience, **claim.environment}
        if injected:
            environment |= {**injected, "PYTHONPATH": str(Path(__file__).parent / "injected")}
        pipe = stack.enter_context(LogPipe()) if claim.log == "stalled" else None
        if pipe:
            environment["LOG_FILE"] = str(pipe.path)
        try:
            system = stack.enter_context(servers.ready(claim, environment))
        except StackError:
            if claim.counter == STARTED:
                return Counted(claim, {STARTED: 0})
            raise
        ledger = stack.enter_context(Ledger(system))
        keyspace = stack.enter_context(Keyspace(system))
        generator = stack.enter_context(LoadGenerator())
        plan = Plan(
            system.doors,
            claim.workload,
            connections=1 if injected else claim.connections,
            count=claim.requests,
            seconds=PATIENCE if pipe else None,
            timeout=PATIENCE if pipe else 30.0,
            size=claim.size,
            hold=[process.pid for process in system.processes()] if claim.burst else [],
        )
        told_before = told(system.app_log())
        with ThreadPoolExecutor(2) as pool:
            running = pool.submit(generator.run, plan)
            threads = pool.submit(most_threads, system, running)
            held = release(system, running.done) if claim.partners.get("hold") else None
            result = running.result()
        if pipe:
            pipe.recover()
        statements = ledger.statements()
        if claim.worker:
            settle(system, "messages", 0, lambda: False)
        partners = partner_stats(system.partners_url)
        kept = keyspace.counters(claim.requests)
        after = told(system.app_log())
        slow, instances, connections = map(int.__sub__, after, told_before)
        metrics = telemetry.metric_counters(system, claim.requests)
        system.end_app()
        system.workers.end()
        sessions, scanned = ledger.sessions_and_scanned_rows()
        written = pipe.finish() if pipe else system.log()
        traces = telemetry.trace_counters(system, written, claim.requests)
    n = claim.requests
    return Counted(
        claim,
        {
            "sql.statements": statements.calls / n,
            "sql.rows": statements.rows / n,
            "sql.blocks": statements.blocks / n,
            "sql.seq_rows": scanned / n,
            "sql.sessions": sessions,
            STARTED: 1,
            "app.connections": connections,
            "app.threads.max": threads.result(),
            "loop.slow_callbacks": slow,
            "orm.instances": instances / n,
            "partners.calls": partners["calls"] / n,
            "partners.in_flight.max": partners["max_in_flight"] if held is None else held,
            "partners.connections": partners["connections"],
            "mail.messages": partners["messages"] / max(result.statuses.get(201, 0), 1),
            **kept,
            **http_counters(result),
            **telemetry.log_counters(written, n),
            **metrics,
            **traces,
        },
    )


def claims(checkpoint: Checkpoint, directory: Path | None = None) -> Iterator[ClaimRow]:
    """Count a checkpoint's claims, in order; claims about the same run share it.

    Args:
        checkpoint: whose claims.
        directory: count other code than the checkpoint's.
    """
    runs: dict[str, Counted] = {}
    with Servers(checkpoint, directory) as servers:
        for claim in checkpoint.claims:
            key = run_key(claim)
            if key not in runs:
                runs[key] = count(servers, claim)
            counted = Counted(claim, runs[key].counters)
            if claim.counter == SLOW and not counted.holds:
                # Code that holds the loop does so again; a machine that was busy does not.
                counted = min(counted, count(servers, claim), key=lambda one: one.value)
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


def told(log: str) -> tuple[int, int, int]:
    """What the injected code has told so far: slow steps, instances of the ORM, connections."""
    slow, instances, connections = (
        len(pattern.findall(log)) for pattern in (SLOW_STEP, ORM_INSTANCE, CONNECTION)
    )
    return slow, instances, connections


def most_threads(system: System, running: Future[Result]) -> int:
    """The most threads the service's processes had together."""
    most, over = 0, False
    while not over:
        # Now and then, and once more when it is over: threads stay for a while.
        over = bool(wait([running], timeout=0.1).done)
        with suppress(psutil.NoSuchProcess):  # a child that ended meanwhile: look again
            most = max(most, sum(process.num_threads() for process in system.processes()))
    return most


def release(system: System, done: Callable[[], bool]) -> int:
    """Wait until no more calls come, let the partners answer, and give the number that was open."""
    most = settle(system, "max_in_flight", 1, done)
    turn(system.partners_url, hold=False)
    return most


def settle(system: System, counter: str, least: int, done: Callable[[], bool]) -> int:
    """Wait until what the partners count stands still and the service rests; gives the count."""
    most, since, before = 0, time.monotonic(), work(system)

    def steady() -> bool:
        nonlocal most, since, before
        now, used = partner_stats(system.partners_url)[counter], work(system)
        # Somebody may still be on the way to a call: on a busy machine that can take a while.
        if now > most or used - before > IDLE:
            most, since, before = max(most, now), time.monotonic(), used
        return done() or (most >= least and time.monotonic() - since > STEADY)

    wait_until(steady, f"{counter} of the partners")
    return most


def work(system: System) -> float:
    """CPU seconds that the service, its workers and its database have used."""
    busy = ("app", "worker", "database")
    pids = {tier: pids for tier, pids in system.pids().items() if tier in busy}
    return sum(cpu_time.read(pids).tiers.values())


def http_counters(result: Result) -> dict[str, float]:
    """What the load generator saw."""
    answers = sum(result.statuses.values())
    unanswered = sum(n for kind, n in result.errors.items() if not kind.startswith("status"))
    not_2xx = sum(n for status, n in result.statuses.items() if status // 100 != 2)
    return {
        "http.bytes": result.body_bytes / max(answers, 1),
        "http.errors": not_2xx + unanswered,
    }
