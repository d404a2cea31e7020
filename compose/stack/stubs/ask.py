"""Asking what runs here: the service whether it is ready, the partner stub what it saw."""

import http.client
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from stack.errors import StackError


def ask(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """The status and the body of one answer; status 0 when nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
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
    return _of_partners(partners_url, "/stats")


def turn(partners_url: str, **dials: str | float | bool) -> None:
    """Turn the partner stub's dials while it runs; see `stack.stubs.partners`.

    Raises:
        StackError: there is no such dial, or it does not go so far.
    """
    _of_partners(partners_url, f"/settings?{urlencode(dials)}", "PUT")


def _of_partners(url: str, path: str, method: str = "GET") -> dict[str, Any]:
    status, body = ask(port_of(url), path, method)
    if status != 200:
        said = f"{status} {body.decode()}" if status else "nothing"
        raise StackError(f"The partners at {url} answered {said}")
    found: dict[str, Any] = json.loads(body)
    return found
