"""GET /products: pages of summaries, in a promised order."""

import golden
import pytest
from conftest import Shop
from hypothesis import HealthCheck, given, settings, strategies as st

from stack.seed.data import CATEGORIES

SORTS = ["newest", "price", "-price", "rating"]
UNTOUCHED = [name for name in CATEGORIES if name not in (golden.CHANGED, *golden.SOLD)]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("category", ["games", "lighting"])
def test_a_whole_category_is_listed_in_the_order_asked_for(
    shop: Shop, category: str, sort: str
) -> None:
    answer = shop.get("/products", params={"category": category, "sort": sort, "size": 100})
    assert answer.status_code == 200
    assert answer.json() == golden.page(category, size=100, sort=sort)


def test_without_parameters_the_newest_twenty_of_all_products_are_listed(shop: Shop) -> None:
    assert shop.get("/products").json() == golden.page(None)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    category=st.sampled_from(UNTOUCHED),
    number=st.integers(1, 60),
    size=st.integers(1, 100),
    sort=st.sampled_from(["newest", "price", "-price"]),
)
def test_every_page_is_cut_where_it_should_be(
    shop: Shop, category: str, number: int, size: int, sort: str
) -> None:
    asked = {"category": category, "page": number, "size": size, "sort": sort}
    assert shop.get("/products", params=asked).json() == golden.page(category, number, size, sort)


@pytest.mark.parametrize("number", [1_000, 1_000_000])
def test_past_the_end_there_is_an_empty_page_with_the_right_total(shop: Shop, number: int) -> None:
    asked = {"category": "games", "page": number}
    assert shop.get("/products", params=asked).json() == golden.page("games", number)


def test_the_last_of_repeated_keys_wins(shop: Shop) -> None:
    answer = shop.get("/products?category=games&page=1&page=2&category=toys")
    assert answer.json() == golden.page("toys", 2)


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=1000001",
        "page=99999999999999999999999999",
        "page=one",
        "page=1.5",
        "page=",
        "size=0",
        "size=101",
        "size=-20",
        "size=NaN",
        "sort=oldest",
        "sort=Price",
        "sort=",
        "category=lamps",
        "category=",
        "category=games%00",
        "category=%F0%9F%8E%B2",
        "category=%ff%fe",
        "category=games'--",
    ],
)
def test_a_bad_parameter_is_refused(shop: Shop, query: str) -> None:
    assert shop.get(f"/products?{query}").status_code == 422


def test_an_unknown_category_is_answered_with_the_choices(shop: Shop) -> None:
    problem = shop.get("/products?category=lamps").json()
    for category in CATEGORIES:
        assert category in str(problem)
