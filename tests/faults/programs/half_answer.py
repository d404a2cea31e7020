"""A deadline that passes after an answer: after a half one only, the connection is closed."""

import asyncio
import threading

import httpx2
import uvicorn
from app.resilience.admission import AdmissionControlMiddleware
from starlette.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    headers, half = [(b"content-length", b"5")], scope["path"] == "/half"
    body = {"body": b"wh", "more_body": True} if half else {"body": b"whole"}
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", **body})
    if dict(scope["headers"]).get(b"request-timeout"):
        await asyncio.sleep(60)  # what is done for a request after its answer


server = uvicorn.Server(
    uvicorn.Config(AdmissionControlMiddleware(app), port=0, lifespan="off", log_level="critical")
)
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    threading.Event().wait(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
try:
    # One connection at most; its number is in what the client logs of it.
    limits = httpx2.Limits(max_connections=1)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=30) as client:
        ports = set()
        for _ in range(3):
            with client.stream("GET", "/whole", headers={"Request-Timeout": "0.05"}) as answer:
                assert answer.read() == b"whole"
                stream = answer.extensions["network_stream"]
                ports.add(stream.get_extra_info("client_addr"))
            threading.Event().wait(0.2)  # the deadline is over
        assert len(ports) == 1, "it hung up after a whole answer"
        try:
            client.get("/half", headers={"Request-Timeout": "0.05"})
        except httpx2.RemoteProtocolError:
            pass
        else:
            raise AssertionError("it neither ended a half answer nor hung up")
finally:
    server.should_exit = True
    thread.join()
