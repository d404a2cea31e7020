"""The load generator: it counts everything, hides nothing, and follows the protocol."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from scripted import BODY, BUSY, CHUNKED, CLOSE, OK, Server, after, always

from stack.errors import StackError
from surge.load.generator import LoadGenerator, drive
from surge.load.http1 import Request
from surge.load.plan import Plan, Result
from surge.load.streams import get
from surge.results.stats import decide, interval


def run(server: Server, requests: Iterator[Request] | None = None, **plan: Any) -> Result:
    """Carry out a plan in this process."""
    stream = requests or itertools.repeat(Request(get("/products/1")))
    with server.listening() as url:
        return asyncio.run(drive(Plan([url], "detail", **plan), stream, frozenset({200})))


def test_exactly_so_many_requests_are_sent_and_all_are_answered() -> None:
    server = Server(always(OK))
    result = run(server, connections=7, count=1000)
    assert len(server.requests) == 1000
    assert result.good == 1000
    assert result.statuses == {200: 1000}
    assert result.errors == {}
    assert result.body_bytes == 1000 * len(BODY)
    assert result.connections_opened == server.connections == 7
    assert all(latency > 0 for latency in result.latencies)


def test_a_count_smaller_than_the_connections_is_kept() -> None:
    server = Server(always(OK))
    assert run(server, connections=10, count=3).good == len(server.requests) == 3


def test_chunked_bodies_are_counted_without_their_framing() -> None:
    result = run(Server(always(CHUNKED)), connections=3, count=50, digest=True)
    assert result.good == 50
    assert result.body_bytes == 50 * len(BODY)
    plain = run(Server(always(OK)), connections=3, count=50, digest=True)
    assert result.digests == plain.digests


def test_a_server_that_closes_is_asked_again_on_a_new_connection() -> None:
    server = Server(always(CLOSE))
    result = run(server, connections=4, count=40)
    assert result.good == 40
    assert result.errors == {}
    # Each connection carried one request; the four opened in advance are among them.
    assert result.connections_opened == server.connections == 40


def test_a_dropped_connection_is_an_error_of_its_own_kind_and_the_load_goes_on() -> None:
    async def reply(n: int) -> bytes:
        return b"" if n % 5 == 0 else OK

    result = run(Server(reply), connections=1, count=100)
    assert result.errors == {"dropped": 20}
    assert result.good == 80
    assert result.connections_opened == 21 - 1  # the last request was dropped, nothing followed


def test_an_incomplete_response_is_dropped() -> None:
    short = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99\r\n\r\n" + BODY
    result = run(Server(always(short)), connections=1, count=5)
    assert result.errors == {"dropped": 5}
    assert result.good == 0


def test_a_response_that_is_not_http_is_malformed() -> None:
    result = run(Server(always(b"220 mail.example ESMTP\r\n\r\n")), connections=2, count=6)
    assert result.errors == {"malformed": 6}


def test_statuses_that_the_workload_does_not_allow_are_errors_without_latency() -> None:
    async def reply(n: int) -> bytes:
        return BUSY if n % 4 == 0 else OK

    result = run(Server(reply), connections=1, count=100)
    assert result.statuses == {200: 75, 503: 25}
    assert result.errors == {"status 503": 25}
    assert result.good == 75


def test_a_closed_port_is_refused_and_the_run_ends() -> None:
    with Server(always(OK)).listening() as url:
        pass
    stream = itertools.repeat(Request(get("/")))
    result = asyncio.run(drive(Plan([url], "detail", 2, count=6), stream, frozenset({200})))
    assert result.errors == {"refused": 6}


def test_a_shopper_gives_up_after_the_timeout_and_asks_again() -> None:
    async def reply(n: int) -> bytes:
        if n == 3:
            await asyncio.sleep(30)
        return OK

    result = run(Server(reply), connections=1, count=10, timeout=0.2)
    assert result.errors == {"timeout": 1}
    assert result.good == 9


def test_a_timed_run_stops_asking_but_waits_for_the_last_answers() -> None:
    server = Server(after(0.3))
    result = run(server, connections=5, seconds=0.1)
    assert result.good == len(server.requests) == 5
    assert result.seconds > 0.3
    assert result.throughput == pytest.approx(5 / result.seconds, rel=0.1)


def test_one_slow_response_does_not_hold_up_the_count_of_the_others() -> None:
    async def reply(n: int) -> bytes:
        await asyncio.sleep(0.4 if n == 100 else 0.002)
        return OK

    result = run(Server(reply), connections=8, seconds=0.3)
    assert max(result.latencies) > 0.4e9
    assert result.seconds > 0.4
    assert (result.good - 8) / 0.3 <= result.throughput <= result.good / 0.3


def test_a_walk_asks_for_what_its_answers_name() -> None:
    def step(number: int) -> Request:
        def follow(body: bytes) -> Request | None:
            assert body == BODY
            return step(number + 1) if number < 4 else None

        return Request(get(f"/page/{number}"), follow)

    server = Server(always(OK))
    run(server, (step(1) for _ in itertools.count()), connections=1, count=9)
    asked = [int(head.split()[1].removeprefix(b"/page/")) for head in server.requests]
    assert asked == [1, 2, 3, 4, 1, 2, 3, 4, 1]


def test_a_mistake_in_a_stream_ends_the_run_instead_of_hanging_it() -> None:
    def stream() -> Iterator[Request]:
        yield Request(get("/"), lambda body: 1 // 0)  # type: ignore[arg-type, return-value]
        yield from itertools.repeat(Request(get("/")))

    with pytest.raises(ZeroDivisionError):
        run(Server(always(OK)), stream(), connections=2, count=50)


def test_a_load_generator_that_cannot_answer_raises_a_stack_error() -> None:
    with LoadGenerator() as generator:
        with pytest.raises(StackError, match="no workload 'browse'"):
            generator.run(Plan(["http://127.0.0.1:1"], "browse", 1, count=1))
        generator.process.kill()
        generator.process.wait()
        with pytest.raises(StackError, match="ended before its result"):
            generator.run(Plan(["http://127.0.0.1:1"], "list", 1, count=1))


def test_a_plan_and_a_result_survive_the_way_to_the_load_generator_and_back() -> None:
    plan = Plan(["http://127.0.0.1:1"], "list", 3, rate=10.5, seconds=1.0)
    assert Plan.from_json(plan.to_json()) == plan
    result = run(Server(always(BUSY)), connections=1, count=2)
    assert Result.from_json(result.to_json()) == result
    good = run(Server(always(OK)), connections=1, count=2, digest=True)
    assert Result.from_json(good.to_json()) == good


def test_the_open_loop_sends_its_rate_whatever_the_answers() -> None:
    server = Server(always(OK))
    with server.listening() as url, LoadGenerator() as generator:
        result = generator.run(Plan([url], "detail", 20, rate=300, seconds=1.0))
    assert result.good == len(server.requests) == 300


def test_a_stall_hits_every_request_that_was_due_in_it() -> None:
    """No coordinated omission: the wait in the load generator's queue counts."""
    stall, rate, connections = 0.5, 400, 4

    def stalling() -> Server:
        async def reply(n: int) -> bytes:
            if n == 100:
                time.sleep(stall)  # noqa: ASYNC251 - the whole server stands still
            return OK

        return Server(reply)

    def slow(result: Result) -> int:
        return sum(latency > stall / 2 * 1e9 for latency in result.latencies)

    with LoadGenerator() as generator:
        with stalling().listening() as url:
            opened = generator.run(Plan([url], "detail", connections, rate=rate, seconds=1.5))
        with stalling().listening() as url:
            closed = generator.run(Plan([url], "detail", connections, seconds=1.0))
    assert slow(closed) <= connections
    # About half of those due during the stall waited more than half of it.
    assert slow(opened) > rate * stall / 4


def test_queued_requests_time_out_too() -> None:
    with Server(after(5)).listening() as url, LoadGenerator() as generator:
        result = generator.run(Plan([url], "detail", 2, rate=50, seconds=0.5, timeout=0.3))
    assert result.errors == {"timeout": 25}
    assert result.good == 0


def test_a_load_generator_goes_on_with_a_stream_from_plan_to_plan() -> None:
    server = Server(always(OK))
    with server.listening() as url, LoadGenerator() as generator:
        for _ in range(2):
            generator.run(Plan([url], "cold", 1, count=400, size="tiny"))
    assert len(set(server.requests)) == 800


@pytest.mark.parametrize(
    ("b", "expected"), [(0.02, "cannot tell"), (0.06, "slower"), (0.007, "faster")]
)
def test_an_injected_delay_is_seen_and_no_delay_is_not(b: float, expected: str) -> None:
    """Three tries: another program on the machine may spoil one comparison, but not all."""
    with (
        Server(after(0.02)).listening() as one,
        Server(after(b)).listening() as other,
        LoadGenerator() as generator,
    ):

        def compared() -> str:
            starts = []
            for _ in range(3):
                pairs = []
                for order in ((one, other), (other, one)) * 2:
                    plans = {url: Plan([url], "detail", 2, seconds=0.15) for url in order}
                    speed = {url: generator.run(plan).throughput for url, plan in plans.items()}
                    pairs.append(speed[other] / speed[one])
                starts.append(pairs)
            return decide(interval(starts))

        assert any(compared() == expected for _ in range(3))
