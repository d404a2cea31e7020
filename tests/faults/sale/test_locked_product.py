"""A product that somebody has locked keeps no other from being sold."""

from buyers import ONE, TWO, Order, opened
from resilient import RESILIENT
from steps import each, without_worker

from stack.checkpoint import Checkpoint


@each(RESILIENT)
def test_locked_product_is_a_503_for_its_own_buyers_alone(step: Checkpoint) -> None:
    """All are in the transaction that the lock stops, after LOCK_TIMEOUT."""
    with without_worker(step) as system, opened(system) as shop:
        shop.put_on_sale({ONE: 100, TWO: 100})
        unlucky = [Order(ONE, f"unlucky-{n}") for n in range(20)]
        lucky = [Order(TWO, f"lucky-{n}") for n in range(20)]
        with shop.held(ONE):
            mixed = [order for pair in zip(unlucky, lucky, strict=True) for order in pair]
            answers = [one.answer() for one in shop.send_together(mixed)]
            for answer in answers[::2]:
                assert answer.status == 503, answer.body
                assert answer.headers["retry-after"] == "1"
            assert {answer.status for answer in answers[1::2]} == {201}
            assert set(shop.sold(ONE, TWO).values()) == {order.key for order in lucky}
        assert {answer.status for answer in shop.buy(unlucky)} == {201}
        assert (shop.stock(ONE), shop.stock(TWO)) == (80, 80)
