"""What the load generator is told to do, and what it reports: one line of JSON each."""

import json
import sys
from array import array
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from typing import Self

from stack.seed.data import Size

SECOND = 1_000_000_000
"""The load generator's clock counts nanoseconds."""


@dataclass(frozen=True)
class Plan:
    """A load to offer.

    With `rate` the loop is open: requests go out at moments that do not depend on the responses.
    Without, it is closed: every connection asks again as soon as it is answered, for `seconds` or
    for exactly `count` requests.
    """

    urls: list[str]
    """Where to send; the connections are spread over them evenly."""
    workload: str
    connections: int
    seconds: float | None = None
    count: int | None = None
    rate: float | None = None
    size: Size = "full"
    seed: int = 1
    timeout: float = 30.0
    """Seconds, from the moment a request was due, until the shopper gives up."""
    digest: bool = False
    """Whether to digest the body of every GET, for a comparison."""
    hold: list[int] = field(default_factory=list)
    """Ids of processes that are stopped until every connection of a closed loop has asked."""

    def to_json(self) -> str:
        """The plan as the load generator reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The plan in a line."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Result:
    """How a plan's requests ended."""

    seconds: float
    """From the first request to the last response."""
    throughput: float
    """Good responses per second. See `ClosedLoop` for what a closed loop means by it."""
    statuses: dict[int, int]
    errors: dict[str, int]
    """Requests that ended badly, by kind: refused, dropped, malformed, timeout, status 500."""
    body_bytes: int
    connections_opened: int
    latencies: "array[int]"
    """Nanoseconds of every good response, as they came. Nothing is rounded or binned."""
    digests: dict[str, str]
    """Status and hash of the body of each GET, by path; empty unless the plan asks for them."""
    cpu_seconds: float
    """CPU time of the load generator itself."""

    @property
    def good(self) -> int:
        """Requests with a response that the workload allows."""
        return len(self.latencies)

    @property
    def bad(self) -> int:
        """All other requests."""
        return sum(self.errors.values())

    @property
    def unanswered(self) -> int:
        """Requests without a response."""
        return sum(n for kind, n in self.errors.items() if not kind.startswith("status"))

    @property
    def cpu_share(self) -> float:
        """The part of one core that the load generator used. Near 1, it limited the load itself."""
        return self.cpu_seconds / self.seconds

    def to_json(self) -> str:
        """The result as the load generator writes it."""
        values = asdict(self)
        values["latencies"] = b64encode(_little_endian(self.latencies).tobytes()).decode()
        return json.dumps(values)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The result in a line."""
        values = json.loads(line)
        values["statuses"] = {int(status): n for status, n in values["statuses"].items()}
        values["latencies"] = _little_endian(array("q", b64decode(values["latencies"])))
        return cls(**values)


def _little_endian(numbers: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
