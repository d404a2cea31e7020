"""A small HTTP client for what runs here: readiness checks, and the partner stub's controls."""

import http.client
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from stack.errors import StackError


def fetch(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Send one request; returns the response's status and body, status 0 if nothing listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def port_of(url: str) -> int:
    """The port in a URL of ours."""
    port = urlsplit(url).port
    assert port  # we chose it
    return port


def partner_stats(partners_url: str) -> dict[str, int]:
    """What the partner stub has counted; see `stack.stubs.partners`.

    Raises:
        StackError: it does not answer.
    """
    return _partners(partners_url, "/stats")


def configure_partners(partners_url: str, **settings: str | float | bool) -> None:
    """Change settings of the partner stub while it runs; see `stack.stubs.partners`.

    Raises:
        StackError: there is no such setting, or the value is out of its range.
    """
    _partners(partners_url, f"/settings?{urlencode(settings)}", "PUT")


def _partners(url: str, path: str, method: str = "GET") -> dict[str, Any]:
    status, body = fetch(port_of(url), path, method)
    if status != 200:
        response = f"{status} {body.decode()}" if status else "nothing"
        raise StackError(f"The partners at {url} answered {response}")
    content: dict[str, Any] = json.loads(body)
    return content
