"""A sales report is arithmetic: orders in, sums and an interval out."""

from app.jobs.sales import bootstrap_mean, summarize

SOLD = [(7, 2, 2000), (9, 1, 500), (7, 1, 1000)]  # product, quantity, total in cents


def test_sums_are_over_all_orders_of_the_category() -> None:
    report = summarize("toys", SOLD)
    assert (report["orders"], report["units"], report["revenue_cents"]) == (3, 4, 3500)
    assert report["average_order_cents"]["value"] == 3500 // 3


def test_top_products_are_the_ten_with_the_most_revenue() -> None:
    assert summarize("toys", SOLD)["top_products"] == [
        {"product_id": 7, "units": 3, "revenue_cents": 3000},
        {"product_id": 9, "units": 1, "revenue_cents": 500},
    ]
    many = [(product, 1, 100 * product) for product in range(1, 21)]
    best = summarize("toys", many)["top_products"]
    assert [line["product_id"] for line in best] == list(range(20, 10, -1))


def test_products_of_equal_revenue_are_in_the_order_of_their_ids() -> None:
    best = summarize("toys", [(9, 1, 500), (7, 1, 500)])["top_products"]
    assert [line["product_id"] for line in best] == [7, 9]


def test_category_without_orders_has_no_average() -> None:
    report = summarize("toys", [])
    assert (report["orders"], report["average_order_cents"]) == (0, None)


def test_interval_holds_the_mean_and_shrinks_with_more_orders() -> None:
    few, many = (bootstrap_mean([100, 900] * half, "toys") for half in (10, 1000))
    assert few and many
    assert few["low"] < few["value"] == 500 < few["high"]
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 5


def test_same_orders_give_the_same_interval() -> None:
    totals = list(range(0, 1_000_000, 1000))
    assert bootstrap_mean(totals, "toys") == bootstrap_mean(totals, "toys")
    assert bootstrap_mean(totals, "toys") != bootstrap_mean(totals, "games")
