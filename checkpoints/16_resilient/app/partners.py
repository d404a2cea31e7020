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
from app.resilience.breakers import Breaker, BreakerOpen
from app.resilience.deadlines import TIMEOUT_HEADER, remaining_seconds
from app.schemas import Offer, Offers, ProductId, Quote
from app.settings import settings
from app.telemetry import metrics, tracing

router = APIRouter(prefix="/products", tags=["products"])

PARTNERS = ("meridian", "northwind", "tradepost")
MAX_RESPONSE_BYTES = 4096  # a quote takes fifty
RESERVE = 0.05  # seconds before the deadline, kept for sending the offers
breakers = {partner: Breaker(partner) for partner in PARTNERS}


def open_client() -> aiohttp.ClientSession:
    """One client for the life of the service: it reuses connections, which are costly to open."""
    return aiohttp.ClientSession(
        settings.partners_url,
        connector=aiohttp.TCPConnector(limit=0),  # 100 by default: the 101st call would queue
        timeout=aiohttp.ClientTimeout(total=settings.partner_timeout),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,  # a kilobyte can become a megabyte
        cookie_jar=aiohttp.DummyCookieJar(),  # the default jar sends cookies back
    )


async def get_client(request: Request) -> aiohttp.ClientSession:
    client: aiohttp.ClientSession = request.state.client
    return client


Client = Annotated[aiohttp.ClientSession, Depends(get_client)]


@router.get("/{product_id}/offers", responses=problems(404, 422))
async def get_offers(product_id: ProductId, client: Client) -> Offers:
    await find(STOCK, product_id)
    calls = [fetch_offer(client, partner, product_id) for partner in PARTNERS]
    answers = dict(zip(PARTNERS, await asyncio.gather(*calls), strict=True))
    offers = [offer for offer in answers.values() if offer]
    return Offers(
        product_id=product_id,
        offers=sorted(offers, key=lambda offer: (offer.price_cents, offer.partner)),
        missing=[partner for partner, offer in answers.items() if offer is None],
    )


async def fetch_offer(client: aiohttp.ClientSession, partner: str, product_id: int) -> Offer | None:
    """A partner's offer, or None when it fails, takes too long, or its breaker is open."""
    seconds = min(settings.partner_timeout, remaining_seconds() - RESERVE)
    had_full_timeout = seconds == settings.partner_timeout
    try:
        with breakers[partner].protect(had_full_timeout=had_full_timeout):
            return await call_partner(client, partner, product_id, seconds)
    except (aiohttp.ClientError, TimeoutError, ValueError, BreakerOpen) as error:
        log.warning("no offer", partner=partner, error=type(error).__name__)
        return None


async def call_partner(
    client: aiohttp.ClientSession, partner: str, product_id: int, seconds: float
) -> Offer:
    if seconds <= 0:
        raise TimeoutError
    outcome = "given up"  # by us, before the full partner timeout was over
    started = time.perf_counter()
    path, timeout = f"/{partner}/offers/{product_id}", aiohttp.ClientTimeout(total=seconds)
    try:
        with tracing.span(f"GET {partner}"):
            # The partner hears how long we wait, and need not work for us any longer.
            headers = tracing.trace_headers() | {TIMEOUT_HEADER: f"{seconds:.3f}"}
            request = client.get(path, headers=headers, timeout=timeout, allow_redirects=False)
            async with request as response:
                response.raise_for_status()
                quote = Quote.model_validate_json(await read_limited(response))
        outcome = "ok"
        return Offer(partner=partner, **quote.model_dump())
    except TimeoutError:
        if seconds == settings.partner_timeout:
            outcome = "timeout"
        raise
    except Exception:
        outcome = "failed"
        raise
    finally:
        metrics.partner_calls.labels(partner, outcome).observe(time.perf_counter() - started)


async def read_limited(response: aiohttp.ClientResponse) -> bytes:
    """The body, cut off at the limit. A body that is cut off is not valid JSON."""
    body = b""
    while chunk := await response.content.read(MAX_RESPONSE_BYTES - len(body)):
        body += chunk
    return body
