"""What shoppers ask for: named, endless, repeatable streams of requests, ready for the wire.

A workload's `connections` is how many shoppers a comparison lets ask at once: enough to fill the
fast checkpoints, few enough that the slowest answers within a slice.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, cycle
from random import Random
from urllib.parse import urlencode

from lab.wire import Request
from stack.errors import StackError
from stack.seed.data import CATEGORIES, COUNTS, Size, hot_ids

HOT = 1_000
"""The flash sale: so many products get all of the hot traffic."""
DRAWS = 10_000
"""So many draws are prepared and then repeated: drawing costs more than sending."""
PAGE = 20
WALK = 10
"""Pages a shopper scrolls down the feed."""

Query = dict[str, str]
Stream = Callable[[Size, Random], Iterator[Request]]


def get(path: str, query: Query | None = None, headers: str = "") -> bytes:
    """Render a GET request."""
    target = f"{path}?{urlencode(query)}" if query else path
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{headers}\r\n".encode()


def post(path: str, body: object, key: str | None = None) -> bytes:
    """Render a POST request with a JSON body and, perhaps, an idempotency key."""
    content = json.dumps(body)
    extra = f"Idempotency-Key: {key}\r\n" if key else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{extra}"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}"
    ).encode()


def hot(size: Size, rand: Random) -> list[int]:
    """Draw hot product ids by Zipf's law: the r-th most popular has a weight of 1 / r."""
    ids = hot_ids(size, HOT)
    return rand.choices(ids, [1 / rank for rank in range(1, len(ids) + 1)], k=DRAWS)


def repeated(requests: list[bytes], rand: Random) -> Iterator[Request]:
    """Shuffle once, then go round."""
    rand.shuffle(requests)
    return cycle([Request(raw) for raw in requests])


def lists(size: Size, rand: Random) -> Iterator[Request]:
    """The first three pages of every category."""
    pages = [(category, page) for category in CATEGORIES for page in (1, 2, 3)]
    return repeated([get("/products", {"category": c, "page": str(p)}) for c, p in pages], rand)


def zipped(size: Size, rand: Random) -> Iterator[Request]:
    """The first page of every category, for somebody who takes gzip."""
    accept = "Accept-Encoding: gzip\r\n"
    return repeated([get("/products", {"category": c}, accept) for c in CATEGORIES], rand)


def deep(size: Size, rand: Random) -> Iterator[Request]:
    """A page near the end of every category: OFFSET has to count past everything before."""
    pages = COUNTS[size].products / len(CATEGORIES) / PAGE
    late = str(round(0.9 * pages))
    return repeated([get("/products", {"category": c, "page": late}) for c in CATEGORIES], rand)


def detail(size: Size, rand: Random) -> Iterator[Request]:
    """Hot products."""
    return repeated([get(f"/products/{id}") for id in hot(size, rand)], rand)


def fields(size: Size, rand: Random) -> Iterator[Request]:
    """Three fields of hot products."""
    query = {"fields": "id,name,price_cents"}
    return repeated([get(f"/products/{id}", query) for id in hot(size, rand)], rand)


def cold(size: Size, rand: Random) -> Iterator[Request]:
    """Every product once, and only then again: no cache helps."""
    ids = range(1, COUNTS[size].products + 1)
    return repeated([get(f"/products/{id}") for id in ids], rand)


def offers(size: Size, rand: Random) -> Iterator[Request]:
    """Offers for hot products."""
    return repeated([get(f"/products/{id}/offers") for id in hot(size, rand)], rand)


def feed(size: Size, rand: Random) -> Iterator[Request]:
    """Walks down a category's feed; where a walk goes on, only the last answer knows."""
    for category in cycle(rand.sample(CATEGORIES, len(CATEGORIES))):
        yield page_of_feed({"category": category}, WALK)


def page_of_feed(query: Query, pages: int) -> Request:
    """One page, with the way to the next."""

    def follow(body: bytes) -> Request | None:
        cursor = json.loads(body)["next"]
        if cursor is None or pages == 1:
            return None
        return page_of_feed({**query, "cursor": cursor}, pages - 1)

    return Request(get("/products/feed", query), follow)


def orders(size: Size, rand: Random) -> Iterator[Request]:
    """One unit of a hot product, each order with a key of its own.

    Every hot product alike: few sell out within a run, so a fast checkpoint does not get the
    cheap answer, 409, more often than a slow one.
    """
    ids = cycle(rand.sample(hot_ids(size, HOT), HOT))
    name = f"{rand.getrandbits(64):016x}"
    for number in count():
        body = {"product_id": next(ids), "quantity": 1, "customer": f"shopper{number}@example.com"}
        yield Request(post("/orders", body, key=f"{name}-{number}"))


def reports(size: Size, rand: Random) -> Iterator[Request]:
    """A sales report of every category in turn."""
    return repeated([post("/reports", {"category": category}) for category in CATEGORIES], rand)


# A shop's day: mostly looking, sometimes comparing, seldom buying.
MIXED = {detail: 70, lists: 15, offers: 10, orders: 5}


def mixed(size: Size, rand: Random) -> Iterator[Request]:
    """The table above, in an order drawn once."""
    streams = [stream(size, rand) for stream in MIXED]
    for stream in cycle(rand.choices(streams, list(MIXED.values()), k=DRAWS)):
        yield next(stream)


@dataclass(frozen=True)
class Workload:
    """A named stream, with what a comparison needs to know of it."""

    name: str
    stream: Stream
    connections: int
    allowed: frozenset[int] = frozenset({200})

    def requests(self, size: Size, seed: int) -> Iterator[Request]:
        """The endless stream; the same seed gives the same requests."""
        return self.stream(size, Random(f"{self.name} {seed}"))  # noqa: S311 - no secret


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("list", lists, connections=4),
        Workload("zipped", zipped, connections=4),
        Workload("deep", deep, connections=4),
        Workload("detail", detail, connections=16),
        Workload("fields", fields, connections=16),
        Workload("cold", cold, connections=16),
        Workload("feed", feed, connections=4),
        Workload("offers", offers, connections=50),
        Workload("orders", orders, connections=16, allowed=frozenset({201, 409})),
        Workload("reports", reports, connections=2, allowed=frozenset({202})),
        Workload("mixed", mixed, connections=16, allowed=frozenset({200, 201, 409})),
    )
}


def workload(name: str) -> Workload:
    """Find a workload.

    Raises:
        StackError: there is none of this name.
    """
    if name not in WORKLOADS:
        raise StackError(f"There is no workload {name!r}. Choose one of {', '.join(WORKLOADS)}.")
    return WORKLOADS[name]
