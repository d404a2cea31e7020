"""POST /reports and GET /reports/{id}: a category's sales, in the background or at once."""

import time
from typing import Any

import golden
import pytest
from conftest import Shop

STATUSES = {"pending", "running", "done", "failed"}


def finished(shop: Shop, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while True:
        report: dict[str, Any] = shop.get(path).json()
        assert report.keys() == {"id", "status", "result"}
        assert report["status"] in STATUSES
        if report["status"] not in ("pending", "running"):
            return report
        assert report["result"] is None
        assert time.monotonic() < deadline, "the report is never finished"
        time.sleep(0.05)


def test_a_report_adds_up(shop: Shop) -> None:
    answer = shop.post("/reports", json={"category": golden.REPORTED})
    assert answer.status_code == 202
    accepted = answer.json()
    assert accepted.keys() == {"id", "status"}
    assert accepted["status"] in STATUSES
    assert answer.headers["location"].endswith(f"/reports/{accepted['id']}")
    report = finished(shop, f"/reports/{accepted['id']}")
    assert report["status"] == "done"
    assert report["result"] == golden.report(golden.REPORTED)


def test_two_reports_are_two(shop: Shop) -> None:
    ids = {shop.post("/reports", json={"category": "games"}).json()["id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "body", [{}, {"category": "lamps"}, {"category": None}, {"category": 7},
             {"category": ["games"]}, {"category": "games\x00"}, {"category": "games", "size": 1}],
    ids=str,
)  # fmt: skip
def test_a_bad_report_is_refused(shop: Shop, body: dict[str, Any]) -> None:
    assert shop.post("/reports", json=body).status_code == 422


@pytest.mark.parametrize(
    ("report_id", "status"), [("999999", 404), ("0", 422), ("9223372036854775808", 422), ("a", 422)]
)
def test_unknown_or_malformed_report_ids_are_refused(
    shop: Shop, report_id: str, status: int
) -> None:
    assert shop.get(f"/reports/{report_id}").status_code == status
