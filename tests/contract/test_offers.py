"""GET /products/{id}/offers: what the partners ask, and what is missing when one fails."""

from collections.abc import Callable, Collection
from typing import Any

import pytest
from conftest import Shop

from stack.stubs.partners import PARTNERS, quote


def expected(product_id: int, missing: Collection[str] = ()) -> dict[str, Any]:
    offers = [
        {"partner": partner, **quote(partner, product_id)}
        for partner in PARTNERS
        if partner not in missing
    ]
    return {
        "product_id": product_id,
        "offers": sorted(offers, key=lambda offer: (offer["price_cents"], offer["partner"])),
        "missing": sorted(missing),
    }


@pytest.mark.parametrize("product_id", [1, 7, 500, 1000])
def test_offers_come_cheapest_first(shop: Shop, product_id: int) -> None:
    answer = shop.get(f"/products/{product_id}/offers")
    assert answer.status_code == 200
    assert answer.json() == expected(product_id)


@pytest.mark.parametrize("failing", PARTNERS)
def test_a_failing_partner_is_missing(
    shop: Shop, partners: Callable[..., None], failing: str
) -> None:
    partners(error_rate=1, partner=failing)
    assert shop.get("/products/7/offers").json() == expected(7, [failing])


def test_a_partner_that_answers_something_else_is_missing(
    shop: Shop, partners: Callable[..., None]
) -> None:
    partners(odd=True, partner="meridian")
    answer = shop.get("/products/7/offers")
    assert answer.status_code == 200
    assert answer.json() == expected(7, ["meridian"])


def test_without_any_partner_there_are_no_offers_and_still_an_answer(
    shop: Shop, partners: Callable[..., None]
) -> None:
    partners(error_rate=1)
    answer = shop.get("/products/7/offers")
    assert answer.status_code == 200
    assert answer.json() == expected(7, PARTNERS)


def test_a_partner_that_never_answers_is_missing(shop: Shop, partners: Callable[..., None]) -> None:
    partners(hold=True, partner="northwind")
    assert shop.get("/products/7/offers").json() == expected(7, ["northwind"])


def test_partners_are_asked_anew_when_they_are_well_again(
    shop: Shop, partners: Callable[..., None]
) -> None:
    partners(error_rate=1)
    shop.get("/products/7/offers")
    partners(error_rate=0)
    assert shop.get("/products/7/offers").json() == expected(7)
