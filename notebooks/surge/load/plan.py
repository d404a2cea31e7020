"""What the probe is asked and what it answers: one line of JSON each."""

import json
import sys
from array import array
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from typing import Self

from stack.seed.data import Size

SECOND = 1_000_000_000
"""The probe's clock counts nanoseconds."""


@dataclass(frozen=True)
class Plan:
    """A load to offer.

    With `rate` the loop is open: requests go out at moments that do not depend on the answers.
    Without, it is closed: every connection asks again as soon as it is answered, for `seconds` or
    for exactly `count` requests.
    """

    urls: list[str]
    """Where to ask; the connections are spread over them evenly."""
    workload: str
    connections: int
    seconds: float | None = None
    count: int | None = None
    rate: float | None = None
    size: Size = "full"
    seed: int = 1
    timeout: float = 30.0
    """After so many seconds the shopper gives up, counted from when they wanted to ask."""
    sample: bool = False
    """Remember what every GET gave."""
    hold: list[int] = field(default_factory=list)
    """Processes that are stopped until every connection of a closed loop has asked."""

    def line(self) -> str:
        """The plan as the probe reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, line: str) -> Self:
        """The plan in a line."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Result:
    """What came of a plan."""

    seconds: float
    """From the first request to the last answer."""
    statuses: dict[int, int]
    errors: dict[str, int]
    """Requests that ended badly, by kind: refused, dropped, malformed, timeout, status 500."""
    body_bytes: int
    connections_opened: int
    latencies: "array[int]"
    """Nanoseconds of every good answer, in the order they came. Nothing is rounded or binned."""
    digests: dict[str, str]
    """What a sample's GETs gave: status and hash of the body, by path."""
    cpu_seconds: float
    """CPU time the probe itself spent."""

    @property
    def good(self) -> int:
        """Requests answered as the workload allows."""
        return len(self.latencies)

    @property
    def bad(self) -> int:
        """Requests that ended in any other way."""
        return sum(self.errors.values())

    @property
    def throughput(self) -> float:
        """Good answers per second."""
        return self.good / self.seconds

    @property
    def cpu_share(self) -> float:
        """The part of one core the probe used. Near 1, it was itself what limited the load."""
        return self.cpu_seconds / self.seconds

    def line(self) -> str:
        """The result as the probe writes it."""
        values = asdict(self)
        values["latencies"] = b64encode(_little_endian(self.latencies).tobytes()).decode()
        return json.dumps(values)

    @classmethod
    def read(cls, line: str) -> Self:
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
