"""GET /products/feed, where the service has it: a walk that skips and repeats nothing."""

import golden
import pytest
from conftest import Shop

FEED = "/products/feed"


@pytest.fixture(autouse=True)
def offered(shop: Shop) -> None:
    if FEED not in shop.document["paths"]:
        pytest.skip("this service has no feed yet; it comes with checkpoint 03")


def walk(shop: Shop, **params: str | int) -> list[dict[str, object]]:
    items = []
    cursor: dict[str, str] = {}
    for _ in range(2000):
        answer = shop.get(FEED, params={**params, **cursor}).json()
        assert answer.keys() == {"items", "next"}
        items += answer["items"]
        if answer["next"] is None:
            return items
        cursor = {"cursor": answer["next"]}
    raise AssertionError("the walk never ends")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_walk_meets_every_product_once_newest_first(shop: Shop, size: int) -> None:
    expected = [golden.summary(product) for product in golden.ordered("games", "newest")]
    assert walk(shop, category="games", size=size) == expected


def test_a_walk_over_everything_meets_everything(shop: Shop) -> None:
    expected = [product.id for product in golden.ordered(None, "newest")]
    assert [item["id"] for item in walk(shop, size=100)] == expected


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "%00", "=", "AAAA", "..", "9" * 5000, "eyJhIjoxfQ", "%ff", "MTIz", "bnVsbA",
     "MjAyNi0wMS0wMVQwMDowMDowMFosOTk5OTk5OTk5OTk5OTk5OTk5OTk"],
    ids=lambda cursor: cursor[:12],
)  # fmt: skip
def test_a_malformed_cursor_is_refused(shop: Shop, cursor: str) -> None:
    assert shop.get(f"{FEED}?cursor={cursor}").status_code == 422


@pytest.mark.parametrize("query", ["size=0", "size=101", "size=x", "category=lamps"])
def test_a_bad_parameter_is_refused(shop: Shop, query: str) -> None:
    assert shop.get(f"{FEED}?{query}").status_code == 422
