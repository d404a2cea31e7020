"""One counted run: the service is started, gets exactly so many requests, and is ended.

Before the load the sources begin to count. After it they are asked for their counters.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from stack.checkpoint import Checkpoint, Claim
from stack.errors import StackError
from stack.system import System
from surge.count.log_pipe import LogPipe
from surge.count.markers import INJECTED, MarkerCount, injection
from surge.count.partners import PartnerCalls
from surge.count.redis_stats import RedisStats
from surge.count.servers import Servers
from surge.count.service import Responses, ThreadCount
from surge.count.source import Counters, Load, Source
from surge.count.sql import StatementStats
from surge.count.telemetry import Telemetry
from surge.load.generator import LoadGenerator
from surge.load.plan import Plan

STARTED = "app.started"
STALLED_SECONDS = 20.0
"""How long a run with a stalled log may take."""


@dataclass(frozen=True)
class Counted:
    """One claim with everything its run counted."""

    claim: Claim
    counters: Counters

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
    """Count one claim.

    Raises:
        StackError: the service does not start, and that is not what the claim counts.
    """
    with ExitStack() as stack:
        pipe = stack.enter_context(LogPipe()) if claim.log == "stalled" else None
        environment = _environment(servers.checkpoint, claim, pipe)
        try:
            system = stack.enter_context(servers.ready(claim, environment))
        except StackError:
            if claim.counter == STARTED:
                return Counted(claim, {STARTED: 0})
            raise
        generator = stack.enter_context(LoadGenerator())
        partners = PartnerCalls(system)
        sources: list[Source] = [  # in the order in which they are asked
            ThreadCount(system),
            StatementStats(system),
            partners,
            RedisStats(system),
            MarkerCount(system),
            Responses(system),
            Telemetry(system),
        ]
        for source in sources:
            stack.enter_context(source)
        load = _drive(generator, system, claim, partners)
        if pipe:
            pipe.recover()
        counters: Counters = {STARTED: 1}
        for source in sources:
            counters |= source.collect(load)
        system.service.stop_all()
        system.workers.stop()
        log = pipe.finish() if pipe else system.service.log()
        for source in sources:
            counters |= source.collect_ended(load, log)
    return Counted(claim, counters)


def _environment(checkpoint: Checkpoint, claim: Claim, pipe: LogPipe | None) -> dict[str, str]:
    """The settings of the service in this run."""
    settings = checkpoint.patience | claim.environment | injection(claim.counter)
    if pipe:
        settings["LOG_FILE"] = str(pipe.path)
    return settings


def _drive(generator: LoadGenerator, system: System, claim: Claim, partners: PartnerCalls) -> Load:
    """Send the claim's requests; partners that are held are released meanwhile."""
    stalled = claim.log == "stalled"
    plan = Plan(
        system.public_urls,
        claim.workload,
        connections=1 if claim.counter in INJECTED else claim.connections,
        count=claim.requests,
        seconds=STALLED_SECONDS if stalled else None,
        timeout=STALLED_SECONDS if stalled else 30.0,
        size=claim.size,
        hold=[process.pid for process in system.service.processes()] if claim.burst else [],
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(generator.run, plan)
        if claim.partners.get("hold"):
            partners.release(running.done)
        return Load(claim.requests, running.result())
