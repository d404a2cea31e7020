"""The crowd: what shoppers do. `surge.crowd.runner` runs this file in a process of its own.

A task is one request. At the end Locust waits for the task that each shopper is in, so no slow
answer is missing from the statistics.
"""

import random
from typing import Any, ClassVar
from uuid import uuid4

import locust.runners
from locust import FastHttpUser, LoadTestShape, SequentialTaskSet, between, events, task

from stack.seed.data import CATEGORIES
from surge.crowd.runner import BUSY, CONFUSED, PATIENCE
from surge.crowd.surge_shape import SURGE_FACTOR

# Locust checks its own CPU use every ten seconds: too late for a short run.
locust.runners.CPU_MONITOR_INTERVAL = 2.0

SMALLEST_SHOP = 1_000  # these product ids exist in every size of the dataset
ON_SALE = range(1, 21)
VIRAL_PRODUCT = 7

pick = random.choice


class Shopper(FastHttpUser):
    """A person with a browser, who gives up after a while."""

    abstract = True
    wait_time = between(0.5, 1.5)
    network_timeout = connection_timeout = PATIENCE
    surges: ClassVar[bool] = False
    """Whether nine of ten shoppers arrive together, after a calm third of the time."""


class Walk(SequentialTaskSet):
    """Tasks done one after the other, round and round."""

    product = 1

    def read(self, path: str, name: str) -> Any:
        """The JSON at `path`; None for any status but 200, which Locust counts as a failure."""
        answer = self.client.get(path, name=name)
        return answer.json() if answer.status_code == 200 else None


class Browse(Shopper):
    """Leafs through a category and opens a product that looks nice."""

    @task
    class _Walk(Walk):
        @task
        def shelf(self) -> None:
            self.category = pick(CATEGORIES)
            self.turn_to(1)

        @task
        def next_page(self) -> None:
            self.turn_to(2)

        @task
        def open(self) -> None:
            self.read(f"/products/{self.product}", "/products/{id}")

        def turn_to(self, page: int) -> None:
            answer = self.read(f"/products?category={self.category}&page={page}", "/products")
            if answer and answer["items"]:
                self.product = pick(answer["items"])["id"]


class Viral(Shopper):
    """Follows the link that everybody follows, and checks whether any are left."""

    surges = True

    @task(4)
    def open(self) -> None:
        """Open the one product."""
        self.client.get(f"/products/{VIRAL_PRODUCT}", name="/products/{id}")

    @task
    def stock(self) -> None:
        """See how many are left."""
        path = f"/products/{VIRAL_PRODUCT}/stock"
        self.client.get(path, name="/products/{id}/stock")


class Sale(Shopper):
    """Comes for the sale: looks, buys, reads the receipt."""

    wait_time = between(0.1, 0.5)

    @task
    class _Walk(Walk):
        @task
        def look(self) -> None:
            self.product = pick(ON_SALE)
            self.read(f"/products/{self.product}", "/products/{id}")

        @task
        def stock(self) -> None:
            self.read(f"/products/{self.product}/stock", "/products/{id}/stock")

        @task
        def buy(self) -> None:
            self.receipt = None
            order = {"product_id": self.product, "quantity": 1, "customer": "crowd@example.com"}
            key = {"Idempotency-Key": uuid4().hex}
            with self.client.post("/orders", json=order, headers=key, catch_response=True) as got:
                if got.status_code == 201:
                    self.receipt = got.headers["Location"]
                elif got.status_code == 409:
                    got.success()  # sold out is a correct answer

        @task
        def keep_receipt(self) -> None:
            if self.receipt:
                self.read(self.receipt, "/orders/{id}")


class Offers(Shopper):
    """Opens a product and asks for the partners' prices."""

    @task
    class _Walk(Walk):
        @task
        def open(self) -> None:
            self.product = random.randint(1, SMALLEST_SHOP)  # noqa: S311 - not a secret
            self.read(f"/products/{self.product}", "/products/{id}")

        @task
        def ask(self) -> None:
            self.read(f"/products/{self.product}/offers", "/products/{id}/offers")


class Crowd(LoadTestShape):
    """All shoppers at once; in a journey that surges, a tenth of them first."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """How many shoppers there should be now; None ends the run."""
        assert self.runner is not None  # Locust sets it before the first tick
        environment: Any = self.runner.environment
        users, seconds = environment.parsed_options.num_users, environment.parsed_options.run_time
        passed = self.get_run_time()  # type: ignore[no-untyped-call]
        if passed >= seconds:
            return None
        if environment.user_classes[0].surges and passed < seconds / 3:
            users = max(1, users // SURGE_FACTOR)
        return users, users


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def set_exit_status(environment: Any, **_: object) -> None:
    """Report by the exit status what makes the numbers worthless."""
    if environment.runner.cpu_warning_emitted:
        environment.process_exit_code = BUSY
    elif environment.runner.exceptions:
        environment.process_exit_code = CONFUSED
