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
LONGEST = 4096  # bytes of an answer that we read; a quote takes fifty
WAY_BACK = 0.05  # seconds of the time that is left, for what is done with the answers
breakers = {partner: Breaker(partner) for partner in PARTNERS}


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
    """A partner's offer, or None when it fails or takes too long, or would."""
    seconds = min(settings.partner_timeout, remaining_seconds() - WAY_BACK)
    try:
        with breakers[partner].protect(had_full_timeout=seconds == settings.partner_timeout):
            return await call(client, partner, product_id, seconds)
    except (aiohttp.ClientError, TimeoutError, ValueError, BreakerOpen) as error:
        log.warning("no offer", partner=partner, error=type(error).__name__)
        return None


async def call(
    client: aiohttp.ClientSession, partner: str, product_id: int, seconds: float
) -> Offer:
    if seconds <= 0:
        raise TimeoutError
    outcome = "given up"  # by us: it had less time than a partner may take
    started = time.perf_counter()
    path, timeout = f"/{partner}/offers/{product_id}", aiohttp.ClientTimeout(total=seconds)
    try:
        with tracing.span(f"GET {partner}"):
            # They hear how long we wait, so that nobody works for us when we have gone.
            headers = tracing.trace_headers() | {TIMEOUT_HEADER: f"{seconds:.3f}"}
            asking = client.get(path, headers=headers, timeout=timeout, allow_redirects=False)
            async with asking as response:
                response.raise_for_status()
                quote = Quote.model_validate_json(await read(response))
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


async def read(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of an answer; what is longer is cut off, and no JSON any more."""
    body = b""
    while len(body) < LONGEST and (more := await response.content.read(LONGEST - len(body))):
        body += more
    return body
