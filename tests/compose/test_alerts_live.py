"""The rules with a real Prometheus and a real fault, and the names that they use."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import httpx2
import pytest
import yaml
from test_alerts import HISTOGRAMS, METRICS, RULES

from stack.checkpoint import checkpoints
from stack.processes.ports import free_port
from stack.stubs.client import configure_partners, fetch
from stack.system import System
from surge.machine.waiting import wait_until

QUICKER = {r"\[\d+[mh]\]": "[10s]", r"offset \w+": "offset 10s", r"(?<=for: )\d+m": "1s"}


def test_shop_exports_every_metric_of_rules_and_dashboard() -> None:
    with System(checkpoints()[-1], size="tiny") as system:
        told = "".join(
            httpx2.get(url).text for url in (f"{system.urls[0]}/metrics", *system.workers.metrics)
        )
    kinds = dict(re.findall(r"(?m)^# TYPE (\w+) (\w+)$", told))
    assert {name for name in HISTOGRAMS if kinds.get(name) == "histogram"} == HISTOGRAMS
    assert set(kinds) >= METRICS - {"up"}


@contextmanager
def prometheus(system: System, folder: Path) -> Iterator[str]:
    """Watches the shop every half second, with our rules at a quicker pace; gives its address."""
    rules = (RULES / "alerts.yml").read_text()
    for pattern, instead in QUICKER.items():
        rules = re.sub(pattern, instead, rules)
    (folder / "alerts.yml").write_text(rules)
    targets = [url.removeprefix("http://") for url in system.urls]
    settings = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [{"job_name": "api", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    port = free_port()
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    child = system.run.start(
        "prometheus", ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"]
    )
    try:
        child.wait_until(lambda: fetch(port, "/-/ready")[0] == 200)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop(SIGKILL)


def firing(url: str) -> set[str]:
    """The alerts that fire now."""
    found: list[dict[str, Any]] = httpx2.get(f"{url}/api/v1/alerts").json()["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}


@pytest.mark.skipif(
    not shutil.which("prometheus"), reason="no Prometheus (Debian: apt-get install prometheus)"
)
def test_a_fault_fires_its_alert_and_nothing_else(tmp_path: Path) -> None:
    with (
        System(checkpoints()[-1], size="tiny") as system,
        prometheus(system, tmp_path) as url,
        httpx2.Client(base_url=system.url, timeout=30) as client,
    ):

        def shop_until(alerts: set[str]) -> None:
            def there() -> bool:
                client.get("/products/7/offers")
                return firing(url) == alerts

            wait_until(there, f"{alerts} and nothing else")

        def scraped() -> bool:
            client.get("/products/7/offers")
            query = {"query": "min(count_over_time(up[1m]))"}
            said = httpx2.get(f"{url}/api/v1/query", params=query).json()["data"]["result"]
            return bool(said) and float(said[0]["value"][1]) > 10

        wait_until(scraped, "some looks at a shop that is well")
        assert firing(url) == set()

        configure_partners(system.partners_url, partner="meridian", error_rate=1.0)
        shop_until({"PartnerFails"})
        configure_partners(system.partners_url, partner="meridian", error_rate=0.0)
        shop_until(set())

        system.service.stop(0, SIGKILL)
        shop_until({"InstanceDown", "FewInstances"})
        system.service.start(0)
        shop_until(set())
