"""nginx's cache spares the service, and is never wrong for longer than declared."""

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from balanced import BALANCED, reached, talk
from caches import stopped
from crowds import order
from steps import each, without_worker

from stack.checkpoint import Checkpoint
from stack.stubs.client import port_of
from stack.system import System

FOR_AN_HOUR = {"EDGE_SECONDS": "3600", "MEMORY_SECONDS": "3600"}


@pytest.fixture(scope="module", params=BALANCED, ids=lambda step: step.label)
def kept(request: pytest.FixtureRequest) -> Iterator[System]:
    """A system whose nginx keeps answers for as long as the tests take."""
    with without_worker(request.param, FOR_AN_HOUR, instances=2) as system:
        yield system


def test_hot_reads_reach_the_service_once_for_each_encoding_and_once_before(kept: System) -> None:
    with httpx2.Client(base_url=kept.url, timeout=30) as client, ThreadPoolExecutor(10) as shoppers:
        expected = client.get("/products/8").json()
        forms = ("gzip", "identity", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8", "*")

        def look(number: int) -> httpx2.Response:
            form = forms[number % len(forms)]
            return client.get("/products/8", headers={"Accept-Encoding": form})

        answers = [look(number) for number in range(2)]
        first = reached(kept, "/products/8")  # meanwhile, nginx has put both into its cache
        answers += shoppers.map(look, range(300))
    for answer in answers:
        assert answer.json() == expected
        zipped = "gzip" in answer.request.headers["Accept-Encoding"]
        assert answer.headers.get("Content-Encoding") == ("gzip" if zipped else None)
        assert answer.headers["Cache-Control"] == "public, no-cache"
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == len(answers)
    assert {answer.headers["X-Cache"] for answer in answers} == {"hit"}
    assert first == 3  # and the very first
    assert reached(kept, "/products/8") == first


def test_matching_etag_gets_304_from_nginx(kept: System) -> None:
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        paths = {"/products/9": 1, "/products?category=books": 1, "/products/9?fields=id,name": 0}
        for path, more in paths.items():  # the service has had the last one since it had the first
            tag = client.get(path).headers["ETag"]
            before = reached(kept, path.partition("?")[0])
            for _ in range(3):
                again = client.get(path, headers={"If-None-Match": tag})
                assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
            # The cache keeps the answer, and never a 304.
            assert client.get(path, headers={"If-None-Match": 'W/"other"'}).status_code == 200
            assert reached(kept, path.partition("?")[0]) == before + more


def test_matching_etag_gets_304_from_an_empty_cache(kept: System) -> None:
    tag = httpx2.get(f"{kept.urls[0]}/products/15").headers["ETag"]
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        for _ in range(3):
            answer = client.get("/products/15", headers={"If-None-Match": tag})
            assert (answer.status_code, answer.content) == (304, b"")


def test_matching_etag_gets_304_beside_a_request_that_waits(
    kept: System,
) -> None:
    tag = httpx2.get(f"{kept.urls[0]}/products/17").headers["ETag"]
    with httpx2.Client(base_url=kept.url, timeout=30) as client, ThreadPoolExecutor(2) as pool:
        with stopped(kept, "app"):
            first = pool.submit(client.get, "/products/17")
            time.sleep(0.2)
            second = pool.submit(client.get, "/products/17", headers={"If-None-Match": tag})
            time.sleep(0.5)
        assert first.result().status_code == 200
        assert (second.result().status_code, second.result().content) == (304, b"")


def test_conditions_unknown_to_the_service_are_ignored_by_nginx(kept: System) -> None:
    past = "Sat, 29 Oct 1994 19:43:31 GMT"
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        expected = client.get("/products/16").json()
        assert client.get("/products/16").json() == expected
        for condition in ({"If-Match": '"other"'}, {"If-Unmodified-Since": past}):
            answer = client.get("/products/16", headers=condition)
            assert (answer.status_code, answer.json()) == (200, expected)


def test_answer_requested_once_is_not_written_to_disk(kept: System) -> None:
    def files() -> int:
        assert kept.proxy
        return sum(path.is_file() for path in (kept.proxy.files / "cache").rglob("*"))

    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        before = files()
        for id in range(101, 201):
            assert client.get(f"/products/{id}").status_code == 200
        assert files() == before
        assert client.get("/products/101").status_code == 200
        assert files() == before + 1


def test_every_address_has_its_own_answer(kept: System) -> None:
    paths = (
        *("/products/10", "/products/10?fields=id", "/products/10?fields=name", "/products/010"),
        *("/products?page=2", "/products?page=3", "/products?page=2&size=21", "/products?size=100"),
        *("//products/10", "/x/../products/10", "/products/10%3Ffields=id", "/products/10/"),
    )
    for _ in range(2):
        for path in paths:
            assert get(kept.url, path) == get(kept.urls[0], path), path


def get(url: str, path: str) -> tuple[int, Any]:
    """The answer to exactly this address, which a client would tidy up."""
    said = talk(port_of(url), f"GET {path} HTTP/1.0\r\n\r\n".encode())
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_an_author_sees_every_change_at_once(kept: System) -> None:
    with (
        httpx2.Client(base_url=kept.url, timeout=30) as author,
        httpx2.Client(base_url=kept.url, timeout=30) as other,
    ):
        before = other.get("/products/11").json()["price_cents"]
        author.get("/products/11")
        for price in range(100, 120):
            assert author.patch("/products/11", json={"price_cents": price}).status_code == 200
            assert author.get("/products/11").json()["price_cents"] == price
            assert author.get("/products/11?fields=price_cents").json() == {"price_cents": price}
        # Other clients still get the answer that nginx keeps for an hour: so it was the cookie.
        assert other.get("/products/11").json()["price_cents"] == before


def test_stock_orders_and_offers_are_never_cached(kept: System) -> None:
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        left = client.get("/products/12/stock").json()["stock"]
        for number in range(3):
            made = client.post("/orders", **order(12, number))
            assert made.status_code == 201
            assert client.get("/products/12/stock").json()["stock"] == left - 1 - number
            assert client.get(made.headers["Location"]).json() == made.json()
            assert client.get("/products/12/offers").status_code == 200
        assert reached(kept, "/products/12/offers") == 3
        assert client.get("/products/1001").status_code == 404
        assert client.get("/products/1001").status_code == 404
    assert reached(kept, "/products/1001") == 2


def test_request_id_is_the_same_in_answer_and_log(kept: System) -> None:
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        for path in ("/products/13/stock", "/products/13", "/products/13"):
            named = client.get(path, headers={"X-Request-ID": f"me-{path[9:].count('/')}"})
            assert named.headers.get_list("X-Request-ID") == [f"me-{path[9:].count('/')}"]
        unnamed = client.get("/products/13/stock").headers["X-Request-ID"]
        client.get("/products/13/stock", headers={"X-Request-ID": "forged\tid"})
    assert reached(kept, "/products/13/stock") == 3
    ids = [
        json.loads(line)["request_id"] for line in kept.service.log().splitlines() if b"/13" in line
    ]
    assert ids.count("me-2") == ids.count(unnamed) == 1  # whichever instance had them
    assert not any("forged" in id for id in ids)


def test_cached_answers_survive_the_death_of_all_instances(kept: System) -> None:
    """The last test with this system: it kills all instances."""
    with httpx2.Client(base_url=kept.url, timeout=30) as client:
        expected = client.get("/products/14").json()
        assert client.get("/products/14").json() == expected  # once is not enough to be kept
        for number in range(kept.instances):
            kept.service.stop(number, signal.SIGKILL)
        assert client.get("/products/14").json() == expected
        lost = client.get("/products/14/stock")
        assert lost.status_code == 502
        assert lost.headers["Content-Type"] == "application/problem+json"
        assert lost.headers["Retry-After"] == "1"
        assert "X-Request-ID" in lost.headers
        assert lost.json()["status"] == 502


@each(BALANCED)
def test_a_change_is_seen_by_all_within_the_declared_time(step: Checkpoint) -> None:
    """And until then, hot reads reach the service about once a second, however many there are."""
    edge, memory = 1, 5
    bound = 2 * edge + 1
    settings = {"EDGE_SECONDS": str(edge), "MEMORY_SECONDS": str(memory)}
    with (
        without_worker(step, settings, instances=2) as system,
        httpx2.Client(base_url=system.url, timeout=30) as author,
        httpx2.Client(base_url=system.url, timeout=30) as other,
    ):
        began = time.monotonic()
        looks, late = 0, []
        for price in (101, 102, 103):
            other.get("/products/7")
            patched = author.patch("/products/7", json={"price_cents": price})
            changed = time.monotonic()
            assert f"Max-Age={memory + bound}" in patched.headers["Set-Cookie"]
            author.cookies.clear()
            while True:
                looked = time.monotonic()
                looks += 1
                if other.get("/products/7").json()["price_cents"] == price:
                    break
                late.append(looked - changed)
        seconds = time.monotonic() - began
        asked = reached(system, "/products/7") - 3  # without the changes
        other.get("/products/8")
        author.patch("/products/8", json={"price_cents": 801})
        time.sleep(bound)  # without a request, the cached answer is too old to be sent even once
        # nginx keeps what the service had ready: after a miss, the second answer is a hit.
        kept = [other.get("/products/8").json()["price_cents"] for _ in range(2)]
        assert kept == [801, 801]
        for number in range(system.instances):
            system.service.stop(number, signal.SIGKILL)
        time.sleep(bound)  # too old again, but now no instance is left
        assert other.get("/products/8").json()["price_cents"] == 801
    assert late, "all saw it at once: nothing was tested"
    assert max(late) <= bound
    assert looks > 10 * asked
    assert 2 <= asked <= seconds / edge + 1
