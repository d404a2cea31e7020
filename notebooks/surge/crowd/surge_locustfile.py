"""The crowd of a surge. `surge.crowd.runner` runs this file in a process of its own.

It mixes the shoppers of the other journeys as a shop meets them when everybody talks about it: most
follow the link, some look around, a few compare prices, a few buy.
"""

from pathlib import Path
from typing import Any

from locust import LoadTestShape, events

from surge.crowd import locustfile, timeline
from surge.crowd.surge_shape import shoppers
from surge.crowd.timeline import TimedRequest

# Locust sends every kind of shopper that a locustfile defines or imports. So this one imports the
# module of the others, not their classes.


class Viral(locustfile.Viral):
    """Six of ten follow the link."""

    weight = 6


class Browse(locustfile.Browse):
    """Two of ten look around."""

    weight = 2


class Offers(locustfile.Offers):
    """One of ten compares prices."""

    weight = 1


class Sale(locustfile.Sale):
    """One of ten buys, again and again."""

    weight = 1


class Surge(LoadTestShape):
    """Calm, surge, calm after."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """How many shoppers there should be now; None ends the run."""
        assert self.runner is not None  # Locust sets it before the first tick
        options: Any = self.runner.environment.parsed_options
        passed = self.get_run_time()  # type: ignore[no-untyped-call]
        wanted = shoppers(options.num_users, options.run_time, passed)
        return (wanted, options.num_users) if wanted else None  # they all come within a second


@events.init.add_listener  # type: ignore[untyped-decorator]
def record_requests(environment: Any, **_: object) -> None:
    """Record every request by the shape's own clock, and write the records at the end."""
    requests: list[TimedRequest] = []

    def record(response_time: float, exception: Exception | None, **_: object) -> None:
        sent = environment.shape_class.get_run_time() - response_time / 1000
        requests.append(TimedRequest(sent, response_time, exception is not None))

    hooks = environment.events
    hooks.request.add_listener(record)
    hooks.test_start.add_listener(lambda **_: requests.clear())  # Locust's page can start a new run
    hooks.quit.add_listener(lambda **_: timeline.write(requests, Path(timeline.FILE)))
