"""compose.yaml and what it mounts, as far as they can be read without a container engine."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.paths import ROOT
from stack.servers.certificate import issue_certificate
from stack.servers.nginx import PLACEHOLDER, TEMPLATE, binary

HERE = ROOT / "compose"
FILE = HERE / "compose.yaml"
VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


def read(path: Path) -> dict[str, Any]:
    """A file as Compose reads it when no variable is set."""
    found: dict[str, Any] = yaml.safe_load(VARIABLE.sub(r"\1", path.read_text()))
    return found


SERVICES: dict[str, dict[str, Any]] = read(FILE)["services"]
ONCE = {"secrets", "seed", "locust", "locust-worker"}
NOTHING_TO_ASK_WITH = {"collector", "jaeger"}
PUBLISHED = {"nginx", "prometheus", "grafana"}
each = pytest.mark.parametrize("name", SERVICES)


def hosts(text: str) -> set[str]:
    return set(re.findall(r"\b([a-z][\w-]*):\d{2,5}\b", text)) - {"localhost"}


def test_file_follows_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@each
def test_image_has_an_exact_tag(name: str) -> None:
    assert re.fullmatch(r"surge-shop|.+:v?\d+\.\d+(\.\d+)?", SERVICES[name]["image"])


@each
def test_container_has_few_rights_and_resource_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


@each
def test_long_running_service_has_a_health_check(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) == (name not in ONCE | NOTHING_TO_ASK_WITH)


@each
def test_only_published_services_are_reached_and_only_locally(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert bool(ports) == (name in PUBLISHED)
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert ("edge" in SERVICES[name]["networks"]) == (name in PUBLISHED)


@each
def test_mounted_files_exist(name: str) -> None:
    volumes = read(FILE)["volumes"]
    for mount in SERVICES[name].get("volumes", []):
        source = mount.partition(":")[0]
        assert source in volumes or (HERE / source).exists()


def test_every_host_name_is_a_service() -> None:
    files = [
        "otel/collector.yaml",
        "prometheus/prometheus.yml",
        "grafana/datasources/datasources.yaml",
    ]
    for file in files:
        asked = hosts((HERE / file).read_text())
        assert asked and asked <= set(SERVICES), file
    for service in SERVICES.values():
        called = " ".join(value or "" for value in service.get("environment", {}).values())
        assert hosts(called) <= set(SERVICES)


def test_the_shop_trusts_nginx_and_nginx_knows_every_instance() -> None:
    instances = [name for name in SERVICES if name.startswith("api-")]
    given = SERVICES["nginx"]["environment"]["NGINX_INSTANCES"]
    for name in instances:
        address = SERVICES[name]["networks"]["inside"]["ipv4_address"]
        assert f"server {address}:8000 max_fails=0;" in given
        shop = SERVICES[name]["environment"]
        nginx = SERVICES["nginx"]["networks"]["inside"]["ipv4_address"]
        assert shop["FORWARDED_ALLOW_IPS"] == nginx
        assert shop["INSTANCES"] == str(len(instances))
        idle = float(SERVICES["nginx"]["environment"]["NGINX_IDLE"].removesuffix("s"))
        assert float(shop["UVICORN_TIMEOUT_KEEP_ALIVE"]) > idle  # nginx must be the one to close


def test_nginx_accepts_the_containers_configuration(tmp_path: Path) -> None:
    issue_certificate(tmp_path)
    given = {**SERVICES["nginx"]["environment"], "NGINX_FILES": str(tmp_path)}
    text = re.sub(r"(?m)^#.*", "", TEMPLATE.read_text())
    assert set(PLACEHOLDER.findall(text)) <= set(given)
    filled = tmp_path / "nginx.conf"
    filled.write_text(PLACEHOLDER.sub(lambda name: given[name[1]], text))
    command = [binary(), "-t", "-e", "stderr", "-p", str(tmp_path), "-c", str(filled)]
    pid = ["-g", f"pid {tmp_path}/nginx.pid;"]
    done = subprocess.run([*command, *pid], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_packages_left_out_of_the_image_are_dependencies() -> None:
    left_out = re.search(r"grep -vE '\^\((.+)\)'", (HERE / "Dockerfile").read_text())
    assert left_out
    for name in left_out[1].split("|"):
        assert f'    "{name}' in (ROOT / "pyproject.toml").read_text(), name


def test_dockerfile_passes_hadolint() -> None:
    command = [Path(sys.executable).with_name("hadolint"), HERE / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_part_of_the_collectors_pipeline_is_described() -> None:
    collector = read(HERE / "otel" / "collector.yaml")
    pipeline = collector["service"]["pipelines"]["traces"]
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(collector[kind])
    assert pipeline["processors"][0] == "memory_limiter"  # before anything is kept
