"""Offers: what three partners ask for the same product."""

import asyncio
import time
from typing import Annotated

import aiohttp
from fastapi import APIRouter, Depends, Request

from app.logs import log
from app.problems import problems
from app.products import find
from app.queries import STOCK
from app.schemas import Offer, Offers, ProductId, Quote
from app.settings import settings
from app.telemetry import metrics, tracing

router = APIRouter(prefix="/products", tags=["products"])

PARTNERS = ("meridian", "northwind", "tradepost")
LONGEST = 4096  # bytes of an answer that we read; a quote takes fifty


def open_client() -> aiohttp.ClientSession:
    """The one client, made when the service starts: it keeps connections and what they cost."""
    return aiohttp.ClientSession(
        settings.partners_url,
        connector=aiohttp.TCPConnector(limit=0),  # 100 by default: the 101st call would queue
        timeout=aiohttp.ClientTimeout(total=settings.partner_timeout),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,  # a kilobyte can become a megabyte
        cookie_jar=aiohttp.DummyCookieJar(),  # another would return what partners set
    )


async def get_client(request: Request) -> aiohttp.ClientSession:
    client: aiohttp.ClientSession = request.state.client
    return client


Client = Annotated[aiohttp.ClientSession, Depends(get_client)]


@router.get("/{product_id}/offers", responses=problems(404, 422))
async def get_offers(product_id: ProductId, client: Client) -> Offers:
    await find(STOCK, product_id)
    answers = await asyncio.gather(*(ask(client, partner, product_id) for partner in PARTNERS))
    offers = [offer for offer in answers if offer]
    return Offers(
        product_id=product_id,
        offers=sorted(offers, key=lambda offer: (offer.price_cents, offer.partner)),
        missing=[
            partner for partner, offer in zip(PARTNERS, answers, strict=True) if offer is None
        ],
    )


async def ask(client: aiohttp.ClientSession, partner: str, product_id: int) -> Offer | None:
    """A partner's offer, or None when it fails or takes too long."""
    outcome = "failed"
    started = time.perf_counter()
    try:
        with tracing.span(f"GET {partner}"):
            headers = tracing.trace_headers()
            path = f"/{partner}/offers/{product_id}"
            async with client.get(path, headers=headers, allow_redirects=False) as response:
                response.raise_for_status()
                quote = Quote.model_validate_json(await read(response))
        outcome = "ok"
        return Offer(partner=partner, **quote.model_dump())
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        outcome = "timeout" if isinstance(error, TimeoutError) else "failed"
        log.warning("no offer", partner=partner, error=type(error).__name__)
        return None
    finally:
        seconds = time.perf_counter() - started
        metrics.partner_calls.labels(partner, outcome).observe(seconds)


async def read(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of an answer; what is longer is cut off, and no JSON any more."""
    body = b""
    while len(body) < LONGEST and (more := await response.content.read(LONGEST - len(body))):
        body += more
    return body
