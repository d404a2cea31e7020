"""Sales reports: much arithmetic over many orders."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import select

from app.database import Database
from app.models import Order, Product, Report
from app.problems import not_found, problems
from app.schemas import NewReport, ReportOut, ReportStatus, RowId

router = APIRouter(prefix="/reports", tags=["reports"])

RESAMPLES = 100  # of the bootstrap; the 3rd and the 98th of the sorted means bound the middle 95 %


@router.post("", status_code=202, responses=problems(400, 422))
async def start_report(new: NewReport, response: Response, session: Database) -> ReportStatus:
    orders = (
        select(Order.product_id, Order.quantity, Order.total_cents)
        .join(Product)
        .where(Product.category == new.category)
        .order_by(Order.id)
    )
    rows = await session.stream(orders.execution_options(yield_per=500))
    sold: list[tuple[int, int, int]] = []
    async for some in rows.partitions():  # all in one go would hold the loop
        sold.extend(some)
    await session.close()  # before the arithmetic, which needs no database
    result = await asyncio.to_thread(summarize, new.category, sold)  # nor may it hold the loop
    report = Report(category=new.category, status="done", result=result)
    session.add(report)
    await session.commit()
    response.headers["Location"] = f"/reports/{report.id}"
    return ReportStatus.model_validate(report)


@router.get("/{report_id}", responses=problems(404, 422))
async def get_report(report_id: RowId, session: Database) -> ReportOut:
    report = await session.get(Report, report_id)
    if report is None:
        raise not_found("report", report_id)
    await session.close()
    return ReportOut.model_validate(report)


def summarize(category: str, sold: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """Add up the (product, quantity, total) of every order of a category."""
    units: Counter[int] = Counter()
    revenue: Counter[int] = Counter()
    for product_id, quantity, total_cents in sold:
        units[product_id] += quantity
        revenue[product_id] += total_cents
    best = sorted(revenue, key=lambda product_id: (-revenue[product_id], product_id))[:10]
    return {
        "category": category,
        "orders": len(sold),
        "units": units.total(),
        "revenue_cents": revenue.total(),
        "average_order_cents": bootstrap_mean([total for _, _, total in sold], seed=category),
        "top_products": [
            {"product_id": id, "units": units[id], "revenue_cents": revenue[id]} for id in best
        ],
    }


def bootstrap_mean(totals: list[int], seed: str) -> dict[str, int] | None:
    """The mean and its 95 % interval: how far the means of random resamples lie apart."""
    if not totals:
        return None
    count = len(totals)
    rng = random.Random(seed)  # noqa: S311 - chance, not a secret; seeded to be repeatable
    means = sorted(sum(rng.choices(totals, k=count)) // count for _ in range(RESAMPLES))
    return {"value": sum(totals) // count, "low": means[2], "high": means[97]}
