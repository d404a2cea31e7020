"""What nginx passes on to the instances, and what it takes for a failure of one."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from stack.checkpoint import Checkpoint
from stack.servers.nginx import TEMPLATE
from stack.system import System

SERVICES = Path(__file__).parent / "services"


def test_of_all_who_find_a_stale_answer_one_fetches_another(proxied: Checkpoint) -> None:
    shutil.copy(SERVICES / "cached.py", proxied.directory / "app.py")
    with (
        System(proxied) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        ThreadPoolExecutor(20) as shoppers,
    ):
        assert client.get("/products/7").text == "1"
        time.sleep(2.1)  # it is stale: nginx counts in whole seconds
        answers = set(shoppers.map(lambda _: client.get("/products/7").text, range(20)))
        assert answers == {"1"}
        asked = [int(httpx2.get(f"{url}/other").text) for url in system.urls]
    assert sum(asked) == 2


@pytest.mark.parametrize(
    ("path", "counts"), [("/large", True), ("/late", True), ("/half", False), ("/500", False)]
)
def test_what_nginx_counts_as_a_failure_of_an_instance(
    proxied: Checkpoint, monkeypatch: pytest.MonkeyPatch, path: str, counts: bool
) -> None:
    """The table of chapter 14. A client who can bring it about shuts a shop that counts."""
    shutil.copy(SERVICES / "broken_answers.py", proxied.directory / "app.py")
    hasty = TEMPLATE.read_text().replace("proxy_read_timeout 30s", "proxy_read_timeout 1s")
    (proxied.directory / TEMPLATE.name).write_text(hasty)
    for failing, shut in (("max_fails=1 fail_timeout=60s", counts), ("max_fails=0", False)):
        monkeypatch.setattr("stack.servers.nginx.MAX_FAILS", failing)
        with (
            System(proxied, environment={"NGINX_WORKERS": "1"}) as system,
            httpx2.Client(base_url=system.url, timeout=30) as client,
        ):
            for _ in range(3):
                with suppress(httpx2.RemoteProtocolError):  # half an answer
                    client.post(path)
            assert client.get("/").status_code == (502 if shut else 200)


ECHO = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        heard = b"\\n".join(name + b": " + value for name, value in scope["headers"])
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": heard})
"""


def test_an_instance_hears_what_the_service_reads_and_nothing_else(proxied: Checkpoint) -> None:
    (proxied.directory / "app.py").write_text(ECHO)
    said = {
        "Content-Type": "application/json",
        "Idempotency-Key": "mine",
        "Request-Timeout": "2",
        "X-Request-ID": "me-1",
        "Cookie": 'other="1"; shop_fresh=yes; more=2',
        "Accept-Encoding": "br, gzip;q=0.5",
        "X-Forwarded-For": "10.0.0.1",
        "Forwarded": "for=10.0.0.1",
        "X-Real-IP": "10.0.0.1",
        "If-None-Match": '"what I know"',
        "Authorization": "Basic c3VyZ2U=",
        "tracestate": "mine=1",
        "X-Whatever": "it is",
    }
    with System(proxied) as system:
        heard, with_an_order = (
            dict(
                line.split(": ", 1)
                for line in httpx2.get(f"{system.url}{path}", headers=said).text.splitlines()
            )
            for path in ("/products/7", "/orders")
        )
    assert not with_an_order.keys() & {"forwarded", "x-real-ip", "tracestate"}
    assert with_an_order["x-forwarded-for"] == "127.0.0.1"
    assert with_an_order["cookie"] == "shop_fresh=1"
    assert with_an_order["idempotency-key"] == "mine"
    assert heard.pop("traceparent").startswith("00-")
    assert heard == {
        "content-type": "application/json",
        "request-timeout": "2",
        "x-request-id": "me-1",
        "cookie": "shop_fresh=1",
        "accept-encoding": "gzip",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "host": system.url.removeprefix("http://"),
    }
