"""The little of ASGI that the stubs need: read a request's body, send a response in one piece."""

from starlette.types import Receive, Send


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def send_response(send: Send, status: int, content_type: str, body: bytes) -> None:
    """Send a response with this content type and body."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
