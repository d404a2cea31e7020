"""GET /products/{id} and its stock."""

import golden
import pytest
from conftest import Shop

from stack.seed.data import hot_ids

BAD_IDS = ["0", "-1", "2147483648", "99999999999999999999", "1.5", "one", "%00", "1%00", "0x1", "é"]


def some_ids() -> list[int]:
    """The hot, the ends, and one without any review."""
    bare = next(id for id in golden.products() if id not in golden.reviews())
    chosen = {*hot_ids(golden.SIZE, 5), 1, len(golden.products()), bare}
    return sorted(id for id in chosen if golden.products()[id].category != golden.CHANGED)


@pytest.mark.parametrize("product_id", some_ids())
def test_a_detail_has_seller_rating_and_the_five_newest_reviews(
    shop: Shop, product_id: int
) -> None:
    answer = shop.get(f"/products/{product_id}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == golden.detail(golden.products()[product_id])


def test_the_average_rounds_half_up(shop: Shop) -> None:
    """Where the third decimal is a 5 exactly, the second goes up: 4.125 is 4.13."""
    halves = [
        id
        for id, reviews in golden.reviews().items()
        if (1000 * sum(review.stars for review in reviews)) % (10 * len(reviews)) * 2
        == 10 * len(reviews)
        and golden.products()[id].category != golden.CHANGED
    ]
    assert halves, "the seed has such a product"
    for id in halves[:5]:
        assert shop.get(f"/products/{id}").json()["rating"]["average"] == golden.average(id)


@pytest.mark.parametrize("path", ["/products/{}", "/products/{}/stock", "/products/{}/offers"])
def test_an_unknown_product_is_not_found(shop: Shop, path: str) -> None:
    for product_id in (1001, 2147483647):
        answer = shop.get(path.format(product_id))
        assert answer.status_code == 404
        assert str(product_id) in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/products/{}", "/products/{}/stock", "/products/{}/offers"])
@pytest.mark.parametrize("product_id", BAD_IDS)
def test_malformed_product_id_is_refused(shop: Shop, path: str, product_id: str) -> None:
    # A proxy lets no zero byte through, and says so itself.
    refused = {400, 422} if "%00" in product_id else {422}
    assert shop.get(path.format(product_id)).status_code in refused


def test_stock_is_what_the_seed_says(shop: Shop) -> None:
    for product in golden.in_category("games")[:5]:
        answer = shop.get(f"/products/{product.id}/stock")
        assert answer.json() == {"product_id": product.id, "stock": product.stock}
