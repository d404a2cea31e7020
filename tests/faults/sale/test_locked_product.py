"""A product that somebody has locked keeps no other from being sold."""

import time
from concurrent.futures import ThreadPoolExecutor

from buyers import ONE, TWO, Order, opened
from resilient import RESILIENT
from steps import each, without_worker

from stack.checkpoint import Checkpoint

LATE_LOOP = {"LIMIT_LOOP": "60"}
"""A hundred orders at once make a busy machine late, and that is not tested here."""


@each(RESILIENT)
def test_locked_product_is_a_503_for_its_own_buyers_alone(step: Checkpoint) -> None:
    """They share the transaction that the lock stops, until LOCK_TIMEOUT is over.

    Those who want the locked one wait for it together. Did each of them, they would hold all
    connections meanwhile.
    """
    with without_worker(step, LATE_LOOP) as system, opened(system) as shop:
        shop.put_on_sale({ONE: 100, TWO: 100})
        unlucky = [Order(ONE, f"unlucky-{n}") for n in range(50)]
        lucky = [Order(TWO, f"lucky-{n}") for n in range(50)]
        most = 0
        with shop.held(ONE), ThreadPoolExecutor(1) as pool:
            mixed = [order for pair in zip(unlucky, lucky, strict=True) for order in pair]
            sent = shop.send(mixed)
            answering = pool.submit(lambda: [one.answer() for one in sent])
            while not answering.done():
                most = max(most, len(shop.waiting()))
                time.sleep(0.01)
            answers = answering.result()
            assert most == 1
            for answer in answers[::2]:
                assert answer.status == 503, answer.body
                assert answer.headers["retry-after"] == "1"
            assert {answer.status for answer in answers[1::2]} == {201}
            assert set(shop.sold(ONE, TWO).values()) == {order.key for order in lucky}
        assert {answer.status for answer in shop.buy(unlucky)} == {201}
        assert (shop.stock(ONE), shop.stock(TWO)) == (50, 50)
