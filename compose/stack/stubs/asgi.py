"""What the stubs need of ASGI: all of a request's body, and an answer in one piece."""

from starlette.types import Receive, Send


async def whole(receive: Receive) -> bytes:
    """The body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def reply(send: Send, status: int, kind: str, content: bytes) -> None:
    """Send an answer of this content type."""
    headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
