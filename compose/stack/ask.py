"""Asking what runs here: the service whether it is ready, the partner stub what it saw."""

import http.client
import json
from urllib.parse import urlencode, urlsplit


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
    """What the partner stub has counted; see `stack.partners`."""
    found: dict[str, int] = json.loads(ask(port_of(partners_url), "/stats")[1] or "{}")
    return found


def turn(partners_url: str, **dials: str | float | bool) -> None:
    """Turn the partner stub's dials while it runs; see `stack.partners`."""
    ask(port_of(partners_url), f"/settings?{urlencode(dials)}", "PUT")
