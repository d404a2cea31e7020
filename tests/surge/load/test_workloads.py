"""Workloads: endless, the same for the same seed, and true to their names."""

import json
import re
from collections import Counter
from itertools import islice
from urllib.parse import parse_qs, urlsplit

import pytest

from stack.errors import StackError
from stack.seed.data import CATEGORIES, COUNTS, Size, hot_ids, products
from surge.load.http1 import Request
from surge.load.streams import HOT, MIXED, PAGE, SALE_ORDERS
from surge.load.workloads import WORKLOADS, workload


def raws(name: str, n: int, size: Size = "tiny", seed: int = 1) -> list[bytes]:
    return [request.raw for request in islice(WORKLOADS[name].requests(size, seed), n)]


def targets(name: str, n: int, size: Size = "tiny") -> list[str]:
    return [raw.split()[1].decode() for raw in raws(name, n, size)]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_stream_is_endless_and_the_same_for_the_same_seed(name: str) -> None:
    assert len(raws(name, 12_000)) == 12_000
    assert raws(name, 300) == raws(name, 300)
    assert raws(name, 300) != raws(name, 300, seed=2)


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_request_is_whole(name: str) -> None:
    for raw in raws(name, 100):
        head, _, body = raw.partition(b"\r\n\r\n")
        lengths = re.findall(rb"Content-Length: (\d+)", head)
        assert [int(length) for length in lengths] == ([len(body)] if body else [])
        assert b"\r\nHost: " in head


def test_detail_asks_for_hot_products_and_most_for_the_hottest() -> None:
    paths = targets("detail", 10_000, "full")
    ids = Counter(int(path.removeprefix("/products/")) for path in paths)
    hot = hot_ids("full", HOT)
    assert set(ids) <= set(hot)
    assert ids[hot[0]] > 4 * ids[hot[9]] > 16 * ids[hot[99]] > 0


def test_cold_asks_for_every_product_once_before_any_twice() -> None:
    count = COUNTS["tiny"].products
    ids = [int(path.removeprefix("/products/")) for path in targets("cold", 2 * count)]
    assert sorted(ids[:count]) == sorted(ids[count:]) == list(range(1, count + 1))


def test_lists_are_the_first_pages_and_deep_ones_the_last() -> None:
    cases: list[tuple[str, Size]] = [("list", "full"), ("deep", "full"), ("deep", "tiny")]
    for name, size in cases:
        asked = [parse_qs(urlsplit(target).query) for target in targets(name, 200, size)]
        assert {query["category"][0] for query in asked} == set(CATEGORIES)
        pages = {int(query["page"][0]) for query in asked}
        if name == "list":
            assert pages == {1, 2, 3}
        else:
            assert min(pages) > COUNTS[size].products / len(CATEGORIES) / PAGE / 2


def test_a_sale_is_of_ten_products_at_a_time_and_most_sell_out() -> None:
    heads = raws("sale", 2 * SALE_ORDERS, "full")
    bodies = [json.loads(raw.partition(b"\r\n\r\n")[2]) for raw in heads]
    first, second = bodies[:SALE_ORDERS], bodies[SALE_ORDERS:]
    wanted = Counter(body["product_id"] for body in first)
    assert len(wanted) == 10
    assert wanted.keys().isdisjoint(body["product_id"] for body in second)
    stock = {product.id: product.stock for product in products("full")}
    assert sum(wanted[id] >= stock[id] for id in wanted) >= 6


def test_no_two_orders_share_a_key() -> None:
    heads = raws("orders", 20_000)
    keys = {re.search(rb"Idempotency-Key: ([!-~]+)", raw)[1] for raw in heads}  # type: ignore[index]
    assert len(keys) == 20_000
    other = raws("orders", 1, seed=2)[0]
    assert re.search(rb"Idempotency-Key: ([!-~]+)", other)[1] not in keys  # type: ignore[index]


def test_no_two_of_100_000_garbage_urls_are_the_same() -> None:
    asked = targets("garbage", 100_000)
    assert len(set(asked)) == 100_000
    assert sum(re.fullmatch(r"/products/\d+", target) is not None for target in asked) > 5_000


def test_reports_are_asked_for_every_category() -> None:
    bodies = [json.loads(raw.partition(b"\r\n\r\n")[2]) for raw in raws("reports", 20)]
    assert {body["category"] for body in bodies} == set(CATEGORIES)


def test_a_walk_down_the_feed_follows_the_cursor_and_stops_at_the_end() -> None:
    first = next(WORKLOADS["feed"].requests("tiny", 1))

    def onwards(request: Request, cursor: str | None) -> Request | None:
        assert request.follow is not None
        return request.follow(json.dumps({"items": [], "next": cursor}).encode())

    second = onwards(first, "a/b=")
    assert second is not None
    assert b"cursor=a%2Fb%3D" in second.raw
    assert onwards(second, None) is None
    walk, request = 1, first
    while (after := onwards(request, f"c{walk}")) is not None:
        walk, request = walk + 1, after
    assert walk == 10


def test_mixed_follows_its_table() -> None:
    kinds = Counter(
        "orders"
        if raw.startswith(b"POST")
        else "offers"
        if b"/offers " in raw
        else "lists"
        if b"?" in raw
        else "detail"
        for raw in raws("mixed", 10_000)
    )
    for stream, percent in MIXED.items():
        assert kinds[stream.__name__] == pytest.approx(percent * 100, rel=0.2)


def test_an_unknown_workload_is_named_with_the_choices() -> None:
    with pytest.raises(StackError, match=r"no workload 'lists'.*list, zipped, deep, detail"):
        workload("lists")
