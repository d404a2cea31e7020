"""Streams of requests: what shoppers send, drawn with a seed."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count, cycle, islice
from random import Random
from urllib.parse import urlencode

from stack.seed.data import CATEGORIES, COUNTS, Size, hot_ids, products
from surge.load.http1 import Request

HOT = 1_000
"""Products in the flash sale, which get all of the hot traffic."""
HOTTEST = 50
DRAWS = 10_000
"""How many draws are prepared and then repeated: drawing costs more than sending."""
SALE_STOCK = range(5, 16)
SALE_PRODUCTS, SALE_ORDERS = 10, 140
"""Products on sale at a time, and orders until the next ones are. In the end most are sold out."""
PAGE = 20
WALK = 10
"""Pages a shopper scrolls down the feed."""

Query = dict[str, str]
Stream = Callable[[Size, Random], Iterator[Request]]


def get(path: str, query: Query | None = None, headers: str = "") -> bytes:
    """Render a GET request."""
    target = f"{path}?{urlencode(query)}" if query else path
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{headers}\r\n".encode()


def json_request(method: str, path: str, body: object, key: str | None = None) -> bytes:
    """Render a request with a JSON body and, perhaps, an idempotency key."""
    content = json.dumps(body)
    extra = f"Idempotency-Key: {key}\r\n" if key else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{extra}"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}"
    ).encode()


def draw(size: Size, rand: Random, products: int = HOT) -> list[int]:
    """Draw hot product ids by Zipf's law: the r-th most popular product has a weight of 1 / r."""
    ids = hot_ids(size, products)
    return rand.choices(ids, [1 / rank for rank in range(1, len(ids) + 1)], k=DRAWS)


def repeated(requests: list[bytes], rand: Random) -> Iterator[Request]:
    """Shuffle the requests once, then repeat them for ever."""
    rand.shuffle(requests)
    return cycle([Request(raw) for raw in requests])


def lists(size: Size, rand: Random) -> Iterator[Request]:
    """The first three pages of every category."""
    pages = [(category, page) for category in CATEGORIES for page in (1, 2, 3)]
    return repeated([get("/products", {"category": c, "page": str(p)}) for c, p in pages], rand)


def zipped(size: Size, rand: Random) -> Iterator[Request]:
    """The first page of every category, for clients that accept gzip."""
    accept = "Accept-Encoding: gzip\r\n"
    return repeated([get("/products", {"category": c}, accept) for c in CATEGORIES], rand)


def deep(size: Size, rand: Random) -> Iterator[Request]:
    """A page near the end of every category: OFFSET has to count past everything before it."""
    pages = COUNTS[size].products / len(CATEGORIES) / PAGE
    page = str(round(0.9 * pages))
    return repeated([get("/products", {"category": c, "page": page}) for c in CATEGORIES], rand)


def detail(size: Size, rand: Random) -> Iterator[Request]:
    """Hot products."""
    return repeated([get(f"/products/{id}") for id in draw(size, rand)], rand)


def hot(size: Size, rand: Random) -> Iterator[Request]:
    """The hottest products alone, asked for so often that any cache has them."""
    return repeated([get(f"/products/{id}") for id in draw(size, rand, HOTTEST)], rand)


def fields(size: Size, rand: Random) -> Iterator[Request]:
    """Three fields of hot products."""
    query = {"fields": "id,name,price_cents"}
    return repeated([get(f"/products/{id}", query) for id in draw(size, rand)], rand)


def cold(size: Size, rand: Random) -> Iterator[Request]:
    """Every product once before any product twice: no cache helps."""
    ids = range(1, COUNTS[size].products + 1)
    return repeated([get(f"/products/{id}") for id in ids], rand)


def one(size: Size, rand: Random) -> Iterator[Request]:
    """The same product again and again."""
    return repeated([get(f"/products/{draw(size, rand)[0]}")], rand)


def changed(size: Size, rand: Random) -> Iterator[Request]:
    """The same product, whose price changes with every tenth request."""
    path = f"/products/{draw(size, rand)[0]}"
    for number in count(1):
        if number % 10:
            yield Request(get(path))
        else:
            yield Request(json_request("PATCH", path, {"price_cents": 100 + number}))


def known(size: Size, rand: Random) -> Iterator[Request]:
    """Hot products, asked for by clients that have a copy already, in whatever version."""
    match = "If-None-Match: *\r\n"
    return repeated([get(f"/products/{id}", headers=match) for id in draw(size, rand)], rand)


def spellings(size: Size, rand: Random) -> Iterator[Request]:
    """The same product, with its URL spelled in a new way each time."""
    id = draw(size, rand)[0]
    paths = ("/products/{id}", "/%70roducts/{id}", "/products/0{id}", "/products/+{id}")
    for number in count():
        path = paths[number % len(paths)].format(id=id)
        yield Request(get(path, {"from": f"newsletter-{rand.getrandbits(32)}"}))


def missing(size: Size, rand: Random) -> Iterator[Request]:
    """A product that does not exist."""
    return repeated([get(f"/products/{COUNTS[size].products + rand.randint(1, 1000)}")], rand)


def some_missing(size: Size, rand: Random) -> Iterator[Request]:
    """Every product once, and as many that do not exist."""
    ids = range(1, 2 * COUNTS[size].products + 1)
    return repeated([get(f"/products/{id}") for id in ids], rand)


FIELDS = ("id", "name", "category", "price_cents", "seller", "rating", "description", "reviews")


def garbage(size: Size, rand: Random) -> Iterator[Request]:
    """Never the same URL twice: most products do not exist, others are asked for oddly."""
    existing = draw(size, rand)
    for number in count(COUNTS[size].products + 1):
        id, junk = existing[number % DRAWS], f"{rand.getrandbits(64):016x}"
        fields = ",".join(rand.sample(FIELDS, rand.randint(1, 7)))
        path = (
            f"/products/{number}",  # does not exist
            f"/products/{number}?{junk}",
            f"/products/{id}?utm_source={8 * junk}",
            f"/products/{id}?fields={fields}&{junk}",
            f"/%70roducts/0{id}?{'&' * (number % 300)}{junk}",
            f"/products?page={number % 9}&{8 * junk}",
            f"/products?category={junk}",
            f"/products/{number}{junk}",
            f"/{junk}/{number}",
            f"/{number}.php?{junk}",
            f"/{'../' * (number % 50)}{junk}",
            f"/%ff%00{junk}",
        )
        yield Request(get(path[number % len(path)]))


def offers(size: Size, rand: Random) -> Iterator[Request]:
    """Offers for hot products."""
    return repeated([get(f"/products/{id}/offers") for id in draw(size, rand)], rand)


def late(size: Size, rand: Random) -> Iterator[Request]:
    """Offers for clients whose deadline has passed."""
    expired = "Request-Timeout: 0\r\n"
    return repeated(
        [get(f"/products/{id}/offers", headers=expired) for id in draw(size, rand)], rand
    )


def feed(size: Size, rand: Random) -> Iterator[Request]:
    """Walks down a category's feed: each response holds the cursor of the next request."""
    for category in cycle(rand.sample(CATEGORIES, len(CATEGORIES))):
        yield page_of_feed({"category": category}, WALK)


def page_of_feed(query: Query, pages: int) -> Request:
    """One page, and how to ask for the next."""

    def follow(body: bytes) -> Request | None:
        cursor = json.loads(body)["next"]
        if cursor is None or pages == 1:
            return None
        return page_of_feed({**query, "cursor": cursor}, pages - 1)

    return Request(get("/products/feed", query), follow)


def orders(size: Size, rand: Random) -> Iterator[Request]:
    """One unit of a hot product, each order with a key of its own.

    Orders are spread evenly over the hot products. So few sell out within a run, and a fast
    checkpoint does not give the cheap response, 409, more often than a slow one.
    """
    ids = cycle(rand.sample(hot_ids(size, HOT), HOT))
    prefix = f"{rand.getrandbits(64):016x}"
    for number in count():
        yield order(next(ids), f"{prefix}-{number}")


def order(product_id: int, key: str) -> Request:
    """One unit of a product; each order has a customer and a key of its own."""
    body = {"product_id": product_id, "quantity": 1, "customer": f"{key}@example.com"}
    return Request(json_request("POST", "/orders", body, key=key))


def sale(size: Size, rand: Random) -> Iterator[Request]:
    """Everybody buys the same ten products, until most are sold out; then ten others are on sale.

    So fast and slow checkpoints meet the same products, as full or as empty, in the same order.
    """
    ids = few_left(size)
    return _sale(cycle(rand.sample(ids, len(ids))), f"{rand.getrandbits(64):016x}")


def _sale(on_sale: Iterator[int], prefix: str) -> Iterator[Request]:
    for number in count():
        if number % SALE_ORDERS == 0:
            ids = list(islice(on_sale, SALE_PRODUCTS))
        yield order(ids[number % SALE_PRODUCTS], f"{prefix}-{number}")


@cache
def few_left(size: Size) -> list[int]:
    """The products that sell out soon."""
    return [product.id for product in products(size) if product.stock in SALE_STOCK]


def reports(size: Size, rand: Random) -> Iterator[Request]:
    """A sales report of every category in turn."""
    return repeated(
        [json_request("POST", "/reports", {"category": category}) for category in CATEGORIES], rand
    )


MIXED = {detail: 70, lists: 15, offers: 10, orders: 5}
"""A shop's day, in percent: mostly looking, sometimes comparing, seldom buying."""


def mixed(size: Size, rand: Random) -> Iterator[Request]:
    """The shares of `MIXED`, in an order drawn once."""
    streams = [stream(size, rand) for stream in MIXED]
    for stream in cycle(rand.choices(streams, list(MIXED.values()), k=DRAWS)):
        yield next(stream)
