"""Whoever shares a transaction with others gets the answer that they would get alone."""

from collections.abc import Iterator

import psycopg
import pytest
from buyers import ONE, PATIENT, SALE, THREE, TWO, UNKNOWN, Answer, Order, Shop, at, opened
from resilient import RESILIENT
from steps import without_worker


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with without_worker(request.param, PATIENT, instances=2) as system, opened(system) as shop:
        yield shop


@pytest.fixture
def _without_mallory(shop: Shop) -> Iterator[None]:
    """One customer's orders violate a constraint."""
    check = "customer <> 'mallory@example.com'"
    shop.database.execute(f"ALTER TABLE orders ADD CONSTRAINT mallory CHECK ({check}) NOT VALID")
    yield
    shop.database.execute("ALTER TABLE orders DROP CONSTRAINT mallory")


def statuses(answers: list[Answer]) -> list[int]:
    return [answer.status for answer in answers]


@at(SALE)
@pytest.mark.usefixtures("_without_mallory")
@pytest.mark.parametrize(("customer", "status"), [("mallory", 500), ("ada", 201)])
def test_odd_orders_of_a_batch_cost_the_others_nothing(
    shop: Shop, customer: str, status: int
) -> None:
    """PostgreSQL rolls back the whole batch for a constraint, and each is then tried alone."""
    shop.put_on_sale({ONE: 100, TWO: 100, THREE: 0})
    orders = [Order(TWO if n % 3 else ONE, f"usual-{n}") for n in range(59)]
    expected = [201] * 59
    for place, odd, its_status in (
        (60, Order(ONE, "twice"), 201),
        (40, Order(THREE, "sold-out"), 409),
        (30, Order(ONE, "odd", f"{customer}@example.com"), status),
        (20, Order(UNKNOWN, "unknown"), 404),
        (10, Order(ONE, "twice"), 201),
    ):
        orders.insert(place, odd)
        expected.insert(place, its_status)
    before = shop.transactions()
    answers = [one.answer() for one in shop.send_together(orders)]
    assert statuses(answers) == expected
    alone = len(orders) if status == 500 else 0
    assert shop.transactions() - before == 1 + 1 + alone, "they did not share one transaction"

    sold = shop.sold(ONE, TWO, THREE)
    both = [*zip(answers, orders, strict=True)]
    made = {answer.body["id"]: order.key for answer, order in both if answer.status == 201}
    assert len(made) == 59 + len({"twice"}) + (status == 201)
    assert sold == made
    assert len(set(sold.values())) == len(sold), "a key has made two orders"
    assert 200 - shop.stock(ONE) - shop.stock(TWO) == len(sold)
    one, other = (answer for answer, order in both if order.key == "twice")
    assert (one.body, one.headers["location"]) == (other.body, other.headers["location"])


@at(SALE)
def test_keys_that_two_instances_use_at_once_cost_nobody_else_an_order(shop: Shop) -> None:
    """Each is used for two products, which no lock keeps apart. One of the two gets it.

    Both batches stop at a key in the middle. Did they insert the keys as they came, each would then
    hold what the other needs: a deadlock.
    """
    shop.put_on_sale({ONE: 100, TWO: 100, THREE: 1})
    keys = [f"key-{n:02}" for n in range(21)]
    other_keys = [f"other-{n:02}" for n in range(10)]
    at_one = [Order(ONE, key) for key in keys + other_keys]
    at_two = [Order(TWO, key) for key in keys[::-1]] + [Order(TWO) for _ in other_keys]
    insert = """
        INSERT INTO orders (product_id, quantity, unit_price_cents, total_cents, customer,
            idempotency_key) VALUES (%s, 1, 1, 1, 'bob@example.com', %s)
    """
    before = shop.transactions()
    with psycopg.connect(shop.system.database_url) as stopping:
        stopping.execute(insert, [THREE, keys[10]])
        sent = [shop.send_together(at_one, 0), shop.send_together(at_two, 1)]
        shop.wait_for_waiting(2)
        stopping.rollback()
    one, two = ([answer.answer().status for answer in answers] for answers in sent)
    assert shop.transactions() - before == 4, "orders were tried again"
    assert one[21:] == two[21:] == [201] * 10
    for pair in zip(one[:21], two[:21][::-1], strict=True):
        assert sorted(pair) == [201, 422]
    sold = shop.sold(ONE, TWO)
    assert len(sold) == 21 + 20 == 200 - shop.stock(ONE) - shop.stock(TWO)
    assert set(keys) <= set(sold.values())


@at(SALE)
def test_200_buyers_at_two_instances_get_exactly_the_stock(shop: Shop) -> None:
    """Every tenth of them sends the order twice, to both instances, and both sell at once."""
    units = {ONE: 20, TWO: 30, THREE: 66}
    shop.put_on_sale(units)
    orders = [Order((ONE, TWO, THREE)[n % 3], f"buyer-{n}") for n in range(200)]
    halves = (
        [order for n, order in enumerate(orders) if n % 2 or n % 10 == 0],
        [order for n, order in enumerate(orders) if n % 2 == 0],
    )
    before = shop.transactions()
    with shop.held(ONE):
        sent = [shop.send_together(half, instance) for instance, half in enumerate(halves)]
        shop.wait_for_waiting(2)
    answers: dict[str | None, list[Answer]] = {order.key: [] for order in orders}
    for half, under_way in zip(halves, sent, strict=True):
        for order, one in zip(half, under_way, strict=True):
            answers[order.key].append(one.answer())
    assert shop.transactions() - before == 4, "they sold at once, and were tried again"
    for key in [f"buyer-{n}" for n in range(0, 200, 10)]:
        one, other = answers[key]
        assert (one.status, one.body) == (other.status, other.body)
    assert {answer[0].status for answer in answers.values()} == {201, 409}
    made = {of[0].body["id"]: key for key, of in answers.items() if of[0].status == 201}
    assert made == shop.sold(*units)
    for product, stock in units.items():
        assert (len(shop.sold(product)), shop.stock(product)) == (stock, 0)


@at(RESILIENT)
def test_caller_whose_time_is_over_before_their_batch_buys_nothing(shop: Shop) -> None:
    shop.put_on_sale({ONE: 10})
    with shop.held(ONE):
        first = shop.send([Order(ONE, "first")])
        shop.wait_for_waiting(1)
        hurried = shop.send([Order(ONE, "hurried")], **{"Request-Timeout": "0.2"})
        patient = shop.send([Order(ONE, "patient")])
        assert [one.answer().status for one in hurried] == [504]
    assert [one.answer().status for one in first + patient] == [201, 201]
    assert set(shop.sold(ONE).values()) == {"first", "patient"}
    assert shop.stock(ONE) == 8
    assert statuses(shop.buy([Order(ONE, "hurried")])) == [201]


@at(SALE)
def test_caller_who_hangs_up_buys_once_at_most(shop: Shop) -> None:
    shop.put_on_sale({ONE: 10})
    with shop.held(ONE):
        first = shop.send([Order(ONE, "first")])
        shop.wait_for_waiting(1)
        gone = shop.send([Order(ONE, "gone")])
        stays = shop.send([Order(ONE, "stays")])
        gone[0].hang_up()
    assert [one.answer().status for one in first + stays] == [201, 201]
    one, again = (shop.buy([Order(ONE, "gone")])[0] for _ in range(2))
    assert (one.status, one.body) == (201, again.body)
    assert (len(shop.sold(ONE)), shop.stock(ONE)) == (3, 7)
