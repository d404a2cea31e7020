"""The crowd of a surge. `surge.crowd.runner` runs this file in a process of its own.

Who comes when a shop is in everybody's mouth: most follow the link, some look around, a few
compare prices, a few buy. They do what they do in the journeys of their own.
"""

from pathlib import Path
from typing import Any

from locust import LoadTestShape, events

from surge.crowd import locustfile, timeline
from surge.crowd.surge_shape import shoppers
from surge.crowd.timeline import Ask

# Locust sends every kind of shopper that this module names, so the journeys are named only here.


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
def take_notes(environment: Any, **_: object) -> None:
    """Note every request by the shape's own clock, and write the notes down at the end."""
    asks: list[Ask] = []

    def note(response_time: float, exception: Exception | None, **_: object) -> None:
        answered = environment.shape_class.get_run_time()
        asks.append(Ask(answered - response_time / 1000, response_time, exception is not None))

    hooks = environment.events
    hooks.request.add_listener(note)
    hooks.test_start.add_listener(lambda **_: asks.clear())  # Locust's page can start another run
    hooks.quit.add_listener(lambda **_: timeline.write(asks, Path(timeline.NOTES)))
