"""Prometheus's rules and Grafana's dashboard: they parse, are proved, and name real metrics."""

import ast
import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.checkpoint import checkpoints
from stack.paths import ROOT

RULES = ROOT / "compose" / "prometheus"
GRAFANA = ROOT / "compose" / "grafana"

# What the instances and the worker answer to /metrics.
HISTOGRAMS = {
    "http_server_request_duration_seconds",
    "db_pool_wait_seconds",
    "event_loop_lag_seconds",
    "partner_request_duration_seconds",
    "job_duration_seconds",
}
METRICS = {
    "http_server_active_requests",
    "cache_answers_total",
    "db_pool_connections_in_use",
    "db_pool_size",
    "requests_shed_total",
    "retries_total",
    "breaker_open",
    "concurrency_limit",
    "log_lines_dropped_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "jobs_waiting",
    "jobs_oldest_seconds",
    "jobs_given_up",
    "up",  # Prometheus's own: whether it got an answer
}

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="no promtool (Debian: apt-get install prometheus)"
)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((GRAFANA / "dashboards" / "shop.json").read_text())[
        "panels"
    ]
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", [])]


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression names: what is left without labels, ranges and functions."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression)
    bare = re.sub(r"\b(by|ignoring)\s*\([^)]*\)", "", bare)
    words = re.findall(r"\b[a-z_][\w:]*\b(?!\s*\()", bare)
    return set(words) - {"and", "or", "offset", "group_left"}


def promtool(*words: str | Path) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_configuration_is_valid() -> None:
    promtool("check", "config", RULES / "prometheus.yml")


@needs_promtool
def test_every_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", RULES / "alerts.test.yml")


def test_every_alert_has_a_test_and_a_cure() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    tests = (RULES / "alerts.test.yml").read_text()
    for alert in alerts:
        assert re.search(rf'labels: \'[^\']*alertname="{alert["alert"]}"', tests), alert["alert"]
        assert set(alert["annotations"]) == {"summary", "cure"}
        assert alert["labels"]["severity"] in ("page", "ticket")


def test_rules_and_dashboard_use_existing_metrics() -> None:
    known = METRICS | {rule["record"] for rule in rules() if "record" in rule}
    known |= {f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "count", "sum")}
    for expression in [*(rule["expr"] for rule in rules()), *queries()]:
        assert metrics_of(expression)
        assert metrics_of(expression) <= known, expression


def labels() -> dict[str, set[str]]:
    """The labels of each metric, as the last step declares them."""
    found = {}
    for file in ("telemetry/metrics.py", "jobs/worker.py"):
        code = ast.parse((checkpoints()[-1].directory / "app" / file).read_text())
        for call in ast.walk(code):
            kinds = ("Counter", "Gauge", "Histogram")
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in kinds:
                given = ast.literal_eval(call.args[2]) if len(call.args) > 2 else []
                found[ast.literal_eval(call.args[0])] = set(given)
    return found


def test_rules_and_dashboard_use_existing_labels() -> None:
    declared = labels()
    for expression in [*(rule["expr"] for rule in rules()), *queries()]:
        names = metrics_of(expression)
        bare = {re.sub("_(bucket|count|sum|total)$", "", name) for name in names} | names
        known = {"instance", "job", "le"}.union(*(declared.get(name, set()) for name in bare))
        used = set(re.findall(r'(\w+)\s*[=!]~?\s*"', expression))
        for group in re.findall(r"\b(?:by|ignoring)\s*\(([^)]*)\)", expression):
            used |= set(re.findall(r"\w+", group))
        assert used <= known, expression


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for query in queries() for name in metrics_of(query)}
    shown = {name.removesuffix("_bucket").removesuffix("_count") for name in shown}
    assert shown == METRICS - {"up"} | HISTOGRAMS


@needs_promtool
def test_dashboard_queries_are_valid(tmp_path: Path) -> None:
    asked = [query.replace("$__rate_interval", "1m") for query in queries()]
    listed = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(asked)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": listed}]}))
    promtool("check", "rules", file)


def test_panels_do_not_overlap() -> None:
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)
    for one, other in combinations((panel["gridPos"] for panel in panels()), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_exemplars_lead_to_the_trace_store() -> None:
    file = GRAFANA / "datasources" / "datasources.yaml"
    sources = {source["type"]: source for source in yaml.safe_load(file.read_text())["datasources"]}
    (leads,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert leads == {"name": "trace_id", "datasourceUid": sources["jaeger"]["uid"]}
    assert any(target.get("exemplar") for panel in panels() for target in panel.get("targets", []))
