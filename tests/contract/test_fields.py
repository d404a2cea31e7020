"""GET /products/{id}?fields=, where the service has it: the fields asked for, and no others."""

from typing import Any

import golden
import pytest
from conftest import Shop

PRODUCT = 7
FIELDS = list(golden.detail(golden.products()[PRODUCT]))


@pytest.fixture(autouse=True)
def offered(shop: Shop) -> None:
    operation = shop.document["paths"]["/products/{product_id}"]["get"]
    if "fields" not in [parameter["name"] for parameter in operation["parameters"]]:
        pytest.skip("this service does not let you choose; it comes with checkpoint 07")


def expected(*fields: str) -> dict[str, Any]:
    everything = golden.detail(golden.products()[PRODUCT])
    return {field: everything[field] for field in fields}


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_can_be_had_alone(shop: Shop, field: str) -> None:
    answer = shop.get(f"/products/{PRODUCT}", params={"fields": field})
    assert answer.json() == expected(field)


@pytest.mark.parametrize("fields", ["id,name", "name,id", "id,id,name", ",".join(FIELDS)])
def test_requested_fields_are_answered(shop: Shop, fields: str) -> None:
    answer = shop.get(f"/products/{PRODUCT}", params={"fields": fields})
    assert answer.json() == expected(*fields.split(","))


def test_order_of_fields_does_not_change_the_answer(shop: Shop) -> None:
    one, other = (
        shop.get(f"/products/{PRODUCT}", params={"fields": fields}).content
        for fields in ("id,name", "name,id")
    )
    assert one == other


@pytest.mark.parametrize(
    "fields", ["", ",", "id,", "colour", "id,colour", "ID", "id name", "seller.name", "é", "id\n"]
)
def test_unknown_field_is_refused_with_the_known_ones(shop: Shop, fields: str) -> None:
    answer = shop.get(f"/products/{PRODUCT}", params={"fields": fields})
    assert answer.status_code == 422
    assert "price_cents" in str(answer.json()["errors"])


def test_field_repeated_a_thousand_times_is_refused(shop: Shop) -> None:
    """What is kept for each spelling must have a bound."""
    answer = shop.get(f"/products/{PRODUCT}", params={"fields": ",".join(["id"] * 1000)})
    assert answer.status_code == 422


def test_an_unknown_product_is_not_found(shop: Shop) -> None:
    assert shop.get("/products/1001", params={"fields": "id"}).status_code == 404
