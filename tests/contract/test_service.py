"""Health, readiness, unknown addresses, and the service's description of itself."""

import pytest
from conftest import Shop

PATHS = {
    "/products": {"get"},
    "/products/{product_id}": {"get", "patch"},
    "/products/{product_id}/stock": {"get"},
    "/products/{product_id}/offers": {"get"},
    "/orders": {"post"},
    "/orders/{order_id}": {"get"},
    "/reports": {"post"},
    "/reports/{report_id}": {"get"},
    "/healthz": {"get"},
    "/readyz": {"get"},
}


def test_health_check_is_ok(shop: Shop) -> None:
    answer = shop.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_readiness_names_its_checks(shop: Shop) -> None:
    answer = shop.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert answer.json()["checks"]["postgres"] == "ok"
    assert set(answer.json()["checks"].values()) == {"ok"}


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/products/7/reviews", "/PRODUCTS", "/orders/1/x"]
)
def test_an_unknown_address_is_a_problem_with_a_cure(shop: Shop, path: str) -> None:
    assert shop.get(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/products/7"), ("PUT", "/products/7"), ("POST", "/products"), ("GET", "/reports")],
)
def test_an_unsupported_method_is_a_problem_with_a_cure(shop: Shop, method: str, path: str) -> None:
    answer = shop.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"]


def test_openapi_document_has_every_path(shop: Shop) -> None:
    documented = shop.document["paths"]
    for path, methods in PATHS.items():
        assert methods <= documented.get(path, {}).keys(), path


def test_every_error_is_documented_as_a_problem(shop: Shop) -> None:
    for path in PATHS:
        for operation in shop.document["paths"][path].values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"]


def test_every_answer_has_its_content_type(shop: Shop) -> None:
    for path in ("/products", "/products/7", "/healthz"):
        assert shop.get(path).headers["content-type"] == "application/json"
