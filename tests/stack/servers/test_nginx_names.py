"""An instance may be behind a name: nginx follows where it points to, without a reload."""

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import psutil
import pytest

from stack.processes.ports import free_port
from stack.servers.nginx import binary
from surge.machine.waiting import wait_until

CONFIG = """
worker_processes 1;
error_log stderr;
pid {files}/nginx.pid;
events {{}}
http {{
    access_log off;
    resolver 127.0.0.1:{names} valid=1s ipv6=off;
    upstream shop {{
        zone shop 64k;
        server shop.internal:{port} resolve;
    }}
    server {{
        listen 127.0.0.1:{listen};
        location / {{ proxy_pass http://shop; }}
    }}
}}
"""


class Names(Thread):
    """A DNS server that knows one address, whatever the name."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]

    def run(self) -> None:
        while True:
            asked, who = self.socket.recvfrom(512)
            question = asked[12 : asked.index(b"\0", 12) + 5]
            head = asked[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0)
            here = struct.pack("!3HIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(self.address)
            self.socket.sendto(head + question + here, who)


class Instance(BaseHTTPRequestHandler):
    """Answers with its own address."""

    def do_GET(self) -> None:
        body = str(self.server.server_address[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """No log."""


@contextmanager
def instance(address: str, port: int) -> Iterator[None]:
    with ThreadingHTTPServer((address, port), Instance) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


@contextmanager
def nginx(files: Path, config: str) -> Iterator[subprocess.Popen[bytes]]:
    (files / "nginx.conf").write_text(config)
    command = [binary(), "-e", "stderr", "-p", str(files), "-c", "nginx.conf", "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_a_name_that_points_elsewhere_is_followed_without_a_reload(tmp_path: Path) -> None:
    names, port, listen = Names("127.0.0.1"), free_port(), free_port()
    config = CONFIG.format(files=tmp_path, names=names.port, port=port, listen=listen)
    names.start()
    with ExitStack() as stack:
        stack.enter_context(instance("127.0.0.1", port))
        try:
            stack.enter_context(instance("127.0.0.2", port))
        except OSError:
            pytest.skip("this machine has one loopback address only")
        process = stack.enter_context(nginx(tmp_path, config))
        transport = httpx2.HTTPTransport(retries=20)  # until it listens
        with httpx2.Client(base_url=f"http://127.0.0.1:{listen}", transport=transport) as client:

            def who() -> str:
                answer = client.get("/")
                time.sleep(0.05)
                return answer.text if answer.status_code == 200 else str(answer.status_code)

            wait_until(lambda: who() == "127.0.0.1", "the first instance")
            workers = {child.pid for child in psutil.Process(process.pid).children()}
            names.address = "127.0.0.2"
            seen = set()

            def moved() -> bool:
                seen.add(found := who())
                return found == "127.0.0.2"

            wait_until(moved, "the second instance")
            assert seen <= {"127.0.0.1", "127.0.0.2"}, "a request failed meanwhile"
            assert {child.pid for child in psutil.Process(process.pid).children()} == workers
