"""The jobs: what the service has promised, done by a worker.

A job may be done twice: a worker can die, or be taken for dead, between the work and the note that
it is done. So whatever a job does, doing it again must change nothing.

`traceparent` is for the worker: the trace that the job is a part of.
"""

import asyncio
from typing import Any

import aiohttp
import procrastinate
from sqlalchemy import select, text, update

from app.database import new_session, rows
from app.jobs.connector import in_time, queue
from app.jobs.sales import sales
from app.models import Order, Product, Report
from app.settings import settings
from app.telemetry import tracing

retry = procrastinate.RetryStrategy(max_attempts=settings.job_retries, exponential_wait=2)


@queue.task(name="make_report", retry=retry)
async def make_report(report_id: int, traceparent: str = "") -> None:
    category = await note(report_id, status="running")
    if category is None:
        return  # done before
    orders = (
        select(Order.product_id, Order.quantity, Order.total_cents)
        .join(Product)
        .where(Product.category == category)
        .order_by(Order.id)
    )
    async with in_time():
        sold = [(product, units, total) for product, units, total in await rows(orders, {})]
    # Not on the loop, which has to tell the queue meanwhile that this worker is alive.
    result = await asyncio.to_thread(sales, category, sold)
    await note(report_id, status="done", result=result)


async def note(report_id: int, **values: Any) -> str | None:
    """Writes down how far a report is, unless it is done. Gives its category, if so."""
    undone = update(Report).where(Report.id == report_id, Report.status != "done")
    async with in_time(), new_session() as session:
        category = await session.scalar(undone.values(**values).returning(Report.category))
        await session.commit()
    return category


@queue.task(name="confirm_order", retry=retry, pass_context=True)
async def confirm_order(
    context: procrastinate.JobContext, order_id: int, traceparent: str = ""
) -> None:
    columns = (Order.customer, Order.product_id, Order.quantity, Order.total_cents)
    async with in_time():
        [order] = await rows(select(*columns).where(Order.id == order_id), {})
    message = {
        "to": order.customer,
        "subject": f"Your order {order_id}",
        "text": f"{order.quantity} of product {order.product_id} for {order.total_cents} cents.",
    }
    # To send it again changes nothing: like our orders, a message is known by its key.
    key = {"Idempotency-Key": f"order-{order_id}"}
    client: aiohttp.ClientSession = context.additional_context["client"]
    with tracing.span("POST mail"):
        headers = key | tracing.trace_headers()
        url = f"{settings.mail_url}/messages"
        async with client.post(url, json=message, headers=headers, allow_redirects=False) as sent:
            if not 200 <= sent.status < 300:  # not taken; nothing else of the answer is read
                raise RuntimeError(f"The mail service answered {sent.status}.")


# A job that was given up stays in the queue's table: as `failed` or, if its last try was called off
# when the worker stopped, as `aborted`. That is certain. Whoever would have written it down with
# the report may have died before, or found the database away.
FAILED = text("""
    UPDATE reports SET status = 'failed' FROM procrastinate_jobs AS jobs
    WHERE jobs.task_name = 'make_report' AND jobs.status IN ('failed', 'aborted')
    AND reports.id = CASE WHEN jobs.args ->> 'report_id' ~ '^[0-9]{1,18}$'
        THEN (jobs.args ->> 'report_id')::bigint END  -- it may have failed since it is no number
    AND reports.status IN ('pending', 'running')
""")


async def fail_reports() -> None:
    """Who waits for a report whose job was given up waits in vain, and must hear of it."""
    async with in_time(), new_session() as session:
        await session.execute(FAILED)
        await session.commit()
