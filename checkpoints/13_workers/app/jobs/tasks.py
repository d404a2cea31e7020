"""The jobs: what the service has promised, done by a worker.

A job may be done twice: a worker can die, or be taken for dead, after the work and before the queue
has heard that it is done. So every job is idempotent: doing it again changes nothing.
"""

import asyncio
from typing import Any

import aiohttp
import procrastinate
from sqlalchemy import Row, select, text, update

from app.database import fetch_all, new_session
from app.jobs.connector import database_timeout, procrastinate_app
from app.jobs.sales import summarize
from app.models import Order, Product, Report
from app.settings import settings

retry = procrastinate.RetryStrategy(max_attempts=settings.job_retries, exponential_wait=2)


@procrastinate_app.task(name="make_report", retry=retry)
async def make_report(report_id: int) -> None:
    category = await update_report(report_id, status="running")
    if category is None:
        return  # done before
    orders = (
        select(Order.product_id, Order.quantity, Order.total_cents)
        .join(Product)
        .where(Product.category == category)
        .order_by(Order.id)
    )
    async with database_timeout():
        sold = [(product, units, total) for product, units, total in await fetch_all(orders, {})]
    # In a thread, since the loop has to send heartbeats meanwhile.
    result = await asyncio.to_thread(summarize, category, sold)
    await update_report(report_id, status="done", result=result)


async def update_report(report_id: int, **values: Any) -> str | None:
    """Change a report that is not done yet, and return its category. None if it is done."""
    unfinished = update(Report).where(Report.id == report_id, Report.status != "done")
    async with database_timeout(), new_session() as session:
        category = await session.scalar(unfinished.values(**values).returning(Report.category))
        await session.commit()
    return category


@procrastinate_app.task(name="confirm_orders", retry=retry, pass_context=True)
async def confirm_orders(context: procrastinate.JobContext, order_ids: list[int]) -> None:
    if context.job.attempts and len(order_ids) > 1:
        # One of them failed, or killed its worker. The others must not share its fate.
        for id in order_ids:
            await confirm_orders.defer_async(order_ids=[id])
        return
    columns = (Order.id, Order.customer, Order.product_id, Order.quantity, Order.total_cents)
    async with database_timeout():
        found = await fetch_all(select(*columns).where(Order.id.in_(order_ids)), {})
    orders = {order.id: order for order in found}
    for id in order_ids:
        await send_confirmation(context.additional_context["client"], orders[id])


async def send_confirmation(client: aiohttp.ClientSession, order: Row[Any]) -> None:
    message = {
        "to": order.customer,
        "subject": f"Your order {order.id}",
        "text": f"{order.quantity} of product {order.product_id} for {order.total_cents} cents.",
    }
    # The key makes it safe to send again: the mail service knows a message by it, as we an order.
    headers = {"Idempotency-Key": f"order-{order.id}"}
    url = f"{settings.mail_url}/messages"
    async with client.post(url, json=message, headers=headers, allow_redirects=False) as reply:
        if not 200 <= reply.status < 300:  # not taken; the body is not read
            raise RuntimeError(f"The mail service answered {reply.status}.")


# A job that was given up stays in the queue's table: as `failed`, or as `aborted` if the worker was
# stopped during its last try. A worker may die, or lose the database, before it marks the report.
FAIL_ABANDONED_REPORTS = text("""
    UPDATE reports SET status = 'failed' FROM procrastinate_jobs AS jobs
    WHERE jobs.task_name = 'make_report' AND jobs.status IN ('failed', 'aborted')
    AND reports.id = CASE WHEN jobs.args ->> 'report_id' ~ '^[0-9]{1,18}$'
        THEN (jobs.args ->> 'report_id')::bigint END  -- it may have failed since it is no number
    AND reports.status IN ('pending', 'running')
""")


async def fail_abandoned_reports() -> None:
    """Mark the reports whose job was given up. Their clients would wait for ever."""
    async with database_timeout(), new_session() as session:
        await session.execute(FAIL_ABANDONED_REPORTS)
        await session.commit()
