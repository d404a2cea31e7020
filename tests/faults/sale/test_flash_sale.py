"""The whole sale, behind nginx: every 201 is kept and confirmed once, whoever is killed."""

import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2
from balanced import BALANCED
from buyers import ONE, Order, opened
from queues import Shop as Queue
from steps import each

from stack.checkpoint import Checkpoint
from stack.system import System
from surge.machine.waiting import wait_until

UNITS, BUYERS, AT_ONCE = 50, 500, 64
BEFORE = 20  # orders until the instance is killed
PATIENT = {"MAIL_TIMEOUT": "30"}  # a message that the mail service is late to take is sent again


@each(BALANCED)
def test_500_buyers_for_50_units_while_an_instance_is_killed(step: Checkpoint) -> None:
    """All ask until they are told, with a key of their own; every tenth does so twice at once."""
    statuses: Counter[int] = Counter()

    def buy(number: int) -> httpx2.Response:
        order = Order(ONE, f"buyer-{number}")
        with httpx2.Client(base_url=system.url, timeout=60) as client:
            while True:
                with suppress(httpx2.TransportError):  # killed between the headers and the body
                    key = {"Idempotency-Key": f"buyer-{number}"}
                    answer = client.post("/orders", json=order.body(), headers=key)
                    statuses[answer.status_code] += 1
                    if answer.status_code in (201, 409):
                        return answer
                    assert answer.status_code in (502, 503), answer.text

    with (
        System(step, size="tiny", environment=PATIENT, instances=2) as system,
        opened(system) as shop,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        shop.put_on_sale({ONE: UNITS})
        numbers = [n for n in range(BUYERS) for _ in range(2 if n % 10 == 0 else 1)]
        asking = [pool.submit(buy, number) for number in numbers[:BEFORE]]
        wait_until(lambda: statuses[201] == BEFORE, "the first orders")
        with shop.held(ONE):
            asking += [pool.submit(buy, number) for number in numbers[BEFORE:]]
            shop.wait_for_waiting(2)
            system.service.stop(0, signal.SIGKILL)
        answers = [one.result() for one in asking]
        sold = shop.sold(ONE)
        left = shop.stock(ONE)
        queue = Queue(system, client, shop.database)
        queue.settled()
        confirmed, posts = queue.messages(), queue.posts()
    told: dict[str, set[int]] = {}
    for number, answer in zip(numbers, answers, strict=True):
        if answer.status_code == 201:
            told.setdefault(f"buyer-{number}", set()).add(answer.json()["id"])
    assert told == {key: {id} for id, key in sold.items()}
    assert (len(sold), left) == (UNITS, 0)
    assert confirmed.keys() == {f"order-{id}" for id in sold}
    assert posts == UNITS
    assert statuses[502], "nobody had asked the one that was killed: nothing was tested"
