"""What the contract suite talks to: a system that is already up, or every checkpoint in turn.

With SURGE_TARGET and SURGE_PARTNERS (URLs of a service on the tiny dataset and of its partner
stub) the suite tests that one; this is how `surge check` and `surge climb` run it.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import golden
import httpx2
import psycopg
import pytest

from stack.checkpoint import checkpoints, find
from stack.seed import data
from stack.stubs.partners import PartnerSettings
from stack.system import System

GIVEN = os.environ.get("SURGE_TARGET")
TARGETS = ["given"] if GIVEN else [checkpoint.name for checkpoint in checkpoints()]

PROBLEM = {"type", "title", "status", "detail"}


@dataclass(frozen=True)
class Running:
    """Where a system is."""

    url: str
    partners_url: str


@pytest.fixture(scope="session", params=TARGETS)
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    if GIVEN:
        yield Running(GIVEN, os.environ["SURGE_PARTNERS"])
        return
    with System(find(request.param), size="tiny") as system:
        with psycopg.connect(system.database_url, autocommit=True) as database:
            # Few machines are on UTC; no answer may depend on it.
            database.execute("ALTER ROLE CURRENT_USER SET timezone TO 'Asia/Kathmandu'")
        yield Running(system.url, system.partners_url)


class Shop(httpx2.Client):
    """A client that takes no answer on trust: what it gets must be documented and well formed."""

    def __init__(self, url: str) -> None:
        super().__init__(base_url=url, timeout=60, event_hooks={"response": [self.inspect]})

    @cached_property
    def document(self) -> dict[str, Any]:
        answer = httpx2.get(f"{self.base_url}/openapi.json")
        assert answer.status_code == 200, "GET /openapi.json must describe the service"
        document: dict[str, Any] = answer.json()
        return document

    def documented(self, method: str, path: str) -> dict[str, Any] | None:
        """The statuses documented for a request; None where the document knows no such thing."""
        # A fixed path such as /products/feed goes before /products/{product_id}.
        for template in sorted(self.document["paths"], key=lambda path: path.count("{")):
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                operation = self.document["paths"][template].get(method.lower())
                responses: dict[str, Any] | None = operation and operation["responses"]
                return responses
        return None

    def inspect(self, answer: httpx2.Response) -> None:
        answer.read()
        asked, status = answer.request, answer.status_code
        what = f"{asked.method} {asked.url.raw_path.decode()[:200]} gave {status}"
        assert status < 500, f"{what}: {answer.text[:300]}"
        responses = self.documented(asked.method, asked.url.path)
        if responses is not None:
            assert str(status) in responses, f"{what}, which its OpenAPI document does not mention"
        if status >= 400:
            kind = answer.headers.get("content-type", "")
            assert kind.startswith("application/problem+json"), f"{what} as {kind!r}"
            problem = answer.json()
            assert problem.keys() >= PROBLEM, f"{what} without {PROBLEM - problem.keys()}"
            assert problem["status"] == status
            assert len(problem["detail"].split()) >= 4, f"{what}, and says no cure"


@pytest.fixture(scope="session")
def shop(running: Running) -> Iterator[Shop]:
    with Shop(running.url) as client:
        yield client


@pytest.fixture(scope="session")
def on_sale(running: Running) -> Iterator[data.Product]:
    """Products to place orders for, or to change for good; each is handed out once per service."""
    newest = {item["id"] for item in golden.page(None)["items"]}  # which a test wants as seeded
    sold = [p for p in golden.in_category(None) if p.category in golden.SOLD and p.stock > 4]
    return iter([p for p in sold if p.id not in newest])


@pytest.fixture
def product(on_sale: Iterator[data.Product]) -> data.Product:
    """A product of the test's own, with its stock as seeded."""
    return next(on_sale)


@pytest.fixture
def partners(running: Running) -> Iterator[Callable[..., None]]:
    """Changes the partners' settings; afterwards they are as before."""

    def configure(**settings: str | float | bool) -> None:
        answer = httpx2.put(f"{running.partners_url}/settings", params=settings)
        assert answer.status_code == 200, answer.text

    yield configure
    configure(**PartnerSettings().model_dump())


def order_for(product: data.Product, quantity: int = 1, **more: Any) -> dict[str, Any]:
    """The body of an order."""
    body = {"product_id": product.id, "quantity": quantity, "customer": "ada@example.com"}
    return {**body, **more}


def stock(shop: Shop, product: data.Product) -> int:
    """How many are left."""
    left: int = shop.get(f"/products/{product.id}/stock").json()["stock"]
    return left
