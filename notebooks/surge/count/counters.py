"""Exact counters of one counted run: what a checkpoint did, whatever the machine.

A run (`surge.count.runs`) starts the service anew, sends exactly so many requests over so many
connections, and reads:

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
    http.bytes               body bytes per response
    http.errors              responses other than 2xx, and requests without a response
    log.lines                per request: lines that the service wrote until its end. A request
                             that a proxy answers by itself leaves none.
    log.request_ids          per request: different `request_id`s in those that are JSON
    metrics.requests         per request: those that the instances' own metrics have counted
    traces.spans             per request: spans that the trace receiver had in the end
    traces.found             of the different `trace_id`s in the log, the share that the receiver
                             had in the end; of the newest thousand traces, which is what it keeps

The last three exist only where the checkpoint asks for the trace receiver.

With `worker = true` the run ends when the service's workers have done their jobs. Without, they are
idle, and the counters are the service's alone. With `burst = true` the service is stopped until all
connections have sent a request, so that it finds them all at once. With
`partners = { hold = true }` the partners answer no call until the service has as many calls open as
it ever will: that counts its limit, not its speed. With `log = "stalled"` the log is a pipe that is
not read before the load is over.
"""

from collections.abc import Iterator
from pathlib import Path

from stack.checkpoint import Checkpoint, Claim
from surge.count.markers import INJECTED, SLOW_CALLBACKS
from surge.count.runs import Counted, count
from surge.count.servers import Servers
from surge.results.rows import ClaimRow


def claims(checkpoint: Checkpoint, directory: Path | None = None) -> Iterator[ClaimRow]:
    """Count a checkpoint's claims, in order; claims about the same run share it.

    Args:
        checkpoint: the one that makes the claims.
        directory: code to count in place of the checkpoint's.
    """
    runs: dict[str, Counted] = {}
    with Servers(checkpoint, directory) as servers:
        for claim in checkpoint.claims:
            key = run_key(claim)
            if key not in runs:
                runs[key] = count(servers, claim)
            counted = Counted(claim, runs[key].counters)
            if claim.counter == SLOW_CALLBACKS and not counted.holds:
                # Code that blocks the loop does so again; a machine that was busy does not.
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
    """Everything in which two claims must agree to share a run."""
    about = {"name", "counter", "at_most", "at_least", "equals", "because"}
    alone = claim.counter if claim.counter in INJECTED else None
    return f"{claim.model_dump_json(exclude=about)} {alone}"
