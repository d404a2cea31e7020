"""A connection lost in a sale: nothing is sold that was not, and each key buys once."""

from collections.abc import Iterator

import psycopg
import pytest
from buyers import ONE, PATIENT, SALE, TWO, Answer, Order, Shop, at, opened
from resilient import RESILIENT
from steps import PROGRAMS, without_worker

from stack.stubs.fault_proxy import FaultProxy

ORDERS = [Order((ONE, TWO)[n % 2], f"buyer-{n}") for n in range(10)]


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with without_worker(request.param, PATIENT) as system, opened(system) as shop:
        shop.database.execute((PROGRAMS / "slow_commit.sql").read_text())
        yield shop


@pytest.fixture(scope="module")
def proxy(shop: Shop) -> Iterator[FaultProxy]:
    """The service reaches PostgreSQL by way of it."""
    with FaultProxy(shop.system.database_url) as proxy:
        shop.system.restart_app({**PATIENT, "DATABASE_URL": proxy.url})
        yield proxy
        shop.system.service.stop_all()


def fails(shop: Shop, answers: list[Answer]) -> None:
    """Until step 16, a lost connection is a bug like any other."""
    late = shop.system.checkpoint in RESILIENT
    for answer in answers:
        assert answer.status == (503 if late else 500), answer.body
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("retry-after") == ("1" if late else None)


def each_buys_once(shop: Shop) -> None:
    """Whoever asks again gets the order of their key, for ever."""
    first, second = (shop.buy(ORDERS) for _ in range(2))
    assert {answer.status for answer in first} == {201}
    assert [answer.body for answer in first] == [answer.body for answer in second]
    made = {answer.body["id"]: order.key for answer, order in zip(first, ORDERS, strict=True)}
    assert made == shop.sold(ONE, TWO)
    assert (shop.stock(ONE), shop.stock(TWO)) == (5, 5)


@at(SALE)
def test_connection_cut_in_a_sale_sells_nothing(shop: Shop) -> None:
    """Those who wait for the next transaction lose nothing."""
    shop.put_on_sale({ONE: 10, TWO: 10})
    with shop.held(ONE):
        cut = shop.send_together(ORDERS[:4])
        [backend] = shop.wait_for_waiting(1)
        waiting = shop.send(ORDERS[4:])
        shop.database.execute("SELECT pg_terminate_backend(%s)", [backend])
        fails(shop, [one.answer() for one in cut])
        assert shop.sold(ONE, TWO) == {}
    assert {one.answer().status for one in waiting} == {201}
    each_buys_once(shop)


@at(SALE)
@pytest.mark.parametrize("committed", [True, False], ids=["committed", "rolled back"])
def test_commit_whose_answer_is_lost_sells_once_for_a_key(
    shop: Shop, proxy: FaultProxy, committed: bool
) -> None:
    shop.put_on_sale({ONE: 10, TWO: 10})
    with psycopg.connect(shop.system.database_url, autocommit=True) as holding:
        holding.execute("SELECT pg_advisory_lock(1)")  # no COMMIT ends
        in_doubt = shop.send_together(ORDERS)
        [backend] = shop.wait_for_waiting(1)
        proxy.reset()
        fails(shop, [one.answer() for one in in_doubt])
        assert shop.wait_for_waiting(1) == [backend], "it would commit, did the test let it"
        again = shop.send(ORDERS[:5])
        shop.wait_for_waiting(2)
        if not committed:
            shop.database.execute("SELECT pg_terminate_backend(%s, 10000)", [backend])
    assert {one.answer().status for one in again} == {201}
    assert set(shop.sold(ONE, TWO).values()) == {
        o.key for o in (ORDERS if committed else ORDERS[:5])
    }
    each_buys_once(shop)
